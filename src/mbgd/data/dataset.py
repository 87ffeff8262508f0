"""A map-style dataset in, its rows by number out, read by torch's own loader workers where asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from mbgd.data.order import IntArray
from mbgd.data.source import Rows
from mbgd.errors import DataError


class DatasetSource:
    """A map-style dataset whose items are (x, y) or x; read row by row, by `workers` processes where asked."""

    def __init__(self, dataset: Dataset[Any], *, workers: int = 0, rows_per_task: int = 64) -> None:
        self._dataset, self._workers, self._rows_per_task = dataset, workers, rows_per_task
        self._tasks: list[list[int]] = []  # what the loader's next pass reads; its workers stay alive
        self._loader = _task_loader(dataset, self._tasks, workers) if workers else None
        self.n_rows = length(dataset)

    def read(self, rows: IntArray | slice) -> Rows:
        wanted: list[int] = (np.arange(self.n_rows)[rows] if isinstance(rows, slice) else rows).tolist()
        if self._loader is None:
            return _as_rows(default_collate(_items(self._dataset, wanted)))
        step = self._rows_per_task
        self._tasks[:] = [wanted[at : at + step] for at in range(0, len(wanted), step)]
        parts = [_as_rows(part) for part in self._loader]
        return parts[0].filled(torch.cat(leaves) for leaves in zip(*(part.leaves() for part in parts), strict=True))


def _task_loader(dataset: Dataset[Any], tasks: list[list[int]], workers: int) -> DataLoader[Any]:
    return DataLoader(dataset, batch_sampler=_Tasks(tasks), num_workers=workers, persistent_workers=True)


class _Tasks(Sampler[list[int]]):
    """Hands torch's loader our batches: the lists of row numbers that the list holds when a pass starts."""

    def __init__(self, tasks: list[list[int]]) -> None:
        self._tasks = tasks

    def __iter__(self) -> Iterator[list[int]]:
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
    except (TypeError, NotImplementedError):
        raise DataError(
            f"data must have a length and rows by number, got {type(dataset).__name__}; an iterable dataset has no order "
            "to shuffle: give a map-style dataset (__len__ and __getitem__), arrays or tensors"
        ) from None


def _as_rows(item: Any) -> Rows:
    if isinstance(item, (list, tuple)) and len(item) in (2, 3):
        x, y, w = (*item, None)[:3]
        return Rows(tuple(x) if isinstance(x, list) else x, y, w)
    if isinstance(item, (list, tuple)):
        demand = "an item of a dataset must be (x, y) or (x, y, weight)"
        raise DataError(f"{demand}, got {len(item)} parts; wrap several inputs in a tuple")
    return Rows(item, None, None)
