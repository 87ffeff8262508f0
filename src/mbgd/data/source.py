"""Rows by number: (x, y, w) of any rows from tensors in memory, and what every other source of rows promises too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from mbgd.data.chance import kept_aside
from mbgd.data.memory import Memory
from mbgd.data.order import IntArray
from mbgd.errors import DataError

Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
Targets = Any  # a tensor, or a tuple or dict of them


@dataclass(frozen=True)
class Rows:
    """Some rows: inputs x, targets y, weights w (None: all one); every tensor has one entry a row in its first dimension."""

    x: Inputs
    y: Targets | None
    w: Tensor | None

    def leaves(self) -> list[Tensor]:
        """Every tensor in a fixed order: inputs, then y, then w."""
        return [leaf for part in (self.x, self.y, self.w) if part is not None for leaf in leaves_of(part)]

    def filled(self, leaves: Iterable[Tensor]) -> Rows:
        """The same structure around other tensors, given in the order of `leaves()`."""
        fresh = iter(leaves)
        return self.map(lambda _: next(fresh))

    def map(self, change: Callable[[Tensor], Tensor]) -> Rows:
        """The same structure with `change` applied to each tensor."""
        return Rows(
            mapped(self.x, change),
            None if self.y is None else mapped(self.y, change),
            None if self.w is None else change(self.w),
        )


class Source(Protocol):
    """Anything with numbered rows."""

    @property
    def n_rows(self) -> int: ...

    def read(self, rows: IntArray | slice) -> Rows:
        """The rows asked for, in that order; a slice may return views."""
        ...


def leaves_of(held: Any) -> list[Tensor]:
    """The tensors of a structure in a fixed order: itself, or those that a tuple, list or dict holds, however deep."""
    if isinstance(held, Tensor):  # first, since it is asked for each batch
        return [held]
    if isinstance(held, (tuple, list, Mapping)):
        parts = held.values() if isinstance(held, Mapping) else held
        return [leaf for part in parts for leaf in leaves_of(part)]
    return [held]


def mapped(held: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same structure with `change` applied to each tensor; a dict of any make becomes a plain one."""
    if isinstance(held, Tensor):
        return change(held)
    if isinstance(held, Mapping):
        return {name: mapped(part, change) for name, part in held.items()}
    if isinstance(held, (tuple, list)):
        parts = [mapped(part, change) for part in held]
        return type(held)(*parts) if hasattr(held, "_fields") else type(held)(parts)
    return change(held)


def named_tensors(held: Any, name: str) -> list[tuple[str, Tensor]]:
    """Every tensor of a structure with what a message calls it: y, y[0], y['a']."""
    if isinstance(held, Mapping):
        return [found for key, part in held.items() for found in named_tensors(part, f"{name}[{key!r}]")]
    if isinstance(held, (tuple, list)):
        return [found for i, part in enumerate(held) for found in named_tensors(part, f"{name}[{i}]")]
    return [(name, held)]


def inputs_of(x: Inputs) -> list[Tensor]:
    """The input tensors in a fixed order, whatever holds them."""
    return [x] if isinstance(x, Tensor) else leaves_of(x)


def call(model: Callable[..., Any], x: Inputs) -> Any:
    """model(x), model(*x) for a tuple, model(**x) for a dict."""
    if isinstance(x, Tensor):
        return model(x)
    return model(**x) if isinstance(x, dict) else model(*x)


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
class CountedSource:
    """A source of the user's own: as many rows as were asked for, on which whoever reads them relies, or a DataError."""

    rows: Source

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    def read(self, rows: IntArray | slice) -> Rows:
        found = self.rows.read(rows)
        n = len(range(*rows.indices(self.n_rows))) if isinstance(rows, slice) else len(rows)
        for leaf in found.leaves():
            if leaf.ndim == 0 or len(leaf) != n:
                given = "a single number" if leaf.ndim == 0 else f"a tensor of shape {tuple(leaf.shape)}"
                raise DataError(f"data must give the {n} rows asked for, got {given}; check its read")
        return found


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
