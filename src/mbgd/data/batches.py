"""Rows in, mini-batches out for a loop of one's own: what stands in place of a DataLoader."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, Never, get_args

from torch import Tensor

from mbgd.data.ahead import ahead
from mbgd.data.chunk import Chunk
from mbgd.data.given import as_source
from mbgd.data.order import Cursor, Order, Sampling, Tail, steps_per_epoch
from mbgd.data.stream import ChunkEnds, chunks, rows_of_a_chunk
from mbgd.errors import PlanError, did_you_mean

_OURS = {  # words of other loaders -> what to say here
    "shuffle": "sampling ('reshuffle', 'iid' or 'natural')",
    "drop_last": "tail ('short', 'even' or 'drop')",
    "num_workers": "workers",
    "prefetch_factor": "prefetch",
    "generator": "seed",
    "random_state": "seed",
    "bs": "batch_size",
}


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
        **foreign: Never,
    ) -> None:
        for word in foreign:
            raise PlanError(f"{word!r} is not an argument of MBGD; say {_OURS.get(word, 'help(mbgd.batches)')} instead")
        batch_size = _whole("batch_size", batch_size, least=1, unit=" row", hint="32 is usual")
        seed = _whole("seed", seed, hint="any whole number will do")
        workers = _whole("workers", workers, hint="0 reads in this process")
        prefetch = None if prefetch is None else _whole("prefetch", prefetch, hint="leave it out to have it chosen")
        _choice("sampling", sampling, get_args(Sampling))
        _choice("tail", tail, get_args(Tail))
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
        """Go on from there at the next `iter()`. Raises PlanError where data or seed are not those of the state, or it is
        none."""
        if not _is_state(state):
            raise PlanError(
                f"state must be what state_dict() gave, got {str(state)[:60]}; save that, as JSON or as it is"
            )
        for name, ours in (("seed", self._order.seed), ("n_rows", self._order.n_rows)):
            if state[name] != ours:
                raise PlanError(
                    f"{name} must be that of the saved loop, {state[name]}, got {ours}; give the same data and seed"
                )
        self._start, self._chunk = Cursor(state["epoch"], state["row"]), None


def _is_state(state: Any) -> bool:
    if not isinstance(state, dict) or any(
        type(state.get(name)) is not int for name in ("epoch", "row", "seed", "n_rows")
    ):
        return False
    return bool(state["epoch"] >= 0 and 0 <= state["row"] < state["n_rows"])


def _whole(name: str, value: Any, *, least: int = 0, unit: str = "", hint: str) -> int:
    """Any make of whole number as Python's own."""
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:
        raise PlanError(f"{name} must be a whole number of at least {least}{unit}, got {value!r}; {hint}")
    return int(value)


def _choice(name: str, value: Any, words: tuple[str, ...]) -> None:
    if value not in words:
        remedy = did_you_mean(value, words) if isinstance(value, str) else ""
        shown = ", ".join(map(repr, words))
        raise PlanError(f"{name} must be one of {shown}, got {value!r}{remedy or f'; leave it out for {words[0]!r}'}")


def _items(chunk: Chunk, *, with_scale: bool) -> Iterator[Any]:
    """What the user's loop sees of each batch."""
    data = chunk.data
    leaves = [chunk.views(leaf) for leaf in data.leaves()]
    if not isinstance(data.x, Tensor) or not (data.y is None or isinstance(data.y, Tensor)):
        batches = [data.filled(part) for part in zip(*leaves, strict=True)]
        columns = ([batch.x for batch in batches], [batch.y for batch in batches], [batch.w for batch in batches])
        held = (data.x, data.y, data.w)
        leaves = [column for column, part in zip(columns, held, strict=True) if part is not None]  # type: ignore[misc]  # from here on a column of whatever x and y are
    if with_scale:
        return zip(*leaves, (chunk.sizes / chunk.divisors).tolist(), strict=True)
    return iter(leaves[0]) if len(leaves) == 1 else zip(*leaves, strict=True)
