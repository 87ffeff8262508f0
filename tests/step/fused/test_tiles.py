"""Products by tiles: every shape of matrix, exact sums, bits that depend on the row alone, nothing written beside it."""

from __future__ import annotations

import ctypes
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mbgd.step.fused.tiles import SHAPE, multiply

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
sizes = st.one_of(st.integers(1, 9), st.integers(1, 9 * SHAPE.bits // 32 + 1))
GUARD = 777.0


def product(a: NDArray, b: NDArray, *, start: NDArray | None = None, turned: bool = False) -> NDArray:
    """a b, added to `start` where there is one, between guards that have to stay; `turned` hands a over column by column."""
    (m, k), n = a.shape, b.shape[1]
    kept, row, column = (np.ascontiguousarray(a.T), 1, m) if turned else (np.ascontiguousarray(a), k, 1)
    space = np.full(m * n + 128, GUARD, a.dtype)
    c = space[64:-64].reshape(m, n)
    if start is not None:
        c[:] = start
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    kinds = [pointer, whole, whole, pointer, whole, pointer, *[whole] * 5]
    called = ctypes.CFUNCTYPE(None, *kinds)(multiply.address(a.dtype))
    b = np.ascontiguousarray(b)
    called(kept.ctypes.data, row, column, b.ctypes.data, n, c.ctypes.data, n, m, n, k, int(start is None))
    assert (space[:64] == GUARD).all()
    assert (space[-64:] == GUARD).all()
    return c


def small_numbers(shape: tuple[int, int], dtype: np.dtype, seed: int) -> NDArray:
    """Whole numbers whose products and sums are exact in either type: any order of summation gives the same."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)


@given(shape=st.tuples(sizes, sizes, sizes), turned=st.booleans(), adds=st.booleans(), dtype=st.sampled_from(DTYPES))
def test_each_number_is_the_sum_of_its_products(
    shape: tuple[int, int, int], turned: bool, adds: bool, dtype: np.dtype
) -> None:
    m, n, k = shape
    a, b, start = (small_numbers(shape, dtype, seed) for seed, shape in enumerate(((m, k), (k, n), (m, n))))
    whole = a.astype(int) @ b.astype(int) + (start.astype(int) if adds else 0)
    found = product(a, b, start=start if adds else None, turned=turned)
    assert (found == whole).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_has_the_same_bits_however_many_are_taken_at_once(dtype: np.dtype) -> None:
    chance = np.random.default_rng(0)
    a, b = chance.normal(size=(23, 37)).astype(dtype), chance.normal(size=(37, 150)).astype(dtype)
    whole = product(a, b)
    for rows in range(1, 14):
        assert (product(a[:rows], b) == whole[:rows]).all()
    for columns in (1, 15, 16, 17, 31, 33, 63, 64, 65):
        assert (product(a, b[:, :columns]) == whole[:, :columns]).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sums_are_as_near_as_one_rounding_a_term_allows(dtype: np.dtype) -> None:
    chance = np.random.default_rng(1)
    a, b = chance.normal(size=(1, 64)).astype(dtype), chance.normal(size=(64, 3)).astype(dtype)
    found = product(a, b)
    for j in range(3):
        terms = [Fraction(float(x)) * Fraction(float(y)) for x, y in zip(a[0], b[:, j], strict=True)]
        bound = (
            65 * Fraction(float(np.finfo(dtype).eps)) * sum(map(abs, terms))
        )  # (k + 1) eps sum |a b|: Higham 2002, 3.1
        assert abs(Fraction(float(found[0, j])) - sum(terms)) <= bound


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_reaches_its_row_and_no_other(value: float) -> None:
    a, b = np.ones((7, 5), np.float32), np.ones((5, 20), np.float32)
    a[3, 2] = value
    found = product(a, b)
    assert not np.isfinite(found[3]).any()
    assert (np.delete(found, 3, axis=0) == 5).all()
