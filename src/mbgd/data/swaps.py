"""Rows dealt to blocks and shuffled block by block by compiled loops: the same orders as those of `shuffle`, for many rows.

n rows · K blocks
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.compiled.kernel import kernel
from mbgd.seeds import halves

IntArray = NDArray[np.int64]
RowNumbers = NDArray[np.signedinteger[Any]]
SPARE = 64  # draws: less than one in 2^16 is passed over, with blocks of that size
SHORT = 1 << 31  # so many row numbers fit into 32 bits: half the cache for a block, half the time for its shuffle
_WORD, _LOW, _HALF, _ONE = np.uint64(1 << 32), np.uint64((1 << 32) - 1), np.uint64(32), np.uint64(1)


def dealt(part_n: NDArray[np.uint16], n_blocks: int) -> tuple[RowNumbers, IntArray]:
    """Pass 1: row i goes to block part_n[i] mod n_blocks, and each block is in rising order; (rows, ends of blocks)."""
    order, ends = np.empty(len(part_n), _kind(len(part_n))), np.zeros(n_blocks, np.int64)
    _deal(part_n, ends, order)
    return order, ends


def swapped(order: RowNumbers, ends: IntArray, words: np.random.Philox) -> IntArray:
    """Pass 2: Fisher and Yates on each block."""
    order = order.astype(_kind(len(order)), copy=False)
    at, wanted = np.zeros(2, np.int64), max(0, len(order) - len(ends))
    while at[0] < len(ends):
        _swap(order, ends, halves(words, wanted + SPARE), at)
        wanted = 0
    return order.astype(np.int64, copy=False)


def _kind(n_rows: int) -> type[np.int32 | np.int64]:
    return np.int32 if n_rows <= SHORT else np.int64


@kernel
def _deal(part_n: NDArray[np.uint16], ends: IntArray, order: RowNumbers) -> None:
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
def _swap(order: RowNumbers, ends: IntArray, draws: NDArray[np.uint32], at: IntArray) -> None:
    """From (block, entries of it that are not placed yet) in `at` on, 0 for all; moves it on, as far as the draws go.

    Places are unsigned: one that may be below 0 would be looked at from the end, at each of four turns.
    """
    used = np.uint64(0)
    for block in range(at[0], len(ends)):
        start = np.uint64(ends[block - 1]) if block else np.uint64(0)
        left = np.uint64(at[1]) or np.uint64(ends[block]) - start
        while left > _ONE:
            if used == np.uint64(len(draws)):
                at[0], at[1] = block, left
                return
            product = np.uint64(draws[used]) * left
            used += _ONE
            low = product & _LOW
            if low < left and low < _WORD % left:
                continue
            left -= _ONE
            i, j = start + left, start + (product >> _HALF)
            order[i], order[j] = order[j], order[i]
        at[1] = 0
    at[0] = len(ends)
