"""The settings of a torch DataLoader: batch size, order, last batch, workers, and the rows that its own sampler draws.

Its batches are made here all the same; what cannot be kept is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from mbgd.data.chance import kept_aside, set_generators
from mbgd.data.order import IntArray
from mbgd.errors import DataError, PlanError
from mbgd.seeds import step_seed

OF_A_SAMPLER = 1 << 61  # beside an epoch's number, so that no step's draws begin with the same seed


@dataclass(frozen=True)
class Draws:
    """The rows that a sampler of one's own draws, each epoch anew: a function of seed and epoch where all its chance is from
    torch's, NumPy's or Python's global generators or from its `generator`, or where it has `set_epoch`."""

    sampler: Any  # of rows, or of batches of them
    n_rows: int  # of the data
    seed: int

    def __len__(self) -> int:
        """Rows, or batches, an epoch. Raises DataError where the sampler does not say."""
        if (found := _length(self.sampler)) is None:
            raise DataError(
                f"{type(self.sampler).__name__} must have a len(), the rows of an epoch, got none; give it one"
            )
        if not found:
            raise DataError(
                f"{type(self.sampler).__name__} must draw at least 1 row an epoch, got a len() of 0; give it some"
            )
        return found

    def rows(self, epoch: int) -> IntArray:
        """Row numbers in the order of one epoch."""
        with self._seeded(epoch):
            drawn = list(self.sampler)
        return self._checked(drawn, epoch)

    def batches(self, epoch: int) -> list[IntArray]:
        """The row numbers of each batch of one epoch."""
        with self._seeded(epoch):
            drawn = [list(batch) for batch in self.sampler]
        return [self._checked(batch, epoch) for batch in drawn]

    @contextmanager
    def _seeded(self, epoch: int) -> Iterator[None]:
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)
        own = [
            g for g in (_generator(self.sampler), _generator(getattr(self.sampler, "sampler", None))) if g is not None
        ]
        seed, states = step_seed(self.seed, OF_A_SAMPLER + epoch), [g.get_state() for g in own]
        with kept_aside():
            set_generators(seed)
            for generator in own:
                generator.manual_seed(seed)
            try:
                yield
            finally:
                for generator, state in zip(own, states, strict=True):
                    generator.set_state(state)

    def _checked(self, drawn: list[Any], epoch: int) -> IntArray:
        """Kernels read where these numbers say."""
        name = type(self.sampler).__name__
        try:
            rows = np.array([index(row) for row in drawn], np.int64)
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{name} must draw row numbers, got {drawn[:3]} in epoch {epoch + 1}") from None
        wrong = rows[(rows < 0) | (rows >= self.n_rows)]
        if wrong.size:
            raise DataError(f"{name} must draw rows 0 to {self.n_rows - 1}, got {wrong[0]} in epoch {epoch + 1}")
        return rows


def _generator(sampler: Any) -> torch.Generator | None:
    found = getattr(sampler, "generator", None)
    return found if isinstance(found, torch.Generator) else None


@dataclass(frozen=True)
class Loading:
    """What a loader over a map-style dataset does. `words` are those of a plan, and of `batches`; `sampler` draws the rows of an
    epoch, `batch_sampler` its batches, where they are not torch's own."""

    words: dict[str, Any]
    of_workers: dict[str, Any]  # what torch's own loader is told of its workers
    sampler: Any = None
    batch_sampler: Any = None

    @property
    def own(self) -> Any:
        """What draws in place of an order of ours, None where nothing does."""
        return self.sampler if self.batch_sampler is None else self.batch_sampler


def loading(loader: DataLoader[Any]) -> Loading:
    """What the loader was made to do. Raises DataError for one that hands out items without making batches."""
    inner, workers = loader.batch_sampler, {"workers": loader.num_workers}
    if inner is None:
        raise DataError(
            "data must be a DataLoader that makes batches, got batch_size=None; give it one, or pass its dataset"
        )
    told = {name: getattr(loader, name) for name in ("timeout", "worker_init_fn", "multiprocessing_context")}
    if type(inner) is not BatchSampler:
        return Loading(workers, told, batch_sampler=inner)
    sampler: Any = inner.sampler
    words = {**workers, "batch_size": inner.batch_size, "tail": "drop" if inner.drop_last else None}
    if streams(loader.dataset):
        return Loading({**words, "sampling": "natural"}, told)
    n_rows, n_drawn = (_length(part) for part in (loader.dataset, sampler))
    if type(sampler) is SequentialSampler and n_rows == n_drawn:
        return Loading({**words, "sampling": "natural"}, told)
    chance = loader.generator if _generator(sampler) is None else _generator(sampler)
    words |= {} if chance is None else {"seed": chance.initial_seed() & ((1 << 63) - 1)}
    if type(sampler) is RandomSampler and not sampler.replacement and n_rows == n_drawn == _length(sampler.data_source):
        return Loading({**words, "sampling": "reshuffle"}, told)
    return Loading(words, told, sampler=sampler)


def check_words(found: Loading, given: Mapping[str, Any]) -> None:
    """Raises PlanError for a word, beside the loader, that says again what its own sampler does."""
    own = found.own
    words = ("sampling",) if found.batch_sampler is None else ("batch_size", "sampling", "tail")
    for word in words if own is not None else ():
        if word in given:
            raise PlanError(
                f"{word} is what the loader's {type(own).__name__} does, got {given[word]!r} as well; leave one out"
            )


def makes_its_own(loader: DataLoader[Any]) -> bool:
    """Whether it has a collate_fn other than torch's."""
    return loader.collate_fn is not default_collate


def streams(dataset: Any) -> bool:
    """Whether it can only be gone through, from its beginning to its end."""
    return isinstance(dataset, IterableDataset)


def _length(sized: Any) -> int | None:
    try:
        return len(sized)
    except (TypeError, NotImplementedError):
        return None
