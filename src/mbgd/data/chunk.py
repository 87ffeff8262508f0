"""Several consecutive batches read at once: row numbers and sizes in, one frozen Chunk out, cut into views without a copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd, lcm

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbgd.data.memory import CACHE_LINE  # BLAS results depend on where an operand lies within one
from mbgd.data.order import Cursor, IntArray
from mbgd.data.source import ArraySource, Rows, Source


@dataclass(frozen=True)
class Batch:
    """The rows of one update. `divisor` is the batch size m, also where the batch is shorter."""

    data: Rows
    size: int
    divisor: float


@dataclass(frozen=True)
class Stretch:
    """Neighbouring batches of a chunk that belong to one epoch: how many, and the positions before and after them."""

    n_batches: int
    before: Cursor
    after: Cursor


@dataclass(frozen=True)
class Chunk:
    """k consecutive batches. Batch j is rows starts[j] .. starts[j] + sizes[j] of `data`; rows between are padding.

    With `places` nothing was copied: `data` is all there is, and row i of the chunk is row places[i] of it.
    """

    data: Rows
    rows: IntArray  # (sum of sizes,) row ids, for messages and tests
    starts: IntArray  # (k,)
    sizes: IntArray  # (k,)
    divisors: NDArray[np.float64]  # (k,) the batch size m of each
    stretches: tuple[Stretch, ...]
    places: IntArray | None = None  # (sum of sizes,)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def before(self) -> Cursor:
        return self.stretches[0].before

    @property
    def after(self) -> Cursor:
        return self.stretches[-1].after

    def cursor_after(self, batch: int) -> Cursor:
        first = 0
        for stretch in self.stretches:
            if batch == first + stretch.n_batches - 1:
                return stretch.after
            if batch < first + stretch.n_batches:
                rows = int(self.sizes[first : batch + 1].sum())
                return Cursor(stretch.before.epoch, stretch.before.row + rows)
            first += stretch.n_batches
        raise IndexError(f"batch must be one of {first}, got {batch}")

    def row_ids(self, batch: int) -> IntArray:
        end = int(self.sizes[: batch + 1].sum())
        return self.rows[end - int(self.sizes[batch]) : end]

    def views(self, leaf: Tensor) -> list[Tensor]:
        """One tensor a batch of a tensor of `data`: views, cut in one call where batches lie one behind the other; with
        `places`, of a copy made now."""
        if self.places is not None:
            return list(torch.split(leaf[torch.from_numpy(self.places)], self.sizes.tolist()))
        if len(self) == 1 or self.starts[1] == 0:
            return [leaf[: int(size)] for size in self.sizes]
        slots = np.diff(np.append(self.starts, len(leaf)))
        if (slots == self.sizes).all():
            return list(torch.split(leaf, slots.tolist()))
        batch_and_padding = np.stack([self.sizes, slots - self.sizes], axis=1).ravel()
        return list(torch.split(leaf, batch_and_padding.tolist())[::2])

    def in_order(self, leaf: Tensor, n_batches: int) -> Tensor:
        """The rows of the first batches of a tensor of `data`, one behind the other, without what lies between."""
        starts, sizes = self.starts[:n_batches], self.sizes[:n_batches]
        if self.places is not None:
            return leaf[torch.from_numpy(self.places[: int(sizes.sum())])]
        if (starts[1:] == np.cumsum(sizes[:-1])).all():
            return leaf[: int(sizes.sum())]
        return torch.cat(self.views(leaf)[:n_batches])

    def batches(self) -> Iterator[Batch]:
        cut = zip(*(self.views(leaf) for leaf in self.data.leaves()), strict=True)
        for leaves, size, divisor in zip(cut, self.sizes.tolist(), self.divisors.tolist(), strict=True):
            yield Batch(self.data.filled(leaves), size, divisor)


def gather(source: Source, rows: IntArray, sizes: IntArray, *, tight: bool = False) -> tuple[Rows, IntArray]:
    """Read `rows` and lay each batch on a cache-line boundary of its buffer, in every tensor.

    Returns the rows, shape (padded, ...), and where each batch starts. Without that, the bits of a matrix product would
    depend on how many batches were read at once; `tight` is for an engine whose bits do not.
    """
    data = source.data if isinstance(source, ArraySource) else source.read(rows)
    step = 1 if tight else _aligned_rows(data)
    starts = np.zeros(len(sizes), np.int64)
    np.cumsum(-(-sizes[:-1] // step) * step, out=starts[1:])
    padded = bool((sizes[:-1] % step).any())
    if isinstance(source, ArraySource):
        return source.read(_spaced(rows, starts, sizes) if padded else rows), starts
    if not padded:
        return aligned(data), starts
    place, total = torch.from_numpy(_places(starts, sizes)), int(starts[-1] + sizes[-1])
    return data.map(lambda leaf: _spread(leaf, place.to(leaf.device), total)), starts


def aligned(data: Rows) -> Rows:
    """The same rows, every tensor at the start of a cache line; copied where it is not, as a slice X[1:] may be."""
    return data.map(lambda leaf: leaf if leaf.data_ptr() % CACHE_LINE == 0 else leaf.clone())


def _places(starts: IntArray, sizes: IntArray) -> IntArray:
    """Where each row goes, shape (sum of sizes,)."""
    return np.repeat(starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(int(sizes.sum()))


def _spaced(rows: IntArray, starts: IntArray, sizes: IntArray) -> IntArray:
    """The row numbers with row 0 as padding between batches, where nobody looks: one gather does it all."""
    spaced = np.zeros(int(starts[-1] + sizes[-1]), np.int64)
    spaced[_places(starts, sizes)] = rows
    return spaced


def _aligned_rows(data: Rows) -> int:
    """The least number of rows that fills whole cache lines in every tensor."""
    row_bytes = (leaf[:1].numel() * leaf.element_size() for leaf in data.leaves())
    return lcm(*(CACHE_LINE // gcd(CACHE_LINE, size) for size in row_bytes if size))


def _spread(leaf: Tensor, place: Tensor, total: int) -> Tensor:
    spread = leaf.new_zeros((total, *leaf.shape[1:]))
    return spread.index_copy_(0, place, leaf)
