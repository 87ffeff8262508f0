"""Which rows make which batch of which epoch: pure arithmetic on (seed, epoch, row), no data and no state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mbgd.seeds import Purpose, counter

IntArray = NDArray[np.int64]
Sampling = Literal["reshuffle", "iid", "natural"]
Tail = Literal["short", "even", "drop"]
BatchSize = int | Callable[[int], int]
"""Rows a batch, or a function from rows seen to it."""

_DIGIT_BITS = 16  # NumPy sorts 16-bit keys by counting, several times faster than by comparing


@dataclass(frozen=True, order=True)
class Cursor:
    """A position: `row` rows of epoch `epoch` have been trained on."""

    epoch: int = 0
    row: int = 0


@dataclass(frozen=True)
class Order:
    """The row order of every epoch, over rows 0..n_rows-1 or over the `chosen` row ids."""

    n_rows: int
    seed: int
    sampling: Sampling = "reshuffle"
    chosen: IntArray | None = None

    def rows(self, epoch: int) -> IntArray:
        """Row ids in the order of one epoch, shape (n_rows,)."""
        if self.sampling == "natural":
            return self.natural()
        if self.sampling == "iid":
            places = draw(self.n_rows, seed=self.seed, epoch=epoch)
        else:
            places = shuffle(self.n_rows, seed=self.seed, epoch=epoch)
        return places if self.chosen is None else self.chosen[places]

    def natural(self) -> IntArray:
        """Row ids as they stand: the order of batch gradient descent, where a shuffle would change nothing."""
        return np.arange(self.n_rows, dtype=np.int64) if self.chosen is None else self.chosen


def shuffle(n_rows: int, *, seed: int, epoch: int) -> IntArray:
    """A uniform permutation of 0..n_rows-1 by random scatter (Rao 1961; Sandelius 1962).

    Pass 1 sends every row to one of 2^(16 d) boxes drawn uniformly; pass 2 shuffles inside each box that several rows
    share, by the same scatter with fresh words. Boxes outnumber rows, so that pass 2 meets few. Exactly uniform given
    ideal random words, whatever the number of boxes.
    """
    stream = counter(seed, Purpose.SHUFFLE, epoch)
    digits = 2 if n_rows < 1 << 22 else 3
    words = stream.random_raw(-(-n_rows * digits // 4)).astype("<u8", copy=False).view("<u2")
    keys = words[: n_rows * digits].reshape(digits, n_rows)
    order = np.argsort(keys[0], kind="stable")
    for key in keys[1:]:
        order = order[np.argsort(key[order], kind="stable")]
    sorted_keys = keys[:, order]
    shared = (sorted_keys[:, 1:] == sorted_keys[:, :-1]).all(axis=0)
    return _scatter_shared(order, shared, stream) if shared.any() else order


def _scatter_shared(order: IntArray, shared: NDArray[np.bool_], stream: np.random.Philox) -> IntArray:
    """Pass 2: `shared[i]` says that places i and i+1 lie in one box; each box is put in the order of fresh words."""
    while shared.any():
        place = np.flatnonzero(np.append(shared, False) | np.append(False, shared))
        box = np.cumsum(np.append(True, ~shared))[place]
        word = stream.random_raw(len(place))
        by_word = np.lexsort((word, box))
        order[place] = order[place[by_word]]
        word, box = word[by_word], box[by_word]
        shared = np.zeros_like(shared)  # two equal 64-bit words in one box: draw again for those alone
        shared[place[:-1][(word[1:] == word[:-1]) & (box[1:] == box[:-1])]] = True
    return order


def draw(n_rows: int, *, seed: int, epoch: int) -> IntArray:
    """`n_rows` row numbers drawn uniformly with replacement; words past the last whole multiple of n_rows are redrawn."""
    stream = counter(seed, Purpose.IID, epoch)
    word = stream.random_raw(n_rows)
    limit = np.uint64((1 << 64) // n_rows * n_rows - 1)
    while (beyond := np.flatnonzero(word > limit)).size:
        word[beyond] = stream.random_raw(beyond.size)
    return (word % np.uint64(n_rows)).astype(np.int64)


def batch_sizes(rows_left: int, *, batch_size: int, tail: Tail, limit: int | None = None) -> IntArray:
    """Sizes of the batches that the rest of an epoch is cut into, the first `limit` of them.

    `short` ends with what is left over, `even` makes ceil(rows_left / batch_size) batches whose sizes differ by at most
    one, `drop` leaves the remainder out. Each is the same whether asked at once or batch by batch.
    """
    whole, left_over = divmod(rows_left, batch_size)
    n_batches = whole + (left_over > 0 and tail != "drop")
    wanted = n_batches if limit is None else min(n_batches, limit)
    if tail == "even" and left_over:
        smaller, n_larger = divmod(rows_left, n_batches)
        return smaller + (np.arange(wanted) < n_larger).astype(np.int64)
    sizes = np.full(wanted, batch_size, np.int64)
    if tail == "short" and left_over and wanted == n_batches:
        sizes[-1] = left_over
    return sizes


def steps_per_epoch(n_rows: int, *, batch_size: int, tail: Tail) -> int:
    """Updates an epoch: ceil(n/m), or floor(n/m) where the tail is dropped."""
    return n_rows // batch_size if tail == "drop" else -(-n_rows // batch_size)
