"""Permutation importance: 2 a^2 var(x) for a linear model, and intervals that hold it as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from mbgd.measure.exchange import Inputs
from mbgd.measure.importance import Interval, circles, interval, rises
from measure.linear_rows import WEIGHTS, rows

EXACT = (
    2 * WEIGHTS**2
)  # E (a x - a x')^2 of independent x and x' of variance 1; noise and other columns are left as they are


def measured(n: int, *, repeats: int, seed: int, noise: float = 1.0) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """((R, N) rises of each column, donors, y) of y = a . x + noise."""
    inputs = rows(n, seed)
    y = inputs.values @ WEIGHTS + noise * np.random.default_rng([1, seed]).normal(size=n)

    def loss_of(there: Inputs) -> np.ndarray:
        return np.square(there.values @ WEIGHTS - y)

    donors = circles(n, repeats=repeats, seed=seed)
    found = [rises(loss_of, inputs, column=k, donors_RN=donors, losses_N=loss_of(inputs)) for k in range(len(WEIGHTS))]
    return found, donors, y


def test_each_row_gives_once_and_gets_once_and_never_from_itself() -> None:
    for n in (2, 3, 50):
        donors = circles(n, repeats=3, seed=7)
        assert donors.shape == (3, n)
        for row in donors:
            assert sorted(row) == list(range(n))
            assert (row != np.arange(n)).all()
    assert (circles(50, repeats=3, seed=7)[:2] == circles(50, repeats=2, seed=7)).all()
    assert (circles(50, repeats=1, seed=7) != circles(50, repeats=1, seed=8)).any()
    assert (donors[0] != donors[1]).any()


def test_importance_is_twice_the_variance_that_a_column_brings() -> None:
    found, donors, _ = measured(20_000, repeats=5, seed=0)
    for rise, exact in zip(found, EXACT, strict=True):
        said = interval(rise, donors)
        assert said.estimate == pytest.approx(exact, rel=0.05)  # sd of the largest: sqrt(8 * 81 + 36) / 141 = 1 % of 18
        assert said.low <= said.estimate <= said.high
    assert interval(found[3], donors) == Interval(0, 0, 0)  # a column that is not used, to the last bit


def test_a_small_case_by_hand() -> None:
    """Three rows in a circle, y = x: the rises are (x - x')^2."""
    inputs = Inputs(np.array([[0.0], [1.0], [3.0]], np.float32), np.array([0]), ("x",))
    donors = np.array([[1, 2, 0]])
    y = np.array([0.0, 1.0, 3.0])
    found = rises(
        lambda there: np.square(there.values[:, 0] - y), inputs, column=0, donors_RN=donors, losses_N=np.zeros(3)
    )
    assert found.tolist() == [[1, 4, 9]]
    said = interval(found, donors)
    assert said.estimate == pytest.approx(14 / 3)
    # as receiver and donor: 1 + 9, 4 + 1, 9 + 4; their variance is 49/3 (divisor 2); t of two degrees is 4.3027
    assert said.high - said.estimate == pytest.approx(4.30265 * (49 / 3 / 3) ** 0.5, rel=1e-5)


@pytest.mark.parametrize(("n", "repeats"), [(60, 1), (60, 5), (400, 5)])
def test_intervals_hold_the_truth_as_often_as_they_say(n: int, repeats: int) -> None:
    """95 of 100 tables, each column of them, as mean squared error and as a share of the variance of y."""
    held, held_share, tables = np.zeros(3), np.zeros(3), 300
    variance = float((WEIGHTS**2).sum() + 1)
    for seed in range(tables):
        found, donors, y = measured(n, repeats=repeats, seed=seed)
        for k in range(3):
            said = interval(found[k], donors)
            held[k] += said.low <= EXACT[k] <= said.high
            share = interval(found[k], donors, unit_N=np.square(y - y.mean()))
            held_share[k] += share.low <= EXACT[k] / variance <= share.high
    # sd of a share of 300 is 1.3 %; rises are skewed, so that short tables hold less; partners make intervals wider
    assert (held / tables > 0.92).all(), held / tables
    assert (held_share / tables > 0.92).all(), held_share / tables
    if repeats > 1:
        assert (held / tables < 0.99).all(), held / tables
        assert (held_share / tables < 0.99).all(), held_share / tables


def test_columns_made_of_several_numbers_move_together() -> None:
    """f = the sum of a column's two numbers, which are one value and its opposite: shuffled apart they would not cancel."""
    inputs = rows(500, n_columns=2, numbers=2)
    inputs.values[:, 1] = -inputs.values[:, 0]

    def loss_of(there: Inputs) -> np.ndarray:
        return np.square(there.values[:, 0] + there.values[:, 1] + there.values[:, 2]).astype(np.float64)

    donors = circles(500, repeats=2, seed=0)
    losses = loss_of(inputs)
    assert not rises(loss_of, inputs, column=0, donors_RN=donors, losses_N=losses).any()
    assert rises(loss_of, inputs, column=1, donors_RN=donors, losses_N=losses).any()


def test_no_spread_of_the_target_is_no_share() -> None:
    found, donors, _ = measured(50, repeats=2, seed=0)
    assert np.isnan(interval(found[0], donors, unit_N=np.zeros(50)).estimate)
