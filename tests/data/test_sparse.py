"""Any of SciPy's sparse matrices gives the rows that its own `toarray` has; what is no whole matrix is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import mbgd
from mbgd.data.given import as_source
from mbgd.data.source import WeightedSource
from mbgd.data.sparse import AsTheyLie, SparseSource, pieces_of
from mbgd.errors import DataError

N, WIDTH = 9, 7
Y = np.arange(N) % 2
FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]


def matrix(kind: str = "csr", dtype: Any = np.float64) -> Any:
    """Row 3 and column 2 are empty."""
    dense = sp.random(N, WIDTH, density=0.4, random_state=1, dtype=np.float64).toarray() * 10
    dense[3], dense[:, 2] = 0, 0
    return sp.coo_matrix(dense.astype(dtype)).asformat(kind)


def source_of(x: Any, **how: Any) -> SparseSource:
    source = as_source((x, Y), **how)
    assert isinstance(source, SparseSource)
    return source


def dense(x: Any) -> Any:
    assert isinstance(x, Tensor)
    return (x.to_dense() if x.layout == torch.sparse_csr else x).tolist()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("make", [sp.coo_matrix, sp.coo_array])
def test_every_format_has_its_rows(kind: str, make: Any) -> None:
    x = make(matrix()).asformat(kind)
    source, expected = source_of(x), x.toarray()
    for rows in (slice(None), slice(2, 6), np.array([8, 3, 3, 0]), np.array([], np.int64)):
        assert dense(source.read(rows).x) == expected[rows].tolist()
        assert dense(source.read_sparse(rows).x) == expected[rows].tolist()
        assert dense(AsTheyLie(source).read(rows).x) == expected[rows].tolist()
        read = source.read(rows)
        assert read.y is not None
        assert read.y.tolist() == Y[rows].tolist()


@given(st.data())
def test_entries_in_any_order_and_several_in_one_place_are_summed(data: st.DataObject) -> None:
    """Against a dense array to which each entry is added in turn; small whole numbers, so that sums are exact."""
    rows = [data.draw(st.lists(st.tuples(st.integers(0, WIDTH - 1), st.integers(-3, 3)), max_size=6)) for _ in range(N)]
    starts = np.cumsum([0, *map(len, rows)])
    columns, values = np.array([(c, float(v)) for row in rows for c, v in row]).reshape(-1, 2).T
    expected = np.zeros((N, WIDTH))
    for r, row in enumerate(rows):
        for c, v in row:
            expected[r, c] += v
    for index in (np.int32, np.int64):
        x = sp.csr_matrix((values, columns.astype(index), starts.astype(index)), shape=(N, WIDTH))
        before = x.copy()
        assert dense(source_of(x).read(slice(None)).x) == expected.tolist()
        assert all((a == b).all() for a, b in ((x.data, before.data), (x.indices, before.indices)))


@pytest.mark.parametrize(
    ("given_type", "read_as"),
    [
        ("float32", torch.float32),
        ("float64", torch.float64),
        ("longdouble", torch.float64),
        ("int64", torch.float64),
        ("uint8", torch.float64),
        ("bool", torch.float64),
    ],
)
def test_counts_and_booleans_are_floats_and_floats_keep_their_type(given_type: str, read_as: torch.dtype) -> None:
    x = matrix(dtype=given_type)
    read = source_of(x).read(slice(None)).x
    assert isinstance(read, Tensor)
    assert read.dtype == read_as
    assert read.tolist() == x.toarray().astype(np.float64).tolist()


def test_memory_is_shared_where_it_can_be() -> None:
    x = matrix()
    held = source_of(x).matrix
    assert held.values().data_ptr() == x.data.ctypes.data
    assert held.col_indices().data_ptr() == x.indices.ctypes.data


def test_weights_stand_beside_sparse_rows() -> None:
    w = np.linspace(0.5, 1, N)
    for source in (source_of(matrix(), sample_weight=w), as_source((matrix(), Y, w))):
        assert not isinstance(source, WeightedSource)
        read = source.read(np.array([4, 1]))
        assert read.w is not None
        assert read.w.tolist() == w[[4, 1]].tolist()


def test_batches_of_sparse_rows_are_dense() -> None:
    x = matrix()
    seen = [row for rows, _ in mbgd.batches((x, Y), batch_size=2, seed=3) for row in rows.tolist()]
    assert sorted(seen) == sorted(x.toarray().tolist())


def broken(**pieces: Any) -> Any:
    """A matrix whose pieces SciPy has not looked at."""
    x = matrix()
    for name, piece in pieces.items():
        setattr(x, name, piece)
    return x


def with_column(column: int) -> Any:
    x = matrix()
    x.indices[-1] = column
    return x


WRONG: dict[str, tuple[Any, str]] = {
    "one dimension": (
        lambda: sp.coo_array(np.arange(9.0)),
        "X must have two dimensions where it is sparse, got shape (9,); reshape it to (n, columns)",
    ),
    "a negative column": (
        lambda: with_column(-1),
        "X must have columns 0 to 6, got an entry in column -1 of row 8; mend its indices",
    ),
    "a column too far": (
        lambda: with_column(7),
        "X must have columns 0 to 6, got an entry in column 7 of row 8; mend its indices",
    ),
    "starts that fall": (
        lambda: broken(indptr=np.array([0, 3, 2, *range(3, 10)], np.int32)),
        "X must have row starts that rise from 0 to at most its 18 entries, got others; mend its indptr",
    ),
    "starts beyond the end": (
        lambda: broken(indptr=np.array([0] * 9 + [99], np.int32)),
        "X must have row starts that rise from 0 to at most its 18 entries, got others; mend its indptr",
    ),
    "other lengths": (
        lambda: matrix()[:5],
        "X, y and weight must have the same number of rows, got shapes (5, 7), (9,); their first dimensions must match",
    ),
    "complex numbers": (
        lambda: matrix(dtype=np.complex64),
        "X must hold real numbers, got complex64; pass its real and imaginary parts as two columns",
    ),
    "no rows": (lambda: sp.csr_matrix((0, 3)), "X, y and weight must have the same number of rows"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_whole_matrix_of_numbers_is_refused(name: str) -> None:
    make, said = WRONG[name]
    with pytest.raises(DataError) as caught:
        as_source((make(), Y))
    assert str(caught.value).startswith(said)


def test_a_matrix_alone_has_no_target() -> None:
    with pytest.raises(DataError, match=r"^data must be \(X, y\), got one csr_matrix without a target; pass \(X, y\)$"):
        as_source(sp.csr_matrix(matrix()))


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
@pytest.mark.parametrize("far", [-1, 999])
def test_places_outside_are_refused_before_scipy_computes_with_them(kind: str, far: int) -> None:
    x = sp.random(20, 10, density=0.3, format="csr", random_state=0).asformat(kind)
    (x.row if kind == "coo" else x.indices)[4] = far
    with pytest.raises(DataError, match=f"got an entry in (row|column) {far}"):
        pieces_of(x, "X")
