"""Rows dealt to blocks and shuffled block by block by compiled loops: the same orders as those of `shuffle`, for many rows.

n rows · K blocks
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbgd.compiled.kernel import kernel
from mbgd.seeds import halves

IntArray = NDArray[np.int64]
SPARE = 64  # draws: less than one in 2^16 is passed over, with blocks of that size
_WORD, _LOW, _HALF = np.uint64(1 << 32), np.uint64((1 << 32) - 1), np.uint64(32)


def dealt(part_n: NDArray[np.uint16], n_blocks: int) -> tuple[IntArray, IntArray]:
    """Pass 1: row i goes to block part_n[i] mod n_blocks, and each block is in rising order; (rows, ends of blocks)."""
    order, ends = np.empty(len(part_n), np.int64), np.zeros(n_blocks, np.int64)
    _deal(part_n, ends, order)
    return order, ends


def swapped(order: IntArray, ends: IntArray, words: np.random.Philox) -> IntArray:
    """Pass 2: Fisher and Yates on each block, in place."""
    at, wanted = np.zeros(2, np.int64), max(0, len(order) - len(ends))
    while at[0] < len(ends):
        _swap(order, ends, halves(words, wanted + SPARE), at)
        wanted = 0
    return order


@kernel
def _deal(part_n: NDArray[np.uint16], ends: IntArray, order: IntArray) -> None:
    n, last = len(part_n), len(ends) - 1  # the number of blocks is a power of two
    for i in range(n):
        ends[part_n[i] & last] += 1
    start = 0
    for k in range(len(ends)):
        start, ends[k] = start + ends[k], start
    for i in range(n):
        k = part_n[i] & last
        order[ends[k]] = i
        ends[k] += 1


@kernel
def _swap(order: IntArray, ends: IntArray, draws: NDArray[np.uint32], at: IntArray) -> None:
    """From (block, entries of it that are not placed yet) in `at` on, 0 for all; moves it on, as far as the draws go."""
    used = 0
    for block in range(at[0], len(ends)):
        start = ends[block - 1] if block else 0
        left = at[1] or ends[block] - start
        while left > 1:
            if used == len(draws):
                at[0], at[1] = block, left
                return
            bound = np.uint64(left)
            product = np.uint64(draws[used]) * bound
            used += 1
            low = product & _LOW
            if low < bound and low < _WORD % bound:
                continue
            left -= 1
            i, j = start + left, start + np.int64(product >> _HALF)
            order[i], order[j] = order[j], order[i]
        at[1] = 0
    at[0] = len(ends)
