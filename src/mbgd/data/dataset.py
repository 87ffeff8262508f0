"""A map-style dataset in, its rows by number out, read by torch's own loader workers where asked."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from mbgd.data.chance import seed_of_task, set_generators
from mbgd.data.order import IntArray
from mbgd.data.source import Rows, named_tensors
from mbgd.data.tensors import as_tensor
from mbgd.errors import DataError

Collate = Callable[[list[Any]], Any]
TARGETS = ("labels", "label")  # where an item that is one dict holds its target, as Hugging Face's datasets do


class DatasetSource:
    """A map-style dataset whose items are (x, y), (x, y, weight), a dict with its target under "labels" or "label", or x.

    Read row by row, or all at once where it has `__getitems__`; by `workers` processes where asked. What the dataset
    draws there from global generators is a function of the seed of the read, and not of the number of workers.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        workers: int = 0,
        rows_per_task: int = 64,
        collate: Collate = default_collate,
        batch_rows: int | None = None,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
    ) -> None:
        self._dataset, self._collate = dataset, Collated() if collate is default_collate else collate
        self._rows_per_task = rows_per_task if batch_rows is None else 1 << 62
        self._tasks: list[_Task] = []  # what the loader's next pass reads; its workers stay alive
        self._loader: DataLoader[Any] | None = None
        if workers:
            self._loader = DataLoader(
                _Seeded(dataset),
                batch_sampler=_Tasks(self._tasks),  # type: ignore[arg-type]  # it asks for lists, and hands on whatever it gets
                num_workers=workers,
                collate_fn=self._collate,
                worker_init_fn=Begin(worker_init_fn),
                generator=torch.Generator().manual_seed(0),  # its own: another thread must not touch that of dropout
                persistent_workers=True,
                timeout=timeout,
                multiprocessing_context=multiprocessing_context,
            )
        self._lock = Lock()  # the rows of validation are read while a thread reads those of the next chunk
        self._kind: tuple[_Leaf, ...] | None = None  # of the first read: later ones must be like it
        self._first: Rows | None = None  # a batch of the first rows, where batches are the collate function's own
        self.batch_rows = batch_rows
        self.n_rows = length(dataset)

    def read(self, rows: IntArray | slice) -> Rows:
        """The rows asked for, in that order. `batch_rows` is the size of a batch where a collate_fn of one's own makes it:
        then whoever reads asks for the rows of one batch, and gets what that function makes of them; the first row or two,
        which are looked at for their types, are those of such a batch."""
        wanted: list[int] = (np.arange(self.n_rows)[rows] if isinstance(rows, slice) else rows).tolist()
        with self._lock:
            if self.batch_rows is None or not isinstance(rows, slice) or wanted not in _LOOKED_AT:
                return self._read(wanted)
            if self._first is None:
                self._first = self._read(list(range(min(max(2, self.batch_rows), self.n_rows))))
            return self._first.map(lambda leaf: leaf[: len(wanted)])

    def _read(self, wanted: list[int]) -> Rows:
        if self._loader is None:
            return self._checked(self._collate(_items(self._dataset, wanted)), wanted)
        step = self._rows_per_task
        cut = [wanted[at : at + step] for at in range(0, len(wanted), step)]
        self._tasks[:] = [_Task(part, seed_of_task(number, part[0])) for number, part in enumerate(cut)]
        try:
            parts = [self._checked(found, task) for found, task in zip(self._loader, cut, strict=True)]
        except DataError as error:
            raise of_worker(error) from error
        if len(parts) == 1:
            return parts[0]
        return parts[0].filled(torch.cat(leaves) for leaves in zip(*(part.leaves() for part in parts), strict=True))

    def _checked(self, found: Any, wanted: list[int]) -> Rows:
        """What was collated, as rows; whoever reads it relies on their number, and on shapes and types that stay the same."""
        rows, who = _as_rows(found), "a dataset" if self.batch_rows is None else "collate_fn"
        leaves = _named(rows)
        for name, leaf in leaves:
            if leaf.ndim == 0 or len(leaf) != len(wanted):
                given = "a single number" if leaf.ndim == 0 else f"{len(leaf)} rows"
                raise DataError(
                    f"{who} must give one row of {name} for each of the {len(wanted)} rows asked for, got {given}; "
                    "leave out rows by a Subset of the dataset"
                )
        if self.batch_rows is not None:
            return rows
        kind = tuple(
            _Leaf(name, str(leaf.dtype).removeprefix("torch."), tuple(leaf.shape[1:])) for name, leaf in leaves
        )
        self._kind = kind if self._kind is None else self._kind
        if kind != self._kind:
            raise DataError(_differs(self._kind, kind, wanted))
        return rows


_LOOKED_AT = ([0], [0, 1])


class _Leaf(NamedTuple):
    """A tensor of a read: where it stands, its type, and the shape of a row."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} of shape {self.shape}"


def _differs(first: tuple[_Leaf, ...], now: tuple[_Leaf, ...], wanted: list[int]) -> str:
    asked = ", ".join(map(str, wanted[:4])) + (", ..." if len(wanted) > 4 else "")
    demand = "items of a dataset must have the same parts, shapes and types in each read"
    if [leaf.name for leaf in first] != [leaf.name for leaf in now]:
        was, is_now = (", ".join(leaf.name for leaf in kind) for kind in (first, now))
    else:
        was, is_now = next((f"{a.name} {a}", str(b)) for a, b in zip(first, now, strict=True) if a != b)
    return f"{demand}, got {was} at first and {is_now} in rows {asked}; convert or pad them in the dataset"


def _named(rows: Rows) -> list[tuple[str, Tensor]]:
    """Every tensor with what a message calls it."""
    parts = (("x", rows.x), ("y", rows.y), ("weight", rows.w))
    return [found for name, part in parts if part is not None for found in named_tensors(part, name)]


@dataclass(frozen=True)
class Collated:
    """Items to one batch; what cannot be stacked is refused in one sentence, in a worker too."""

    collate: Collate = default_collate

    def __call__(self, items: list[Any]) -> Any:
        try:
            return self.collate(items)
        except (TypeError, RuntimeError, ValueError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"items of a dataset must be tensors, arrays or numbers of equal shapes, got what cannot be stacked: {why}; "
                "give the dataset a transform, or a DataLoader with a collate_fn of your own"
            ) from error


@dataclass(frozen=True)
class _Task:
    """Rows that one worker reads at once, and what its generators are set by before it does."""

    rows: list[int]
    seed: int | None


@dataclass(frozen=True)
class Begin:
    """What a worker does first. Ctrl-C reaches every process of a terminal; the one that trains needs its workers until it
    has saved."""

    own: Callable[[int], None] | None

    def __call__(self, worker: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self.own is not None:
            self.own(worker)


class Together(Dataset[Any]):
    """A dataset with `__getitems__` that gives as many items as were asked for, or raises DataError."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset

    def __getitem__(self, row: int) -> Any:
        return self._dataset[row]

    def __getitems__(self, rows: list[int]) -> list[Any]:
        return _items(self._dataset, rows)


class _Seeded(Dataset[Any]):
    """The dataset as a worker has it: what it draws is set by the task, not by what that worker has drawn before."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset

    def __getitem__(self, row: int) -> Any:
        return self._dataset[row]

    def __getitems__(self, task: _Task) -> list[Any]:
        if task.seed is not None:
            set_generators(task.seed)
        return _items(self._dataset, task.rows)


class _Tasks(Sampler[_Task]):
    """Hands torch's loader our tasks: those that the list holds when a pass starts."""

    def __init__(self, tasks: list[_Task]) -> None:
        self._tasks = tasks

    def __iter__(self) -> Iterator[_Task]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def of_worker(error: DataError) -> DataError:
    """The sentence alone: a worker's error comes with its traceback, whose last line it is."""
    return DataError(str(error).splitlines()[-1].removeprefix("mbgd.errors.DataError: "))


def _items(dataset: Dataset[Any], rows: list[int]) -> list[Any]:
    together = getattr(dataset, "__getitems__", None)
    if together is None:
        return [dataset[row] for row in rows]
    given = together(rows)
    items = [] if given is None else list(given)
    if len(items) != len(rows):
        raise DataError(
            f"__getitems__ must give one item for each of the {len(rows)} rows asked for, got {len(items)} items"
        )
    return items


def length(dataset: Any) -> int:
    """How many rows; an error for what has no length."""
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):  # what Python says of no __len__, and datasets of one not written
        if not hasattr(dataset, "__iter__") and not hasattr(dataset, "__getitem__"):
            raise DataError(
                f"data must have a length and rows by number, got {type(dataset).__name__}; give arrays or tensors, a "
                "map-style dataset or a DataLoader"
            ) from None
        raise DataError(
            f"data must have a length and rows by number, got {type(dataset).__name__}; an iterable dataset has no order "
            "to shuffle: give a map-style dataset (__len__ and __getitem__), arrays or tensors, or write the loop around "
            "mbgd.batches, which goes through it as it comes"
        ) from None


def split_target(inputs: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """(the rest, the target) of a dict that holds its target under one of the usual names; (all, None) without one."""
    name = next((name for name in TARGETS if name in inputs), None)
    return {key: part for key, part in inputs.items() if key != name}, None if name is None else inputs[name]


def _as_rows(item: Any) -> Rows:
    """A collated batch of items as rows."""
    if item is None:
        raise DataError(
            "collate_fn must return the batch that it makes of its items, got None; end it with 'return x, y'"
        )
    x, y, w = item, None, None
    if isinstance(item, (list, tuple)):
        if len(item) not in (1, 2, 3):
            demand = "an item of a dataset must be (x, y) or (x, y, weight)"
            raise DataError(f"{demand}, got {len(item)} parts; wrap several inputs in a tuple")
        x, y, w = (*item, None, None)[:3]
    elif isinstance(item, dict):
        x, y = split_target(item)
    rows = Rows(tuple(x) if isinstance(x, list) else x, tuple(y) if isinstance(y, list) else y, w)
    if any(isinstance(leaf, np.ndarray) for leaf in rows.leaves()):  # of a collate_fn of one's own
        rows = rows.map(
            lambda leaf: as_tensor(leaf, "what collate_fn returns") if isinstance(leaf, np.ndarray) else leaf
        )
    _check_tensors(rows)
    return rows


def _check_tensors(rows: Rows) -> None:
    names = list(rows.x) if isinstance(rows.x, dict) else []
    for place, leaf in enumerate(rows.leaves()):
        if not isinstance(leaf, Tensor):
            where = f" under {names[place]!r}" if place < len(names) else ""
            raise DataError(
                f"items of a dataset must hold tensors, arrays or numbers, got text or other objects{where}; leave them out"
            )
