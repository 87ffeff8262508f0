"""`mbgd.batches`: mini-batches for a loop of one's own, in place of a DataLoader."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any, Literal, Never, get_args

from torch import Tensor
from torch.utils.data import DataLoader

from mbgd.data.dataset import length
from mbgd.data.dataset_batches import DatasetBatches
from mbgd.data.epochs import Epochs, OfArrays, OfDataset, OfStream
from mbgd.data.given import check_items, holds_inputs, tensors_of
from mbgd.data.loader import Draws, Loading, check_words, loading, makes_its_own, streams
from mbgd.data.nested_arrays import NestedArrays, of_source, pack
from mbgd.data.order import Cursor, Order, Sampling, Tail
from mbgd.data.source import WeightedSource
from mbgd.data.tensors import weights
from mbgd.errors import DataError, PlanError, did_you_mean
from mbgd.forks import after_fork, in_child, one_thread

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

    data: arrays or tensors (n, ...), alone or in tuples and dicts, as (X, y); a TensorDataset, a map-style dataset, which
    a list of items is, too; or a DataLoader, whose batch_size, drop_last, shuffle, sampler, batch_sampler, collate_fn and
    workers hold where the arguments say nothing else. Each batch has the structure that was given, or is what the loader
    would yield; the rows of `sample_weight`, shape (n,), come behind it. docs/data.md has a table of what stands for what.

    Each `iter()` is the next epoch; `len()` is the number of batches in one. batch_size: rows, 32 where nothing says
    otherwise, or "full". The tensors are views of a buffer, and of the data itself where one batch holds all rows: do not
    change them in place.

    The last batch of an epoch may be short. A criterion that takes the mean over the batch divides by its own size r
    instead of m, so that its rows pull m/r times as hard as the others. `with_scale=True` yields r/m last: multiply
    the mean loss by it, and each row counts the same wherever it falls.

    A broken-off loop goes on with the batch after the last one handed out: keep `state_dict()`, and give it to
    `load_state_dict` of a new object over the same data before the next `iter()`. What a sampler of your own draws is a
    function of `seed` and the epoch, as far as its chance comes from a global generator or from its own `generator`.

    An iterable dataset is gone through once an `iter()`, as it comes: it has no order to shuffle and no position to go
    back to. sampling="natural" says that you know.

    `prefetch` chunks, or batches of a dataset, are made ahead by a thread (0 where nothing is said; workers read ahead by
    themselves). A dataset that draws from torch's global generator in this process needs prefetch=0: the thread's draws
    would come in between those of your own dropout.
    """

    @after_fork()
    def __init__(
        self,
        data: Any,
        *,
        batch_size: int | Literal["full"] | None = None,
        seed: int = 0,
        sampling: Sampling | None = None,
        tail: Tail | None = None,
        sample_weight: Any = None,
        with_scale: bool = False,
        workers: int | None = None,
        prefetch: int | None = None,
        **foreign: Never,
    ) -> None:
        for word in foreign:
            raise PlanError(f"{word!r} is not an argument of MBGD; say {_OURS.get(word, 'help(mbgd.batches)')} instead")
        if batch_size is not None and batch_size != "full":
            batch_size = _whole("batch_size", batch_size, least=1, unit=" row", hint="32 is usual")
        seed = _whole("seed", seed, hint="any whole number will do")
        workers = None if workers is None else _whole("workers", workers, hint="0 reads in this process")
        prefetch = 0 if prefetch is None else _whole("prefetch", prefetch, hint="leave it out to have it chosen")
        if sampling is not None:
            _choice("sampling", sampling, get_args(Sampling))
        if tail is not None:
            _choice("tail", tail, get_args(Tail))
        given = {"batch_size": batch_size, "sampling": sampling, "tail": tail, "workers": workers}
        given = {word: value for word, value in given.items() if value is not None}
        self.dataset = data.dataset if isinstance(data, DataLoader) else data
        self._start, self._seed, self._n_rows = Cursor(), seed, None
        weight = None if sample_weight is None else weights(sample_weight, "sample_weight")
        if streams(self.dataset):
            self._epochs: Epochs = _of_stream(data, given, with_scale=with_scale, weighted=weight is not None)
            self.batch_size: int | None = self._epochs.batch_size
            return
        loader, found = (data, loading(data)) if isinstance(data, DataLoader) else (None, Loading({}, {}))
        check_words(found, given)
        words = {"sampling": "reshuffle", "workers": 0, **found.words, **given}
        self._seed = seed or words.get("seed", seed)
        packed = _packed(data, found, weight)
        n_rows = _length(self.dataset) if packed is None else packed.source.n_rows
        if n_rows == 0:
            raise DataError("data must have at least 1 row, got 0; check the filter that made it")
        draws = Draws(found.own, n_rows, self._seed)
        order = Order(n_rows, self._seed, words["sampling"])
        if found.sampler is not None:
            order = Order(len(draws), self._seed, drawn=draws.rows)
        self._n_rows = order.n_rows
        self.batch_size = _size(words, order.n_rows, found, scaled=with_scale)
        none_left = (
            found.words.get("tail") == words.get("tail") == "drop"
        )  # by torch's rule, of a batch that is not full
        how: Any = {
            "batch_size": self.batch_size if none_left else min(self.batch_size or order.n_rows, order.n_rows),
            "tail": words.get("tail") or "short",
            "prefetch": prefetch,
            "scaled": with_scale,
        }
        if packed is not None:
            self._epochs = OfArrays(packed, order, **how)
            return
        if weight is not None and len(weight) != n_rows:
            raise DataError(
                f"sample_weight must have one entry a row, got {len(weight)} for {n_rows} rows; give one number a row"
            )
        loaded = DatasetBatches(self.dataset, loader=loader, workers=words["workers"], seed=self._seed)
        self._epochs = OfDataset(loaded, draws if found.batch_sampler is not None else order, weight=weight, **how)

    _n_rows: int | None  # an epoch; None of a stream

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._epochs)

    def __iter__(self) -> Iterator[Any]:
        self._start = self._next_epoch()
        self._epochs.forget()
        made = self._epochs.from_(self._start)
        if not in_child():
            yield from made
            return
        while True:  # the loop's own threads are its own
            with one_thread():
                batch = next(made, self)
            if batch is self:
                return
            yield batch

    def _next_epoch(self) -> Cursor:
        at = self._epochs.at()
        if at is None:
            return self._start
        return at if at.row == 0 else Cursor(at.epoch + 1, 0)

    def state_dict(self) -> dict[str, int]:
        """Where the loop is: the batches handed out so far count as done. Raises PlanError for a stream, which has no place."""
        if self._n_rows is None:
            raise PlanError(
                "state_dict needs rows by number, got an iterable dataset; give a map-style dataset, or keep its place yourself"
            )
        at = self._epochs.at() or self._start
        return {"epoch": at.epoch, "row": at.row, "seed": self._seed, "n_rows": self._n_rows}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there at the next `iter()`. Raises PlanError where data or seed are not those of the state, or it is
        none."""
        if not _is_state(state):
            raise PlanError(
                f"state must be what state_dict() gave, got {str(state)[:60]}; save that, as JSON or as it is"
            )
        now = self.state_dict()
        for name in ("seed", "n_rows"):
            if state[name] != now[name]:
                raise PlanError(
                    f"{name} must be that of the saved loop, {state[name]}, got {now[name]}; give the same data and seed"
                )
        self._epochs.forget()
        self._start = Cursor(state["epoch"], state["row"])


def _packed(data: Any, found: Loading, weight: Tensor | None) -> NestedArrays | None:
    """The rows of arrays in memory, None of a dataset that is read item by item."""
    loader = data if isinstance(data, DataLoader) else None
    if loader is not None and (found.batch_sampler is not None or makes_its_own(loader)):
        return None
    tensors = tensors_of(data if loader is None else loader.dataset)
    if tensors is not None:
        return pack(tensors, sample_weight=weight)
    if loader is None and holds_inputs(data):
        return pack(data, sample_weight=weight)
    if hasattr(data, "read") and hasattr(data, "n_rows"):
        return of_source(data if weight is None else WeightedSource(data, weight))
    check_items(data)
    return None


def _length(dataset: Any) -> int:
    n_rows = length(dataset)
    if not hasattr(dataset, "__getitem__"):
        kinds = "arrays, a TensorDataset, a map-style dataset or a DataLoader"
        raise DataError(
            f"data must be {kinds}, got {type(dataset).__name__}; a table with text or dates goes to fit_table"
        )
    return n_rows


def _size(words: Mapping[str, Any], n_rows: int, found: Loading, *, scaled: bool) -> int | None:
    """The batch size m; None where batches of one's own have any size."""
    if found.batch_sampler is None:
        size = words.get("batch_size", 32)
        return n_rows if size == "full" else int(size)
    if scaled:
        name = type(found.batch_sampler).__name__
        raise PlanError(
            f"with_scale needs one batch size, got batches of {name}; divide by the rows of a usual batch yourself"
        )
    return None


def _of_stream(data: Any, given: dict[str, Any], *, with_scale: bool, weighted: bool) -> OfStream:
    """Raises PlanError for what needs rows by number."""
    for word, value in given.items():
        if isinstance(data, DataLoader) and word != "sampling":
            raise PlanError(
                f"{word} is what the loader of an iterable dataset does, got {value!r} as well; leave one out"
            )
        if value in ("full", "even", "iid", "reshuffle"):
            raise PlanError(
                f"{word} must go without the number of rows for an iterable dataset, got {value!r}; leave it out"
            )
    if weighted:
        raise PlanError(
            "sample_weight needs rows by number, got an iterable dataset; let it yield weights beside its rows"
        )
    if "sampling" not in given:
        warnings.warn(
            "an iterable dataset is gone through as it comes: its rows are not shuffled here, and an epoch ends where it "
            "does; sampling='natural' says that you know",
            stacklevel=3,
        )
    return OfStream(
        data,
        batch_size=given.get("batch_size", 32),
        drop=given.get("tail") == "drop",
        scaled=with_scale,
        workers=given.get("workers", 0),
    )


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
