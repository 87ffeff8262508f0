"""Shapley values: those of the definition, by all subsets; exact for sums and for pairs; they add up to the prediction."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest

from mbgd.measure import contributions as module
from mbgd.measure.contributions import contributions
from mbgd.measure.exchange import Inputs, Predict
from measure.linear_rows import predicting, rows


def by_subsets(predict: Predict, inputs: Inputs, background: Inputs) -> np.ndarray:
    """(N, D, K) by the definition: sum over subsets A without d of |A|! (D - |A| - 1)! / D! (v(A and d) - v(A))."""
    n_columns = len(inputs.names)

    def worth(row: int, subset: tuple[int, ...]) -> np.ndarray:
        there = background
        for column in subset:
            there = there.exchanged(column, inputs.take(np.array([row])))
        return predict(there).mean(axis=0)

    found = []
    for row in range(len(inputs)):
        for d in range(n_columns):
            rest = [c for c in range(n_columns) if c != d]
            total = 0.0
            for size in range(n_columns):
                weight = factorial(size) * factorial(n_columns - size - 1) / factorial(n_columns)
                for subset in combinations(rest, size):
                    total = total + weight * (worth(row, (*subset, d)) - worth(row, subset))
            found.append(total)
    return np.array(found).reshape(len(inputs), n_columns, -1)


SUM = predicting(lambda x: np.stack([np.sin(3 * x[:, 0]) + x[:, 1] ** 2 + np.exp(x[:, 2]) - x[:, 3], x[:, 1]], 1))
PAIRS = predicting(lambda x: x[:, 0] * x[:, 1] + np.cos(x[:, 1] + x[:, 2]) - x[:, 0] / (1 + x[:, 3] ** 2))
TRIPLE = predicting(lambda x: x[:, 0] * x[:, 1] * x[:, 2] + np.maximum(x[:, 1], x[:, 3]))


@pytest.mark.parametrize("predict", [SUM, PAIRS], ids=["sum", "pairs"])
def test_sums_and_pairs_are_exact(predict: Predict) -> None:
    inputs, background = rows(3), rows(5, seed=1)
    found = contributions(predict, inputs, background, seed=0)
    assert found.columns == pytest.approx(by_subsets(predict, inputs, background), abs=1e-12)


def test_more_that_act_together_are_met_within_the_error_of_the_orders() -> None:
    """Triples differ from walk to walk by about 1; 300 background rows leave 1 / sqrt(300) of it."""
    inputs, background = rows(3), rows(300, seed=1)
    exact = by_subsets(TRIPLE, inputs, background)
    apart = np.abs(contributions(TRIPLE, inputs, background, seed=0).columns - exact)
    assert 0 < apart.max() < 0.15
    several = [contributions(TRIPLE, inputs, background, seed=seed).columns for seed in range(30)]
    assert np.abs(np.mean(several, axis=0) - exact).max() < 0.03


def test_a_sum_is_what_each_part_says_less_its_mean() -> None:
    inputs, background = rows(3), rows(5, seed=1)
    x, b = inputs.values.astype(np.float64), background.values.astype(np.float64)
    found = contributions(SUM, inputs, background, seed=0)
    assert found.columns[:, 0, 0] == pytest.approx(np.sin(3 * x[:, 0]) - np.sin(3 * b[:, 0]).mean(), abs=1e-12)
    assert found.columns[:, 0, 1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n_columns", [1, 2, 6])
def test_base_and_contributions_add_up_to_the_prediction(n_columns: int) -> None:
    inputs, background = rows(9, n_columns=n_columns, numbers=2), rows(20, seed=1, n_columns=n_columns, numbers=2)
    predict = predicting(lambda x: np.tanh(x @ np.linspace(-1, 1, 6 * n_columns).reshape(-1, 3)) ** 3)
    found = contributions(predict, inputs, background, seed=3)
    assert found.predictions == pytest.approx(predict(inputs), abs=0)
    assert found.base == pytest.approx(predict(background).mean(axis=0), abs=0)
    assert found.base + found.columns.sum(axis=1) == pytest.approx(found.predictions, abs=1e-12)


def test_a_column_that_is_not_used_adds_nothing_and_twins_add_the_same() -> None:
    inputs, background = rows(4), rows(6, seed=1)
    inputs.values[:, 1], background.values[:, 1] = inputs.values[:, 0], background.values[:, 0]
    found = contributions(predicting(lambda x: np.exp(x[:, 0] + x[:, 1])), inputs, background, seed=0).columns
    assert not found[:, 2:].any()
    assert found[:, 0] == pytest.approx(found[:, 1], abs=1e-12)


def test_how_many_rows_are_asked_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, background = rows(11), rows(13, seed=1)
    whole = contributions(TRIPLE, inputs, background, seed=0)
    for at_once in (1, 20, 100):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", at_once)
        assert contributions(TRIPLE, inputs, background, seed=0).columns == pytest.approx(whole.columns, abs=1e-14)
    first = contributions(TRIPLE, inputs.take(np.arange(2)), background, seed=0)
    assert first.columns == pytest.approx(whole.columns[:2], abs=1e-14)
    none = contributions(TRIPLE, inputs.take(np.arange(0)), background, seed=0)
    assert none.columns.shape == (0, 4, 1)
