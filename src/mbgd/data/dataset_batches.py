"""Read a map-style dataset batch by batch through torch's own DataLoader, workers and collate function included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from mbgd.data.dataset import Begin, Collated, Together, of_worker
from mbgd.data.loader import makes_its_own
from mbgd.data.order import IntArray
from mbgd.errors import DataError
from mbgd.seeds import step_seed

_OF_WORKERS = ("timeout", "multiprocessing_context", "prefetch_factor", "persistent_workers")
BESIDE_STEPS = 1 << 60  # added to an epoch's number, so that no step's draws begin with the same seed


class DatasetBatches:
    """Reads a map-style dataset batch by batch. What it draws at random in workers is a function of seed, epoch and how many
    there are; in this process it draws from the global generators, as with torch's loader."""

    def __init__(self, dataset: Any, *, loader: DataLoader[Any] | None, workers: int, seed: int) -> None:
        self._rows: list[list[int]] = []  # of each batch of the next pass
        self._seed, self._chance = seed, torch.Generator()  # its own: the global one is that of the loop's dropout
        kept: dict[str, Any] = {"persistent_workers": True} if workers else {}
        if loader is not None:
            of_workers = {name: getattr(loader, name) for name in _OF_WORKERS} if loader.num_workers and workers else {}
            kept |= {**of_workers, "pin_memory": loader.pin_memory}
            kept |= {"in_order": loader.in_order} if hasattr(loader, "in_order") else {}
        self._loader: DataLoader[Any] = DataLoader(
            Together(dataset) if hasattr(dataset, "__getitems__") else dataset,
            batch_sampler=_Batches(self._rows),
            num_workers=workers,
            collate_fn=loader.collate_fn if loader is not None and makes_its_own(loader) else Collated(),
            worker_init_fn=Begin(None if loader is None else loader.worker_init_fn),
            generator=self._chance,
            **kept,
        )

    def read(self, batches: list[IntArray], *, epoch: int) -> Iterator[Any]:
        """What the collate function makes of the items of each batch, in order."""
        self._rows[:] = [rows.tolist() for rows in batches]
        self._chance.manual_seed(step_seed(self._seed, BESIDE_STEPS + epoch))
        try:
            yield from self._loader
        except DataError as error:
            raise of_worker(error) from error


class _Batches(Sampler[list[int]]):
    """Hands torch's loader the batches that the list holds when a pass starts."""

    def __init__(self, rows: list[list[int]]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[list[int]]:
        return iter(list(self._rows))

    def __len__(self) -> int:
        return len(self._rows)
