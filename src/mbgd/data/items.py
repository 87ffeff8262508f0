"""What was collated of a dataset's items, as rows: their number, and the parts, shapes and types of the first read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from mbgd.data.source import Rows, named_tensors
from mbgd.data.tensors import as_tensor
from mbgd.errors import DataError

TARGETS = ("labels", "label")  # where an item that is one dict holds its target, as Hugging Face's datasets do


class RowsOfItems:
    """Collated items as rows; whoever reads them relies on their number, and on shapes and types that stay the same but where
    a collate_fn of one's own makes each batch."""

    def __init__(self, *, own_collate: bool, remedy: str) -> None:
        self._own_collate, self._remedy = own_collate, remedy
        self._kind: tuple[_Leaf, ...] | None = None  # of the first read: later ones must be like it

    def __call__(self, found: Any, wanted: Sequence[int]) -> Rows:
        """The rows of what was made of the items with these numbers. Raises DataError."""
        rows, who = _as_rows(found), "collate_fn" if self._own_collate else "a dataset"
        leaves = _named(rows)
        for name, leaf in leaves:
            if leaf.ndim == 0 or len(leaf) != len(wanted):
                given = "a single number" if leaf.ndim == 0 else f"{len(leaf)} rows"
                raise DataError(
                    f"{who} must give one row of {name} for each of the {len(wanted)} rows asked for, got {given}; "
                    f"{self._remedy}"
                )
        if self._own_collate:
            return rows
        kind = tuple(
            _Leaf(name, str(leaf.dtype).removeprefix("torch."), tuple(leaf.shape[1:])) for name, leaf in leaves
        )
        self._kind = kind if self._kind is None else self._kind
        if kind != self._kind:
            raise DataError(_differs(self._kind, kind, wanted))
        return rows


class _Leaf(NamedTuple):
    """A tensor of a read: where it stands, its type, and the shape of a row."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} of shape {self.shape}"


def _differs(first: tuple[_Leaf, ...], now: tuple[_Leaf, ...], wanted: Sequence[int]) -> str:
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
