"""Compiled means, variances and scaled columns are those of exact fractions and of NumPy, whatever the shape of the rows."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mbgd.data.columns import BLOCK, WIDE, ends, mean_and_variance, scaled

SHAPES = [
    (1, 1),
    (2, 3),
    (7, 28),
    (WIDE - 1, 1),
    (WIDE, 1),
    (1000, 28),
    (3, WIDE),
    (5, WIDE + 1),
    (BLOCK + 5, 2),
    (2, BLOCK + 1),
]


def rows(shape: tuple[int, int], dtype: type[np.floating[Any]], *, mean: float = 0.0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(shape)
    return (mean + rng.normal(size=shape) * rng.uniform(0.1, 10, shape[1])).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mean", [0.0, -1e6])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_moments_are_those_of_exact_fractions(
    shape: tuple[int, int], mean: float, dtype: type[np.floating[Any]]
) -> None:
    X = rows(shape, dtype, mean=mean)
    center, variance = mean_and_variance(X)
    for k in range(0, shape[1], max(1, shape[1] // 5)):
        column = [Fraction(float(x)) for x in X[:, k]]
        exact = sum(column) / len(column)
        around = sum((x - exact) ** 2 for x in column) / len(column)
        assert abs(center[k] - float(exact)) <= 1e-15 * (abs(mean) + 40)
        away = abs(mean) / max(
            float(around) ** 0.5, 1e-3
        )  # in standard deviations: as many times the rounding of a number
        assert variance[k] == pytest.approx(float(around), rel=1e-13 + 1e-15 * away, abs=1e-30)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ends_are_those_of_numpy(shape: tuple[int, int], dtype: type[np.floating[Any]]) -> None:
    for X in (rows(shape, dtype, mean=-5.0), rows(shape, dtype, mean=5.0)):
        least, greatest = ends(X)
        assert_array_equal(least, X.min(axis=0))
        assert_array_equal(greatest, X.max(axis=0))


def test_rows_that_drift_far_from_the_first_ones_lose_no_digits() -> None:
    """Around the mean of the first rows, or around 0, the squares would swallow the spread of 1 that is left in each block."""
    n = 4 * BLOCK
    X = (np.repeat([0.0, 1e8, 0.0, 1e8], BLOCK) + np.random.default_rng(0).normal(size=n))[:, None]
    exact = np.var(X[:, 0].astype(np.longdouble))
    assert_allclose(mean_and_variance(X)[1], [float(exact)], rtol=1e-13)
    still = np.full((n, 1), 1e8 + 1 / 3)
    assert mean_and_variance(still)[1][0] <= (1e8 * 1e-15) ** 2


@pytest.mark.parametrize("into", [np.float32, np.float64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scaled_columns_have_the_bits_of_numpy(
    shape: tuple[int, int], dtype: type[np.floating[Any]], into: type[np.floating[Any]]
) -> None:
    X, rng = rows(shape, dtype, mean=3.0), np.random.default_rng(1)
    before, center, unit = X.copy(), rng.normal(size=shape[1]), rng.uniform(0.1, 5, shape[1])
    for bound in (np.full(shape[1], 0.5), rng.uniform(0.1, 10, shape[1]), np.full(shape[1], np.inf)):
        found = scaled(X, center, unit, bound=bound, dtype=np.dtype(into))
        assert found.dtype == into
        assert_array_equal(found, np.clip((X - center) * unit, -bound, bound).astype(into))
    assert_array_equal(X, before)
