"""An iterable dataset: its rows as they come, a few batches in memory at a time, cut into the chunks that are trained on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from mbgd.data.chunk import Chunk, Stretch, gather
from mbgd.data.dataset import Begin, Collate, Collated, of_worker
from mbgd.data.items import RowsOfItems
from mbgd.data.order import Cursor, IntArray, Tail
from mbgd.data.source import Rows, Source
from mbgd.data.stream import ChunkEnds
from mbgd.errors import DataError

UNKNOWN = (
    1 << 62
)  # in place of the number of rows: more than anybody reads, so that a share of an epoch is 0 until it ends
MOST_BATCHES = 256  # of a chunk: rows may come slowly, and nobody looks at the clock in between


class IterableSource:
    """The rows of an iterable dataset, in batches of `batch_size` as torch's loader makes them; `passes` times at most.

    Its first batch is read at once, for its shapes and types, and is the first that is trained on. A row has its number in
    the pass. `read` has the rows of the first batch by a slice, and those of the chunk at hand by their numbers: sources
    over this one prepare them so. Raises DataError where there are none.
    """

    n_rows = UNKNOWN

    def __init__(
        self,
        dataset: Any,
        *,
        batch_size: int,
        tail: Tail = "short",
        passes: int = 1,
        seed: int = 0,
        workers: int = 0,
        collate: Collate = default_collate,
        worker_init_fn: Callable[[int], None] | None = None,
        **of_workers: Any,
    ) -> None:
        own = collate is not default_collate
        self.batch_rows = batch_size if own else None
        self.passes, self.workers, self.tail = passes, workers, tail
        self._batch_size = batch_size
        self._rows_of = RowsOfItems(own_collate=own, remedy="leave out rows in the dataset")
        self._loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=batch_size,
            num_workers=workers,
            collate_fn=_Counted(collate if own else Collated()),
            generator=torch.Generator().manual_seed(seed),  # its own: the global one is that of dropout
            **({"worker_init_fn": Begin(worker_init_fn), **of_workers} if workers else {}),
        )
        self._weights = _RunningMean()
        self._pass = self._batches()
        first = next(self._pass, None)
        if first is None:
            least = f"{batch_size} rows, a batch, where a shorter one is left out" if tail == "drop" else "1 row"
            raise DataError(
                f"data must have at least {least}, got an iterable dataset that yields fewer; check its filter"
            )
        self._first = self._at_hand = first
        self._before = 0  # rows of this pass before those at hand

    def read(self, rows: IntArray | slice) -> Rows:
        if isinstance(rows, slice):
            return self._first.map(lambda leaf: leaf[rows])
        index = torch.from_numpy(rows - self._before)
        return self._at_hand.map(lambda leaf: leaf[index])

    def chunks(self, source: Source, *, ends: ChunkEnds, tight: bool) -> Iterator[Chunk]:
        """Chunks of `source`, which is this one or what is made of its rows, until the passes are over or one has no rows: one
        time only. An epoch is what a pass yields; a chunk never spans two of them, and no more is read than one batch ahead.

        A batch of weighted rows divides by its size m times the mean weight of the rows so far, those of the batch included.
        """
        steps_done = 0
        for epoch in range(self.passes):
            before, first = steps_done, [] if epoch else [self._first]
            with closing(self._pass) as coming:  # its workers end with it
                for parts, stretch in _grouped(chain(first, coming), epoch=epoch, ends=ends, steps_done=steps_done):
                    steps_done += len(parts)
                    yield self._chunk(source, parts, stretch, tight=tight)
            if steps_done == before:
                return
            self._pass = self._batches()

    def _chunk(self, source: Source, parts: list[Rows], stretch: Stretch, *, tight: bool) -> Chunk:
        sizes, self._before = np.array([_length(part) for part in parts], np.int64), stretch.before.row
        rows = self._before + np.arange(sizes.sum(), dtype=np.int64)
        leaves = zip(*(part.leaves() for part in parts), strict=True)
        self._at_hand = parts[0].filled(torch.cat(several) for several in leaves) if len(parts) > 1 else parts[0]
        data, starts = gather(source, rows, sizes, tight=tight)
        divisors = np.full(len(parts), self._batch_size, np.float64)
        if data.w is not None:
            divisors *= self._weights.after(data.w, starts, sizes)
        return Chunk(data, rows, starts, sizes, divisors, (stretch,))

    def _batches(self) -> Generator[Rows, None, None]:
        """The rows of each batch of one pass."""
        at = 0
        try:
            for n_rows, found in self._loader:
                if not (self.tail == "drop" and n_rows < self._batch_size):
                    yield self._rows_of(found, range(at, at + n_rows))
                    at += n_rows
        except DataError as error:
            raise of_worker(error) from error


def _grouped(
    batches: Iterator[Rows], *, epoch: int, ends: ChunkEnds, steps_done: int
) -> Iterator[tuple[list[Rows], Stretch]]:
    """The batches of one pass, as many at once as a chunk may have, and where they lie in it."""
    batch, at = next(batches, None), 0
    while batch is not None:
        parts: list[Rows] = []
        n_rows, most = 0, min(MOST_BATCHES, ends.batches_left(steps_done))
        while batch is not None and len(parts) < most and (not parts or n_rows + _length(batch) <= ends.max_rows):
            parts.append(batch)
            n_rows += _length(batch)
            batch = next(batches, None)
        after = Cursor(epoch + 1, 0) if batch is None else Cursor(epoch, at + n_rows)
        yield parts, Stretch(len(parts), Cursor(epoch, at), after)
        at, steps_done = at + n_rows, steps_done + len(parts)


def iterable_of(source: Any) -> IterableSource | None:
    """The iterable dataset below sources over it, None where rows have numbers."""
    while hasattr(source, "rows"):
        source = source.rows
    return source if isinstance(source, IterableSource) else None


class _RunningMean:
    """The mean weight of the rows so far, of all passes."""

    def __init__(self) -> None:
        self._sum, self._n_rows = 0.0, 0

    def after(self, w: Tensor, starts: IntArray, sizes: IntArray) -> NDArray[np.float64]:
        """The mean after each batch, shape (k,); 1 as long as no row has weighed anything."""
        pieces = zip(starts.tolist(), sizes.tolist(), strict=True)
        sums = [float(w[start : start + size].sum(dtype=torch.float64)) for start, size in pieces]
        sums_k = np.cumsum([self._sum, *sums])[1:]  # one after the other, however they are grouped into chunks
        rows_k = self._n_rows + np.cumsum(sizes)
        self._sum, self._n_rows = float(sums_k[-1]), int(rows_k[-1])
        return np.where(sums_k > 0, sums_k / rows_k, 1.0)


@dataclass(frozen=True)
class _Counted:
    """How many items a batch was made of, and what was made of them."""

    collate: Collate

    def __call__(self, items: list[Any]) -> tuple[int, Any]:
        return len(items), self.collate(items)


def _length(rows: Rows) -> int:
    return len(rows.leaves()[0])
