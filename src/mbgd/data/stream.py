"""The chunks of batches that come next, without end, from a source, an order and a position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.data.chunk import Chunk, Stretch, aligned, gather
from mbgd.data.order import BatchSize, Cursor, IntArray, Order, Tail, batch_sizes
from mbgd.data.source import ArraySource, Rows, Source, batch_rows, row_bytes
from mbgd.data.sparse import SparseSource
from mbgd.errors import PlanError

CHUNK_BYTES = 4 << 20  # a chunk stays near the caches, and is long enough to hide the cost of gathering it
IN_PLACE_ROWS, IN_PLACE_BYTES = 1 << 17, 64 << 20  # of a chunk whose rows are not gathered: some ten milliseconds


def rows_of_a_chunk(source: Source) -> int:
    """How many rows are gathered at once: arithmetic on shapes alone. Where a collate_fn of one's own makes each batch, no more
    than one: a chunk has one batch at least."""
    return 1 if batch_rows(source) else max(1, CHUNK_BYTES // max(1, row_bytes(source)))


def rows_in_place(source: Source) -> int:
    """How many rows a chunk has that leaves them where they lie."""
    if isinstance(source, SparseSource):
        return max(1, min(IN_PLACE_ROWS, IN_PLACE_BYTES // source.entry_bytes))
    return max(rows_of_a_chunk(source), min(IN_PLACE_ROWS, IN_PLACE_BYTES // max(1, row_bytes(source))))


@dataclass(frozen=True)
class ChunkEnds:
    """Where a chunk must end: after so many batches, with the batch that fills so many rows, and at the steps or epochs
    after which somebody looks. Never a time."""

    max_batches: int = 256
    max_rows: int = 1 << 16
    every_steps: tuple[int, ...] = ()
    at_epoch_end: bool = False

    def batches_left(self, steps_done: int) -> int:
        return min([self.max_batches, *(every - steps_done % every for every in self.every_steps)])


@dataclass(frozen=True)
class Cut:
    """Some consecutive batches of one epoch, before they are read."""

    rows: IntArray
    sizes: IntArray
    batch_size: int
    before: Cursor
    after: Cursor
    whole: bool  # the batch is the whole epoch in its natural order

    @property
    def n_rows(self) -> int:
        return len(self.rows)

    @property
    def stretch(self) -> Stretch:
        return Stretch(len(self.sizes), self.before, self.after)

    @property
    def divisors(self) -> NDArray[np.float64]:
        return np.full(len(self.sizes), self.batch_size, np.float64)


class _Cutter:
    """Cuts batches off an order; holds the shuffled rows of the epoch at hand, which it can always make again."""

    def __init__(self, order: Order, batch_size: BatchSize, tail: Tail) -> None:
        self._order, self._batch_size, self._tail = order, batch_size, tail
        self._epoch, self._rows = -1, np.empty(0, np.int64)

    def cut(self, cursor: Cursor, *, rows_seen: int, limit: int, max_rows: int) -> Cut | None:
        """The next batches of this epoch, at most `limit` of at most `max_rows` rows but at least one; None at its end."""
        n, fixed = self._order.n_rows, isinstance(self._batch_size, int)
        wanted = self._batch_size if isinstance(self._batch_size, int) else self._batch_size(rows_seen)
        if wanted < 1:
            raise PlanError(
                f"batch_size must be at least 1 row, got {wanted} after {rows_seen} rows; check its function"
            )
        size = min(wanted, n)
        sizes = batch_sizes(
            n - cursor.row,
            batch_size=size,
            tail=self._tail,
            limit=max(1, min(limit, max_rows // size)) if fixed else 1,
        )
        if not len(sizes):
            return None
        end = cursor.row + int(sizes.sum())
        over = end == n or (self._tail == "drop" and n - end < size)
        after = Cursor(cursor.epoch + 1, 0) if over else Cursor(cursor.epoch, end)
        whole = size == n and cursor.row == 0 and self._order.takes_all
        rows = self._order.natural() if whole else self._shuffled(cursor.epoch)[cursor.row : end]
        return Cut(rows, sizes, size, cursor, after, whole)

    def _shuffled(self, epoch: int) -> IntArray:
        if epoch != self._epoch:
            self._epoch, self._rows = epoch, self._order.rows(epoch)
        return self._rows


def cuts(
    order: Order,
    *,
    batch_size: BatchSize,
    tail: Tail,
    start: Cursor,
    rows_seen: int,
    steps_done: int,
    ends: ChunkEnds,
) -> Iterator[list[Cut]]:
    """What goes into each chunk: pure arithmetic, for ever."""
    cutter, cursor = _Cutter(order, batch_size, tail), start
    while True:
        parts: list[Cut] = []
        batches_left, rows_left = ends.batches_left(steps_done), ends.max_rows
        while batches_left > 0 and (rows_left > 0 or not parts):
            part = cutter.cut(cursor, rows_seen=rows_seen, limit=batches_left, max_rows=rows_left)
            if part is None:  # a changed batch size left fewer rows than one batch, and the tail is dropped
                cursor = Cursor(cursor.epoch + 1, 0)
                if parts and ends.at_epoch_end:
                    break
                continue
            parts.append(part)
            cursor = part.after
            batches_left, rows_left = batches_left - len(part.sizes), rows_left - part.n_rows
            rows_seen, steps_done = rows_seen + part.n_rows, steps_done + len(part.sizes)
            if ends.at_epoch_end and cursor.row == 0:
                break
        yield parts


def chunks(
    source: Source,
    order: Order,
    *,
    batch_size: BatchSize,
    tail: Tail = "short",
    start: Cursor = Cursor(),
    rows_seen: int = 0,
    steps_done: int = 0,
    ends: ChunkEnds = ChunkEnds(),
    tight: bool = False,
    in_place: bool = False,
) -> Iterator[Chunk]:
    """Chunks from `start` on, for ever. How batches are grouped into chunks never changes a batch, nor a bit of it;
    `tight` leaves no room between them, where alignment does not matter; `in_place` leaves the rows where they lie, by
    number, if they are in memory, for whoever reads them so.

    m >= n takes the rows in their natural order, read once and not copied again: batch gradient descent.
    """
    everything: Rows | None = None
    lying, sparse = _lying(source) if in_place else None, in_place and isinstance(source, SparseSource)
    planned = cuts(
        order, batch_size=batch_size, tail=tail, start=start, rows_seen=rows_seen, steps_done=steps_done, ends=ends
    )
    for parts in planned:
        rows, sizes = _joined([part.rows for part in parts]), _joined([part.sizes for part in parts])
        if all(part.whole for part in parts) and not sparse:
            if everything is None:
                everything = aligned(source.read(slice(None) if order.chosen is None else parts[0].rows))
            data, starts, places = everything, np.zeros(len(sizes), np.int64), None
        elif lying is not None:
            data, starts, places = lying, np.cumsum(sizes) - sizes, rows
        else:
            (data, starts), places = gather(source, rows, sizes, tight=tight), None
        yield Chunk(
            data=data,
            rows=rows,
            starts=starts,
            sizes=sizes,
            divisors=_joined([part.divisors for part in parts]),
            stretches=tuple(part.stretch for part in parts),
            places=places,
        )


def _lying(source: Source) -> Rows | None:
    """All rows where they lie, if they can be read there by their numbers."""
    if isinstance(source, SparseSource):
        return source.data
    return source.data if isinstance(source, ArraySource) and source.lies_by_rows else None


def _joined(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """One array behind the other, without a copy where there is but one."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
