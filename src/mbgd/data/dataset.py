"""A map-style dataset in, its rows by number out, read by torch's own loader workers where asked."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from mbgd.data.chance import seed_of_task, set_generators
from mbgd.data.order import IntArray
from mbgd.data.source import Rows
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
    ) -> None:
        self._dataset, self._rows_per_task, self._collate = dataset, rows_per_task, _Collated(collate)
        self._tasks: list[_Task] = []  # what the loader's next pass reads; its workers stay alive
        self._loader = _task_loader(dataset, self._tasks, workers=workers, collate=self._collate) if workers else None
        self._lock = Lock()  # the rows of validation are read while a thread reads those of the next chunk
        self.n_rows = length(dataset)

    def read(self, rows: IntArray | slice) -> Rows:
        wanted: list[int] = (np.arange(self.n_rows)[rows] if isinstance(rows, slice) else rows).tolist()
        with self._lock:
            if self._loader is None:
                return _as_rows(self._collate(_items(self._dataset, wanted)))
            step = self._rows_per_task
            cut = [wanted[at : at + step] for at in range(0, len(wanted), step)]
            self._tasks[:] = [_Task(part, seed_of_task(number, part[0])) for number, part in enumerate(cut)]
            try:
                parts = [_as_rows(part) for part in self._loader]
            except DataError as error:  # a worker's comes with its traceback, whose last line is the sentence
                raise DataError(str(error).splitlines()[-1].removeprefix("mbgd.errors.DataError: ")) from error
        return parts[0].filled(torch.cat(leaves) for leaves in zip(*(part.leaves() for part in parts), strict=True))


@dataclass(frozen=True)
class _Collated:
    """Items to one batch; what cannot be stacked is refused in one sentence, in a worker too."""

    collate: Collate

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


def _task_loader(dataset: Dataset[Any], tasks: list[_Task], *, workers: int, collate: Collate) -> DataLoader[Any]:
    return DataLoader(
        _Seeded(dataset),
        batch_sampler=_Tasks(tasks),  # type: ignore[arg-type]  # torch asks for lists of rows; it hands on whatever it gets
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_ignore_interrupts,
        generator=torch.Generator().manual_seed(0),  # its own: from another thread it must not touch that of dropout
        persistent_workers=True,
    )


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the one that trains needs its workers until it has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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


def _items(dataset: Dataset[Any], rows: list[int]) -> list[Any]:
    together = getattr(dataset, "__getitems__", None)
    return list(together(rows)) if together is not None else [dataset[row] for row in rows]


def length(dataset: Any) -> int:
    """How many rows; an error for what has no length."""
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):  # what Python says of no __len__, and datasets of one not written
        raise DataError(
            f"data must have a length and rows by number, got {type(dataset).__name__}; an iterable dataset has no order "
            "to shuffle: give a map-style dataset (__len__ and __getitem__), arrays or tensors"
        ) from None


def split_target(inputs: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """(the rest, the target) of a dict that holds its target under one of the usual names; (all, None) without one."""
    name = next((name for name in TARGETS if name in inputs), None)
    return {key: part for key, part in inputs.items() if key != name}, None if name is None else inputs[name]


def _as_rows(item: Any) -> Rows:
    """A collated batch of items as rows."""
    x, y, w = item, None, None
    if isinstance(item, (list, tuple)):
        if len(item) not in (2, 3):
            demand = "an item of a dataset must be (x, y) or (x, y, weight)"
            raise DataError(f"{demand}, got {len(item)} parts; wrap several inputs in a tuple")
        x, y, w = (*item, None)[:3]
    elif isinstance(item, dict):
        x, y = split_target(item)
    rows = Rows(tuple(x) if isinstance(x, list) else x, y, w)
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
