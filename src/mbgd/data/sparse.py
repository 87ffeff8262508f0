"""Rows of a sparse matrix by number: dense where they are read, or as they lie.

N rows of the matrix · B rows that are read · E entries of those rows
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbgd.data.order import IntArray
from mbgd.data.source import Rows, mapped
from mbgd.errors import DataError

_LEAVE = "leave indices and indptr as they are while they are trained on, or train on a copy"


class Csr(NamedTuple):
    """Entries row by row: those of row i are starts[i] .. starts[i + 1], columns rising; views of a CSR tensor."""

    starts: NDArray[Any]  # (N + 1,)
    columns: NDArray[Any]
    values: NDArray[Any]

    def entries_of(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """(the numbers of the entries of some rows, row behind row, (E,); where those of each row begin, (B + 1,))."""
        first = self.starts[rows].astype(np.int64)
        ends = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(self.starts[rows + 1] - first, out=ends[1:])
        return np.repeat(first - ends[:-1], np.diff(ends)) + np.arange(ends[-1]), ends


@dataclass(frozen=True)
class SparseSource:
    """Rows whose x is a CSR tensor in this machine's memory; y and w are dense. `read` gives dense rows."""

    data: Rows

    @property
    def n_rows(self) -> int:
        return len(self.matrix)

    @property
    def matrix(self) -> Tensor:
        assert isinstance(self.data.x, Tensor)  # `given` makes it of nothing else
        return self.data.x

    @property
    def entry_bytes(self) -> int:
        """Bytes of the entries of a row, on average: what it takes where it is not made dense."""
        csr = csr_of(self.matrix)
        return max(1, (csr.columns.nbytes + csr.values.nbytes + csr.starts.nbytes) // self.n_rows)

    def read(self, rows: IntArray | slice) -> Rows:
        """Dense rows, and no others: memory for B times the width of the matrix."""
        wanted = np.arange(self.n_rows)[rows] if isinstance(rows, slice) else rows
        ends, columns, values = self._entries_of(wanted)
        x = torch.zeros(len(wanted), self.matrix.shape[1], dtype=self.matrix.dtype)
        x.numpy()[np.repeat(np.arange(len(wanted)), np.diff(ends)), columns] = values
        return self._with_targets(x, wanted)

    def read_sparse(self, rows: IntArray | slice) -> Rows:
        """The same rows with x as a CSR tensor."""
        wanted = np.arange(self.n_rows)[rows] if isinstance(rows, slice) else rows
        ends, columns, values = self._entries_of(wanted)
        starts = ends.astype(columns.dtype)
        return self._with_targets(csr_tensor(starts, columns, values, self.matrix.shape[1]), wanted)

    def _entries_of(self, wanted: IntArray) -> Csr:
        """Copies of the pieces of some rows: looked at anew, since their owner may have written to them meanwhile."""
        csr, width = csr_of(self.matrix), self.matrix.shape[1]
        firsts, ends, n_entries = csr.starts[wanted], csr.starts[wanted + 1], len(csr.columns)
        if ((firsts < 0) | (firsts > ends) | (ends > n_entries)).any():
            raise DataError(f"X must keep row starts that rise from 0 to {n_entries}, got others since; {_LEAVE}")
        entries, of_rows = csr.entries_of(wanted)
        columns = csr.columns[entries]
        if len(columns) and not 0 <= columns.min() <= columns.max() < width:
            wrong = columns[(columns < 0) | (columns >= width)][0]
            raise DataError(f"X must keep columns 0 to {width - 1}, got an entry in column {wrong} since; {_LEAVE}")
        return Csr(of_rows, columns, csr.values[entries])

    def entries(self, rows: IntArray) -> list[Tensor]:
        """The same rows in pieces: starts and columns, values, y, w; the same whatever type the indices had."""
        found = self.read_sparse(rows)
        assert isinstance(found.x, Tensor)
        places = [piece.to(torch.int64) for piece in (found.x.crow_indices(), found.x.col_indices())]
        return [*places, found.x.values(), *Rows((), found.y, found.w).leaves()]

    def _with_targets(self, x: Tensor, wanted: IntArray) -> Rows:
        index = torch.from_numpy(wanted)
        y, w = (None if part is None else mapped(part, lambda leaf: leaf[index]) for part in (self.data.y, self.data.w))
        return Rows(x, y, w)


@dataclass(frozen=True)
class AsTheyLie:
    """The rows of a sparse source, left sparse: for a model that multiplies them by a matrix first."""

    rows: SparseSource

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    def read(self, rows: IntArray | slice) -> Rows:
        return self.rows.read_sparse(rows)


def csr_of(matrix: Tensor) -> Csr:
    """The pieces of a CSR tensor, without a copy."""
    pieces = (matrix.crow_indices(), matrix.col_indices(), matrix.values())
    return Csr(*(piece.detach().numpy() for piece in pieces))


def csr_tensor(starts: NDArray[Any], columns: NDArray[Any], values: NDArray[Any], width: int) -> Tensor:
    """A CSR tensor over these pieces, shape (len(starts) - 1, width)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        crow, col, entries = (torch.from_numpy(piece) for piece in (starts, columns, values))
        return torch.sparse_csr_tensor(crow, col, entries, size=(len(starts) - 1, width), check_invariants=False)


def is_sparse(value: Any) -> bool:
    """Whether it is one of SciPy's sparse matrices or arrays, of any format."""
    return hasattr(value, "tocsr") and hasattr(type(value), "nnz")  # not asked of it: without indptr it has no answer


def pieces_of(matrix: Any, name: str) -> Csr:
    """Any of SciPy's sparse matrices as CSR, each place at most once, columns rising; the matrix itself is not changed.

    Raises DataError for other dimensions than two, and for places outside the matrix, which SciPy lets pass.
    """
    if len(matrix.shape) != 2:
        raise DataError(
            f"{name} must have two dimensions where it is sparse, got shape {matrix.shape}; reshape it to (n, columns)"
        )
    check_places(matrix, name)
    csr = matrix if getattr(matrix, "format", "") == "csr" else matrix.tocsr()
    check_places(csr, name)
    if not csr.has_canonical_format:
        csr = csr.copy() if csr is matrix else csr
        csr.sum_duplicates()
    used, kind = int(csr.indptr[-1]), np.result_type(csr.indptr, csr.indices)  # of one type, as torch wants them
    return Csr(csr.indptr.astype(kind, copy=False), csr.indices[:used].astype(kind, copy=False), csr.data[:used])


def check_places(matrix: Any, name: str) -> None:
    """Raises DataError for places outside one of SciPy's matrices with two dimensions: SciPy's conversions read and write where
    they say, as kernels do."""
    kind = getattr(matrix, "format", "")
    if kind == "csr":
        _check_pieces(matrix.indptr, matrix.indices, matrix.data, shape=matrix.shape, name=name)
    if kind == "csc":
        by_column = f"the transpose of {name}"
        _check_pieces(matrix.indptr, matrix.indices, matrix.data, shape=matrix.shape[::-1], name=by_column)
    if kind == "bsr":
        shape = tuple(n // max(1, size) for n, size in zip(matrix.shape, matrix.blocksize, strict=True))
        first = matrix.data.reshape(len(matrix.data), -1)[:, 0]
        _check_pieces(matrix.indptr, matrix.indices, first, shape=shape, name=f"the blocks of {name}")
    if kind == "coo":
        places = zip(("row", "column"), (matrix.row, matrix.col), matrix.shape, strict=True)
        for axis, of_entries, n in places:
            if len(of_entries) != len(matrix.data):
                raise DataError(
                    f"{name} must have a {axis} for each of its {len(matrix.data)} entries, got {len(of_entries)}; mend them"
                )
            if len(of_entries) and not 0 <= of_entries.min() <= of_entries.max() < n:
                wrong = of_entries[(of_entries < 0) | (of_entries >= n)][0]
                raise DataError(f"{name} must have {axis}s 0 to {n - 1}, got an entry in {axis} {wrong}; mend it")


def _check_pieces(
    starts: NDArray[Any], columns: NDArray[Any], values: NDArray[Any], *, shape: tuple[int, ...], name: str
) -> None:
    (n_rows, width), n_entries = shape, min(len(columns), len(values))
    for piece, kinds in ((starts, "iu"), (columns, "iu"), (values, "biufc")):
        if piece.ndim != 1 or piece.dtype.kind not in kinds:
            given = f"{piece.dtype} of shape {piece.shape}"
            raise DataError(
                f"{name} must have indptr and indices of whole numbers, and one number an entry, got {given}"
            )
    if len(starts) != n_rows + 1 or starts[0] != 0 or starts[-1] > n_entries or (starts[1:] < starts[:-1]).any():
        raise DataError(
            f"{name} must have row starts that rise from 0 to at most its {n_entries} entries, got others; mend its indptr"
        )
    columns = columns[: starts[-1]]
    for column in (columns.min(), columns.max()) if len(columns) else ():
        if not 0 <= column < width:
            entry = int(np.flatnonzero(columns == column)[0])
            row = int(np.searchsorted(starts, entry, side="right")) - 1
            raise DataError(
                f"{name} must have columns 0 to {width - 1}, got an entry in column {column} of row {row}; mend its indices"
            )
