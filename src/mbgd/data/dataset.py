"""Rows of a map-style dataset by number, each read checked; torch's workers read them where asked."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, default_collate

from mbgd.data.chance import seed_of_task, set_generators
from mbgd.data.items import RowsOfItems
from mbgd.data.order import IntArray
from mbgd.data.source import Rows
from mbgd.errors import DataError

Collate = Callable[[list[Any]], Any]


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
        self._rows_of = RowsOfItems(
            own_collate=batch_rows is not None, remedy="leave out rows by a Subset of the dataset"
        )
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
            return self._rows_of(self._collate(_items(self._dataset, wanted)), wanted)
        step = self._rows_per_task
        cut = [wanted[at : at + step] for at in range(0, len(wanted), step)]
        self._tasks[:] = [_Task(part, seed_of_task(number, part[0])) for number, part in enumerate(cut)]
        try:
            parts = [self._rows_of(found, task) for found, task in zip(self._loader, cut, strict=True)]
        except DataError as error:
            raise of_worker(error) from error
        if len(parts) == 1:
            return parts[0]
        return parts[0].filled(torch.cat(leaves) for leaves in zip(*(part.leaves() for part in parts), strict=True))


_LOOKED_AT = ([0], [0, 1])


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
    """How many rows; an error for what has no length, or no rows by number."""
    try:
        if isinstance(dataset, IterableDataset):  # some have a length
            raise TypeError
        return len(dataset)
    except (TypeError, NotImplementedError):  # what Python says of no __len__, and datasets of one not written
        if not hasattr(dataset, "__iter__") and not hasattr(dataset, "__getitem__"):
            raise DataError(
                f"data must have a length and rows by number, got {type(dataset).__name__}; give arrays or tensors, a "
                "map-style dataset or a DataLoader"
            ) from None
        raise DataError(
            f"data must have a length and rows by number, got {type(dataset).__name__}; an iterable dataset has no order: "
            "fit, steps and batches train on it as it comes, all else takes a map-style dataset (__len__ and __getitem__), "
            "arrays or tensors"
        ) from None
