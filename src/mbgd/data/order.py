"""Which rows make which batch of which epoch: pure arithmetic on (seed, epoch, row), no data and no state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mbgd.data.shuffle import shuffle
from mbgd.errors import DataError
from mbgd.seeds import Purpose, counter

IntArray = NDArray[np.int64]
Sampling = Literal["reshuffle", "iid", "natural"]
Tail = Literal["short", "even", "drop"]

BatchSize = int | Callable[[int], int]
"""Rows a batch, or a function from rows seen to it."""


@dataclass(frozen=True, order=True)
class Cursor:
    """A position: `row` rows of epoch `epoch` have been trained on."""

    epoch: int = 0
    row: int = 0


@dataclass(frozen=True)
class Order:
    """The row order of every epoch, over rows 0..n_rows-1 or over the `chosen` row ids; or `n_rows` of them as somebody else
    has drawn them for each epoch."""

    n_rows: int
    seed: int
    sampling: Sampling = "reshuffle"
    chosen: IntArray | None = None
    drawn: Callable[[int], IntArray] | None = None

    @property
    def takes_all(self) -> bool:
        """Whether an epoch is every row once."""
        return self.sampling != "iid" and self.drawn is None

    def rows(self, epoch: int) -> IntArray:
        """Row ids in the order of one epoch, shape (n_rows,)."""
        if self.drawn is not None:
            return self._drawn(self.drawn(epoch), epoch)
        if self.sampling == "natural":
            return self.natural()
        if self.sampling == "iid":
            places = draw(self.n_rows, seed=self.seed, epoch=epoch)
        else:
            places = shuffle(self.n_rows, seed=self.seed, epoch=epoch)
        return places if self.chosen is None else self.chosen[places]

    def _drawn(self, rows: IntArray, epoch: int) -> IntArray:
        if len(rows) != self.n_rows:
            raise DataError(
                f"a sampler must draw as many rows each epoch as its len() says, {self.n_rows}, got {len(rows)} in epoch "
                f"{epoch + 1}; give it that length"
            )
        return rows

    def natural(self) -> IntArray:
        """Row ids as they stand: the order of batch gradient descent, where a shuffle would change nothing."""
        return np.arange(self.n_rows, dtype=np.int64) if self.chosen is None else self.chosen


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
