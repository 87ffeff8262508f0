"""Rows by number: tensors in memory in, (x, y, w) of any rows out; what every other source of rows promises too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from mbgd.data.chance import kept_aside
from mbgd.data.memory import Memory
from mbgd.data.order import IntArray

Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]


@dataclass(frozen=True)
class Rows:
    """Some rows: inputs x, targets y, weights w (None: all one); every tensor has one entry a row in its first dimension."""

    x: Inputs
    y: Tensor | None
    w: Tensor | None

    def leaves(self) -> list[Tensor]:
        """Every tensor in a fixed order: inputs, then y, then w."""
        return [*inputs_of(self.x), *(t for t in (self.y, self.w) if t is not None)]

    def filled(self, leaves: Iterable[Tensor]) -> Rows:
        """The same structure around other tensors, given in the order of `leaves()`."""
        fresh = iter(leaves)
        return self.map(lambda _: next(fresh))

    def map(self, change: Callable[[Tensor], Tensor]) -> Rows:
        """The same structure with `change` applied to each tensor."""
        return Rows(
            _map_inputs(self.x, change),
            None if self.y is None else change(self.y),
            None if self.w is None else change(self.w),
        )


class Source(Protocol):
    """Anything with numbered rows."""

    @property
    def n_rows(self) -> int: ...

    def read(self, rows: IntArray | slice) -> Rows:
        """The rows asked for, in that order; a slice may return views."""
        ...


def inputs_of(x: Inputs) -> list[Tensor]:
    """The input tensors in a fixed order, whatever holds them."""
    if isinstance(x, Tensor):
        return [x]
    return list(x.values()) if isinstance(x, dict) else list(x)


def call(model: Callable[..., Any], x: Inputs) -> Any:
    """model(x), model(*x) for a tuple, model(**x) for a dict."""
    if isinstance(x, Tensor):
        return model(x)
    return model(**x) if isinstance(x, dict) else model(*x)


def _map_inputs(x: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    if isinstance(x, Tensor):
        return change(x)
    if isinstance(x, dict):
        return {name: change(part) for name, part in x.items()}
    return tuple(change(part) for part in x)


@dataclass(frozen=True)
class ArraySource:
    """Tensors in memory (or on a device), one row an entry of the first dimension."""

    data: Rows
    memory: Memory = field(default_factory=Memory, compare=False, repr=False)

    @property
    def n_rows(self) -> int:
        return len(self.data.leaves()[0])

    @property
    def lies_by_rows(self) -> bool:
        """Whether each row lies in one piece in this machine's memory, behind the one before it."""
        return all(leaf.device.type == "cpu" and leaf.is_contiguous() for leaf in self.data.leaves())

    def read(self, rows: IntArray | slice) -> Rows:
        if isinstance(rows, slice):
            return self.data.map(lambda t: t[rows])
        index = torch.from_numpy(rows)
        if (device := self.data.leaves()[0].device).type != "cpu":
            index = index.to(device, non_blocking=True)
            return self.data.map(lambda t: t.index_select(0, index))
        return self.data.map(lambda t: torch.index_select(t, 0, index, out=self.memory.empty(t, rows=len(rows))))

    def to(self, device: torch.device) -> ArraySource:
        """The same rows on `device`: data that fits stays there for the whole run."""
        return ArraySource(self.data.map(lambda t: t.to(device)))


@dataclass(frozen=True)
class WeightedSource:
    """Another source's rows with row weights, shape (n_rows,), in place of its own."""

    rows: Source
    weight: Tensor

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    def read(self, rows: IntArray | slice) -> Rows:
        found = self.rows.read(rows)
        w = self.weight[rows] if isinstance(rows, slice) else self.weight[torch.from_numpy(rows)]
        return Rows(found.x, found.y, w.to(found.leaves()[0].device))


def first_row(source: Source) -> Rows:
    """Row 0, for its shapes and types; a dataset that draws at random leaves the generators as they were."""
    if isinstance(source, ArraySource):
        return source.read(slice(0, 1))
    with kept_aside():
        return source.read(slice(0, 1))


def batch_rows(source: Any) -> int | None:
    """The rows of a batch where a collate_fn of one's own makes each, so that they are read together and no others with
    them; None where any number may be read at once."""
    while hasattr(source, "rows"):  # a source over another
        source = source.rows
    found: int | None = getattr(source, "batch_rows", None)
    return found


def row_bytes(source: Source) -> int:
    """Bytes of one row: what decides how many are gathered at once."""
    return sum(leaf.numel() * leaf.element_size() for leaf in first_row(source).leaves())


@dataclass(frozen=True)
class MappedSource:
    """Another source's rows, changed as they are read; `change` keeps the number of rows and their order."""

    rows: Source
    change: Callable[[Rows], Rows]

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    def read(self, rows: IntArray | slice) -> Rows:
        return self.change(self.rows.read(rows))
