"""Products with a transposed matrix as it lies: every shape, exact sums, bits of the row alone, nothing written beside it."""

from __future__ import annotations

import ctypes
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mbgd.step.fused.dot_tiles import multiply_rows

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
sizes = st.one_of(st.integers(1, 13), st.integers(1, 70))
GUARD = 777.0


def product(a: NDArray, b: NDArray, *, apart: tuple[int, int, int] = (0, 0, 0)) -> NDArray:
    """a b' for a (m, k) and b (n, k), rows of a, b and c `apart` further than they are long, between guards that have to stay
    and beside numbers that must not be read."""
    (m, k), n = a.shape, len(b)
    a, b = (
        np.concatenate([x, np.full((len(x), more), np.nan, x.dtype)], 1) for x, more in zip((a, b), apart, strict=False)
    )
    space = np.full(m * (n + apart[2]) + 128, GUARD, a.dtype)
    c = space[64:-64].reshape(m, n + apart[2])
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    kinds = [pointer, whole, pointer, whole, pointer, whole, whole, whole, whole]
    called = ctypes.CFUNCTYPE(None, *kinds)(multiply_rows.address(a.dtype))
    called(a.ctypes.data, a.shape[1], b.ctypes.data, b.shape[1], c.ctypes.data, c.shape[1], m, n, k)
    assert (c[:, n:] == GUARD).all()
    assert (space[:64] == GUARD).all()
    assert (space[-64:] == GUARD).all()
    return c[:, :n].copy()


@given(shape=st.tuples(sizes, sizes, sizes), apart=st.tuples(*[st.integers(0, 3)] * 3), dtype=st.sampled_from(DTYPES))
def test_each_number_is_the_sum_of_its_products(
    shape: tuple[int, int, int], apart: tuple[int, int, int], dtype: np.dtype
) -> None:
    """Whole numbers, whose sums are exact in any order."""
    m, n, k = shape
    chance = np.random.default_rng(0)
    a, b = chance.integers(-8, 9, (m, k)), chance.integers(-8, 9, (n, k))
    assert (product(a.astype(dtype), b.astype(dtype), apart=apart) == a @ b.T).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("k", [5, 37, 160])
def test_a_row_has_the_same_bits_however_many_are_taken_at_once(k: int, dtype: np.dtype) -> None:
    chance = np.random.default_rng(0)
    a, b = chance.normal(size=(23, k)).astype(dtype), chance.normal(size=(29, k)).astype(dtype)
    whole = product(a, b)
    for rows in range(1, 14):
        assert (product(a[:rows], b) == whole[:rows]).all()
    for columns in (1, 2, 3, 4, 5, 6, 7, 8, 9):
        assert (product(a, b[:columns]) == whole[:, :columns]).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sums_are_as_near_as_one_rounding_a_term_allows(dtype: np.dtype) -> None:
    chance = np.random.default_rng(1)
    a, b = chance.normal(size=(1, 64)).astype(dtype), chance.normal(size=(3, 64)).astype(dtype)
    found = product(a, b)
    for j in range(3):
        terms = [Fraction(float(x)) * Fraction(float(y)) for x, y in zip(a[0], b[j], strict=True)]
        bound = (
            65 * Fraction(float(np.finfo(dtype).eps)) * sum(map(abs, terms))
        )  # (k + 1) eps sum |a b|: Higham 2002, 3.1
        assert abs(Fraction(float(found[0, j])) - sum(terms)) <= bound


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_reaches_its_row_and_no_other(value: float) -> None:
    a, b = np.ones((7, 21), np.float32), np.ones((20, 21), np.float32)
    a[3, 2] = value
    found = product(a, b)
    assert not np.isfinite(found[3]).any()
    assert (np.delete(found, 3, axis=0) == 21).all()
