"""Partial dependence: exact where columns add up; values that occur, at even steps of rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mbgd.measure.dependence import dependence, rows_at_quantiles, rows_of_labels
from measure.linear_rows import predicting, rows


def test_differences_are_those_of_the_columns_own_part() -> None:
    inputs, donors = rows(300), rows(7, seed=1)
    predict = predicting(lambda x: np.stack([np.sin(x[:, 0]) + x[:, 1] ** 2 - x[:, 2], 5 * x[:, 2]], 1))
    found = dependence(predict, inputs, column=0, donors=donors)
    assert found.shape == (7, 2)
    part = np.sin(donors.values[:, 0].astype(np.float64))
    assert found[:, 0] - found[0, 0] == pytest.approx(part - part[0], abs=1e-12)
    assert found[:, 1] == pytest.approx(5 * inputs.values[:, 2].astype(np.float64).mean(), abs=1e-6)


def test_the_mean_is_over_all_rows_with_the_others_as_they_are() -> None:
    inputs, donors = rows(300), rows(7, seed=1)
    found = dependence(predicting(lambda x: x[:, 0] * x[:, 1]), inputs, column=0, donors=donors)
    assert found[:, 0] == pytest.approx(donors.values[:, 0] * inputs.values[:, 1].mean(), abs=1e-6)


def test_quantiles_of_a_ramp_are_even() -> None:
    ramp = np.random.default_rng(0).permutation(101).astype(float)
    assert ramp[rows_at_quantiles(ramp, most=5)].tolist() == [0, 25, 50, 75, 100]
    assert ramp[rows_at_quantiles(ramp, most=500)].tolist() == list(range(101))
    heavy = np.array([1.0] * 90 + [2.0, 3.0] + [4.0] * 8)
    assert heavy[rows_at_quantiles(heavy, most=3)].tolist() == [1, 4]  # values that are the same are one
    assert heavy[rows_at_quantiles(heavy, most=4)].tolist() == [1, 2, 3, 4]


@given(values=arrays(np.float64, st.integers(0, 30), elements=st.one_of(st.just(np.nan), st.floats(-3, 3, width=16))),
       most=st.integers(2, 8))  # fmt: skip
def test_values_rise_and_none_is_missing(values: np.ndarray, most: int) -> None:
    found = values[rows_at_quantiles(values, most=most)]
    there = values[~np.isnan(values)]
    assert len(found) <= most
    assert (np.diff(found) > 0).all()
    if len(there):
        assert (found[0], found[-1]) == (there.min(), there.max())
    if len(np.unique(there)) <= most:
        assert found.tolist() == np.unique(there).tolist()


def test_labels_come_by_how_often_they_are_met() -> None:
    codes = np.array([5, 2, 2, 7, 5, 2, 9])
    assert codes[rows_of_labels(codes, most=9)].tolist() == [2, 5, 7, 9]
    assert codes[rows_of_labels(codes, most=2)].tolist() == [2, 5]
