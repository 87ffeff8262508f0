"""A number of rows, a seed and an epoch in, a uniform order of the rows out: pure arithmetic on random words.

n rows · K blocks
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.seeds import Purpose, counter, halves

IntArray = NDArray[np.int64]
RowNumbers = NDArray[np.signedinteger[Any]]  # of 32 bits while that is enough
CACHED_ROWS = 1 << 15  # a block of row numbers, 256 KiB, stays in the second-level cache while it is shuffled
MOST_BLOCKS = 1 << 16  # as many as 16 bits tell apart; beyond 2^32 rows the blocks grow
COMPILED_ROWS = 1 << 12  # from here on kernels pay for being loaded
_WORD, _LOW = np.uint64(1 << 32), np.uint64((1 << 32) - 1)


def shuffle(n_rows: int, *, seed: int, epoch: int) -> IntArray:
    """A uniform permutation of 0..n_rows-1 in two passes (Rao 1961; Sandelius 1962).

    Pass 1 deals every row to one of K blocks drawn uniformly; pass 2 shuffles each block by Fisher and Yates, with
    integers drawn without bias. Exactly uniform given ideal random words, whatever K; K = 1 where all rows fit a cache.
    Few rows are shuffled in Python, many by kernels: the same order either way.
    """
    words = counter(seed, Purpose.SHUFFLE, epoch)
    if n_rows >= COMPILED_ROWS:
        from mbgd.data.swaps import dealt, swapped
    else:
        dealt, swapped = _dealt, _swapped
    if n_rows <= CACHED_ROWS:
        return swapped(np.arange(n_rows, dtype=np.int64), np.array([n_rows]), words)
    n_blocks = min(MOST_BLOCKS, 1 << (-(-n_rows // CACHED_ROWS) - 1).bit_length())
    parts = words.random_raw(-(-n_rows // 4)).astype("<u8", copy=False).view("<u2")[:n_rows]
    return swapped(*dealt(parts, n_blocks), words)


def _dealt(part_n: NDArray[np.uint16], n_blocks: int) -> tuple[RowNumbers, IntArray]:
    """Pass 1: row i goes to block part_n[i] mod n_blocks, and each block is in rising order; (rows, ends of blocks)."""
    block = part_n % np.uint32(n_blocks)
    return np.argsort(block, kind="stable"), np.cumsum(np.bincount(block, minlength=n_blocks))


def _swapped(order: RowNumbers, ends: IntArray, words: np.random.Philox) -> IntArray:
    """Pass 2: in each block entries change places with one drawn among those not beyond them, from the last on."""
    sizes = np.diff(ends, prepend=0).tolist()
    left = np.concatenate([np.arange(size, 1, -1, dtype=np.uint64) for size in sizes])
    start = np.repeat(ends - sizes, np.maximum(np.subtract(sizes, 1), 0))
    rows = order.tolist()
    places = (start + left.astype(np.int64) - 1).tolist(), (start + _below(left, words)).tolist()
    for i, j in zip(*places, strict=True):
        rows[i], rows[j] = rows[j], rows[i]
    return np.array(rows, np.int64)


def _below(bounds: NDArray[np.uint64], words: np.random.Philox) -> IntArray:
    """A whole number from 0 below each bound, uniform, from 32-bit halves of the words (Lemire 2019, section 4).

    A half u stands for floor(u b / 2^32); one whose low half of u b lies below 2^32 mod b is passed over, so that each
    number has as many u as any other.
    """
    u = halves(words, len(bounds))
    while True:
        product = u[: len(bounds)] * bounds
        passed_over = np.flatnonzero((product & _LOW) < _WORD % bounds)
        if not passed_over.size:
            return (product >> np.uint64(32)).astype(np.int64)
        u = np.concatenate([np.delete(u, passed_over[0]), halves(words, 1)])
