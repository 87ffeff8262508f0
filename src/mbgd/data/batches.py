"""Rows in, mini-batches out for a loop of one's own: what stands in place of a DataLoader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from mbgd.data.ahead import ahead
from mbgd.data.chunk import Chunk
from mbgd.data.given import as_source
from mbgd.data.order import Cursor, Order, Sampling, Tail, steps_per_epoch
from mbgd.data.stream import ChunkEnds, chunks, rows_of_a_chunk
from mbgd.errors import PlanError


class batches:  # noqa: N801  # reads as a verb where it is used: for x, y in mbgd.batches(...)
    """Mini-batches of every row once an epoch, in a fresh uniform order each time it is iterated.

    Each `iter()` is the next epoch; `len()` is the number of batches in one. Yields (x, y), or (x, y, w) where rows
    have weights, or x alone where there is no target; x has the structure that was given. The tensors are views of a
    buffer, and of the data itself where one batch holds all rows: do not change them in place.

    The last batch of an epoch may be short. A criterion that takes the mean over the batch divides by its own size r
    instead of m, so that its rows pull m/r times as hard as the others. `with_scale=True` yields r/m last: multiply
    the mean loss by it, and each row counts the same wherever it falls.

    A broken-off loop goes on with the batch after the last one handed out: keep `state_dict()`, and give it to
    `load_state_dict` of a new object over the same data before the next `iter()`.

    `prefetch` chunks are made ahead by a thread (1 with workers, else 0). A source that draws from torch's global
    generator in this process needs prefetch=0: the thread's draws would come in between those of your own dropout.
    """

    def __init__(
        self,
        data: Any,
        *,
        batch_size: int = 32,
        seed: int = 0,
        sampling: Sampling = "reshuffle",
        tail: Tail = "short",
        with_scale: bool = False,
        workers: int = 0,
        prefetch: int | None = None,
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise PlanError(f"batch_size must be a whole number of at least 1 row, got {batch_size!r}; 32 is usual")
        self._source = as_source(data, workers=workers, need_target=False)
        self._order = Order(self._source.n_rows, seed, sampling)
        self._batch_size, self._tail, self._with_scale = min(batch_size, self._source.n_rows), tail, with_scale
        self._prefetch = prefetch if prefetch is not None else min(workers, 1)
        self._start, self._chunk, self._batch = Cursor(), None, 0
        self._ends = ChunkEnds(max_rows=rows_of_a_chunk(self._source), at_epoch_end=True)

    _chunk: Chunk | None  # the chunk being handed out, and the batch of it that was handed out last

    def __len__(self) -> int:
        """Batches an epoch."""
        return steps_per_epoch(self._order.n_rows, batch_size=self._batch_size, tail=self._tail)

    def __iter__(self) -> Iterator[Any]:
        start, self._chunk = self._next_epoch(), None
        self._start = start
        coming = chunks(
            self._source, self._order, batch_size=self._batch_size, tail=self._tail, start=start, ends=self._ends
        )
        for chunk in ahead(coming, depth=self._prefetch):
            yield from self._of_chunk(chunk)
            if chunk.after.epoch > start.epoch:
                return

    def _next_epoch(self) -> Cursor:
        at = self._position()
        return at if self._chunk is None or at.row == 0 else Cursor(at.epoch + 1, 0)

    def _of_chunk(self, chunk: Chunk) -> Iterator[Any]:
        for j, item in enumerate(_items(chunk, with_scale=self._with_scale)):
            self._chunk, self._batch = chunk, j
            yield item

    def _position(self) -> Cursor:
        return self._start if self._chunk is None else self._chunk.cursor_after(self._batch)

    def state_dict(self) -> dict[str, int]:
        """Where the loop is: the batches handed out so far count as done."""
        at = self._position()
        return {"epoch": at.epoch, "row": at.row, "seed": self._order.seed, "n_rows": self._order.n_rows}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there at the next `iter()`. Raises PlanError where data or seed are not those of the state."""
        for name, ours in (("seed", self._order.seed), ("n_rows", self._order.n_rows)):
            if state[name] != ours:
                raise PlanError(
                    f"{name} must be that of the saved loop, {state[name]}, got {ours}; give the same data and seed"
                )
        self._start, self._chunk = Cursor(state["epoch"], state["row"]), None


def _items(chunk: Chunk, *, with_scale: bool) -> Iterator[Any]:
    """What the user's loop sees of each batch."""
    data = chunk.data
    leaves = [chunk.views(leaf) for leaf in data.leaves()]
    if not isinstance(data.x, Tensor):
        n_inputs = len(leaves) - (data.y is not None) - (data.w is not None)
        names = list(data.x) if isinstance(data.x, dict) else None
        parts: Iterator[Any] = zip(*leaves[:n_inputs], strict=True)
        inputs = list(parts) if names is None else [dict(zip(names, part, strict=True)) for part in parts]
        leaves = [inputs, *leaves[n_inputs:]]  # type: ignore[list-item]  # from here on a column of whatever x is
    if with_scale:
        return zip(*leaves, (chunk.sizes / chunk.divisors).tolist(), strict=True)
    return iter(leaves[0]) if len(leaves) == 1 else zip(*leaves, strict=True)
