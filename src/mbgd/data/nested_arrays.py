"""Arrays in tuples and dicts as one source of rows, whose batches have the same tuples and dicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mbgd.data.chunk import Chunk
from mbgd.data.given import checked, sparse_tensor
from mbgd.data.source import ArraySource, Rows, Source, first_row
from mbgd.data.sparse import SparseSource, is_sparse
from mbgd.data.tensors import as_tensor

Shape = None | tuple[Any, ...] | dict[str, Any]
"""What rows were given in: None for a tensor, else a tuple or dict of such shapes."""


@dataclass(frozen=True)
class NestedArrays:
    """Rows whose leaves, in order, are those of `shape`."""

    source: Source
    shape: Shape

    def items(self, chunk: Chunk, *, with_scale: bool) -> Iterator[Any]:
        """What a loop sees of each batch of a chunk; the scale, which is its size over the batch size, comes last."""
        leaves = iter([chunk.views(leaf) for leaf in chunk.data.leaves()])
        parts = self.shape if isinstance(self.shape, tuple) else (self.shape,)
        columns: list[Iterable[Any]] = [_column(part, leaves) for part in parts]
        if with_scale:
            columns.append((chunk.sizes / chunk.divisors).tolist())
        return zip(*columns, strict=True) if with_scale or parts is self.shape else iter(columns[0])


def _column(shape: Shape, leaves: Iterator[list[Tensor]]) -> list[Any]:
    """One entry a batch."""
    if shape is None:
        return next(leaves)
    parts = [_column(part, leaves) for part in (shape.values() if isinstance(shape, dict) else shape)]
    rows = zip(*parts, strict=True)
    return [dict(zip(shape, row, strict=True)) for row in rows] if isinstance(shape, dict) else list(rows)


def pack(data: Any, *, sample_weight: Tensor | None = None) -> NestedArrays:
    """Arrays, tensors, frames or SciPy's sparse matrices, alone or in tuples and dicts, as rows; a weight comes last. Raises
    DataError where lengths differ, and for what holds no numbers."""
    leaves: list[Tensor] = []
    if sample_weight is not None:
        data = (*data, sample_weight) if isinstance(data, tuple) else (data, sample_weight)
    shape = _unpacked(data, "X" if not isinstance(data, tuple) else "", leaves)
    if leaves and leaves[0].layout == torch.sparse_csr:
        return NestedArrays(SparseSource(checked(Rows(leaves[0], *leaves[1:], *(None,) * (3 - len(leaves))))), shape)
    return NestedArrays(ArraySource(checked(Rows(tuple(leaves), None, None))), shape)


def of_source(source: Source) -> NestedArrays:
    """A source of one's own: its inputs, then its targets and weights where it has them."""
    first = first_row(source)
    x: Shape = None if isinstance(first.x, Tensor) else tuple(None for _ in first.x)
    x = dict.fromkeys(first.x) if isinstance(first.x, dict) else x
    others = [None for leaf in (first.y, first.w) if leaf is not None]
    return NestedArrays(source, (x, *others) if others else x)


def _unpacked(part: Any, name: str, leaves: list[Tensor]) -> Shape:
    """Appends the tensors of a part to the leaves."""
    if isinstance(part, Mapping) and not is_sparse(part):
        return {str(key): _unpacked(value, f"{name}[{key!r}]", leaves) for key, value in part.items()}
    if isinstance(part, tuple):
        names = ("X", "y", "weight") if not name else ()
        named = (names[i] if i < len(names) else f"{name or 'data'}[{i}]" for i in range(len(part)))
        return tuple(_unpacked(value, own, leaves) for value, own in zip(part, named, strict=True))
    leaves.append(
        sparse_tensor(part, name) if is_sparse(part) and not leaves and name == "X" else as_tensor(part, name)
    )
    return None
