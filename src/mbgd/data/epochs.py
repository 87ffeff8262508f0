"""Iterate over the batches of an epoch from any position, and say where a loop stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mbgd.data.ahead import ahead
from mbgd.data.chunk import Chunk
from mbgd.data.dataset import Begin
from mbgd.data.dataset_batches import DatasetBatches
from mbgd.data.loader import Draws
from mbgd.data.nested_arrays import NestedArrays
from mbgd.data.order import Cursor, IntArray, Order, Tail, batch_sizes, steps_per_epoch
from mbgd.data.stream import ChunkEnds, chunks, rows_of_a_chunk
from mbgd.errors import PlanError


class Epochs(Protocol):
    """Batches by epochs, of whatever kind of rows."""

    def __len__(self) -> int:
        """Batches an epoch."""
        ...

    def from_(self, start: Cursor) -> Iterator[Any]:
        """The rest of the epoch of `start`."""
        ...

    def at(self) -> Cursor | None:
        """The position after the batch that was handed out last; None before the first and after `forget`."""
        ...

    def forget(self) -> None: ...


class OfArrays:
    """Of rows in memory: many batches are gathered at once, and cut into views."""

    def __init__(
        self, packed: NestedArrays, order: Order, *, batch_size: int, tail: Tail, prefetch: int, scaled: bool
    ) -> None:
        self._packed, self._order, self._batch_size, self._tail = packed, order, batch_size, tail
        self._prefetch, self._scaled = prefetch, scaled
        self._ends = ChunkEnds(max_rows=rows_of_a_chunk(packed.source), at_epoch_end=True)
        self._chunk, self._batch = None, 0

    _chunk: Chunk | None  # the chunk being handed out, and the batch of it that was handed out last

    def __len__(self) -> int:
        return steps_per_epoch(self._order.n_rows, batch_size=self._batch_size, tail=self._tail)

    def from_(self, start: Cursor) -> Iterator[Any]:
        if not len(self):
            return
        coming = chunks(
            self._packed.source, self._order, batch_size=self._batch_size, tail=self._tail, start=start, ends=self._ends
        )
        for chunk in ahead(coming, depth=self._prefetch):
            for j, item in enumerate(self._packed.items(chunk, with_scale=self._scaled)):
                self._chunk, self._batch = chunk, j
                yield item
            if chunk.after.epoch > start.epoch:
                return

    def at(self) -> Cursor | None:
        return None if self._chunk is None else self._chunk.cursor_after(self._batch)

    def forget(self) -> None:
        self._chunk = None


class OfDataset:
    """Of a dataset that is read item by item: each batch is what its collate function makes of the items of that batch."""

    def __init__(
        self,
        loaded: DatasetBatches,
        order: Order | Draws,
        *,
        batch_size: int,
        tail: Tail,
        prefetch: int,
        scaled: bool,
        weight: Tensor | None = None,
    ) -> None:
        self._loaded, self._order, self._batch_size, self._tail = loaded, order, batch_size, tail
        self._prefetch, self._scaled, self._weight = prefetch, scaled, weight
        self._at: Cursor | None = None

    def __len__(self) -> int:
        if isinstance(self._order, Draws):
            return len(self._order)
        return steps_per_epoch(self._order.n_rows, batch_size=self._batch_size, tail=self._tail)

    def from_(self, start: Cursor) -> Iterator[Any]:
        batches = self._rows(start.epoch)
        ends = np.cumsum([len(rows) for rows in batches]).tolist()
        done = sum(end <= start.row for end in ends)
        left = batches[done:]
        items = ahead(self._loaded.read(left, epoch=start.epoch), depth=self._prefetch)
        for rows, end, item in zip(left, ends[done:], items, strict=True):
            self._at = Cursor(start.epoch, end) if end < ends[-1] else Cursor(start.epoch + 1, 0)
            yield self._extended(item, rows)

    def at(self) -> Cursor | None:
        return self._at

    def forget(self) -> None:
        self._at = None

    def _rows(self, epoch: int) -> list[IntArray]:
        order, size = self._order, self._batch_size
        if isinstance(order, Draws):
            return order.batches(epoch)
        rows = order.natural() if size >= order.n_rows and order.takes_all else order.rows(epoch)
        sizes = batch_sizes(order.n_rows, batch_size=size, tail=self._tail)
        ends = np.cumsum(sizes)
        return np.split(rows[: ends[-1]], ends[:-1]) if len(sizes) else []

    def _extended(self, item: Any, rows: IntArray) -> Any:
        """With the weights of the rows and the scale behind it, where they are asked for."""
        further: list[Any] = [] if self._weight is None else [self._weight[torch.from_numpy(rows)]]
        further += [len(rows) / self._batch_size] if self._scaled else []
        if not further:
            return item
        return (*item, *further) if isinstance(item, tuple | list) else (item, *further)


class OfStream:
    """Of an iterable dataset: one pass an epoch, by torch's own loader, in the order in which it comes."""

    def __init__(self, data: Any, *, batch_size: int, drop: bool, workers: int, scaled: bool) -> None:
        if not isinstance(data, DataLoader):
            begin = Begin(None) if workers else None
            data = DataLoader(data, batch_size=batch_size, drop_last=drop, num_workers=workers, worker_init_fn=begin)
        self._loader, self.batch_size, self._scaled = data, data.batch_size, scaled
        if scaled and self.batch_size is None:
            raise PlanError("with_scale needs one batch size, got a loader with batch_size=None; give the loader one")

    def __len__(self) -> int:
        return len(self._loader)

    def from_(self, start: Cursor) -> Iterator[Any]:
        if self.batch_size is None or not self._scaled:
            yield from self._loader
            return
        for item in self._loader:
            scale = _rows_of(item) / self.batch_size
            yield (*item, scale) if isinstance(item, tuple | list) else (item, scale)

    def at(self) -> Cursor | None:
        return None

    def forget(self) -> None:
        pass


def _rows_of(item: Any) -> int:
    """The length of the first tensor in a batch."""
    while not isinstance(item, Tensor):
        item = next(iter(item.values() if isinstance(item, Mapping) else item))
    return len(item)
