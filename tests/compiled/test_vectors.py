"""Sums over whole vectors and what is left over: exact on whole numbers, for any number of rows of any length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mbgd.compiled.kernel import at, kernel
from mbgd.compiled.vectors import LANES, ROWS_AT_ONCE, dots, dots_picked

DTYPES = [np.float32, np.float64]
rows = st.integers(1, 3 * ROWS_AT_ONCE)
lengths = st.integers(1, 3 * LANES + 1)


@kernel
def all_dots(x: NDArray, w: NDArray, out: NDArray, n: int) -> None:
    dots(at(x, 0), at(w, 0), at(out, 0), len(out), n)


@kernel
def some_dots(x: NDArray, picked: NDArray, w: NDArray, out: NDArray, n: int) -> None:
    dots_picked(at(x, 0), at(picked, 0), at(w, 0), at(out, 0), len(out), n)


@given(shape=st.tuples(rows, lengths), seed=st.integers(0, 9), dtype=st.sampled_from(DTYPES))
def test_each_is_the_sum_of_its_products(shape: tuple[int, int], seed: int, dtype: type) -> None:
    x, w = whole_numbers(shape, seed, dtype), whole_numbers(shape[1:], seed + 1, dtype)
    out = np.zeros(shape[0], dtype)
    all_dots(x.ravel(), w, out, shape[1])
    assert out.tolist() == (x.astype(int) @ w.astype(int)).tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_picked_have_the_bits_of_rows_in_order(dtype: type) -> None:
    chance = np.random.default_rng(0)
    x, w, picked = chance.normal(size=(30, 45)).astype(dtype), np.zeros(48, dtype), chance.integers(0, 30, 23)
    w[:45] = chance.normal(size=45)
    found, in_order = np.zeros(23, dtype), np.zeros(23, dtype)
    some_dots(x.ravel(), picked, w, found, 45)
    all_dots(x[picked].ravel(), w, in_order, 45)
    assert found.tobytes() == in_order.tobytes()


def whole_numbers(shape: tuple[int, ...], seed: int, dtype: type) -> NDArray:
    """Whose products and sums are exact in either type."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)
