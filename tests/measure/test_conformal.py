"""Conformal widths: the rank by hand, coverage of new rows whatever the network, order kept, few rows left as they are."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mbgd.measure.conformal import Pair, Widening, binomial_interval, conformal, covered, pairs_of

Array = NDArray[np.float64]
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def bad_quantiles(n: int, seed: int, *, spread: float) -> tuple[Array, Array]:
    """Targets whose noise grows with x, and quantiles that know nothing of it; `spread` makes them too narrow or too wide."""
    chance = np.random.default_rng(seed)
    x = chance.uniform(0, 1, n)
    y = np.sin(6 * x) + (0.1 + x) * chance.standard_t(4, n)
    normal = np.array([-1.64, -0.67, 0.0, 0.67, 1.64])
    return np.sin(5 * x)[:, None] + spread * normal, y


def test_pairs_are_those_that_add_up_to_one_the_widest_first() -> None:
    assert pairs_of(LEVELS) == [(0, 4), (1, 3)]
    assert pairs_of((0.1, 0.5, 0.9)) == [(0, 2)]
    assert pairs_of((0.1, 0.2, 0.9)) == [(0, 2)]
    assert pairs_of((0.1, 0.2, 0.5)) == []
    assert pairs_of((0.025, 0.16, 0.84, 0.975)) == [(0, 3), (1, 2)]


@given(
    n=st.integers(1, 60), low=st.sampled_from(["0.005", "0.05", "0.1", "0.25", "0.4", "0.45"]), seed=st.integers(0, 999)
)
def test_the_width_is_the_score_of_the_rank_that_the_source_names(n: int, low: str, seed: int) -> None:
    """The rank in exact fractions, the score by sorting; too few rows are those for which there is no such rank."""
    levels = (float(low), float(1 - Fraction(low)))
    q, y = bad_quantiles(n, seed, spread=0.6)
    q = q[:, [0, 4]]
    found = conformal(levels, q, y).pairs[0]
    rank = math.ceil((1 - 2 * Fraction(low)) * (n + 1))
    scores = sorted(max(a - value, value - b) for (a, b), value in zip(q.tolist(), y.tolist(), strict=True))
    assert found.by == (scores[rank - 1] if rank <= n else None)
    assert found.rows == n
    assert (found.rows_needed <= n) == (found.by is not None)


@pytest.mark.parametrize("spread", [0.2, 1.0, 3.0])  # far too narrow, about right, far too wide
def test_new_rows_are_covered_as_promised_whatever_the_network(spread: float) -> None:
    """400 draws of 39 rows and 50 new ones: P(covered) is ceil(t (40)) / 40 where nothing ties, 0.9 and 0.5 here, and the mean
    over draws lies within 4 of its standard deviations: that of a draw is sqrt(p (1 - p) (1/50 + 1/41))."""
    held = np.zeros((400, 2))
    for seed in range(400):
        q, y = bad_quantiles(89, seed, spread=spread)
        widened = conformal(LEVELS, q[:39], y[:39]).applied(q[39:])
        for p, (low, high) in enumerate(pairs_of(LEVELS)):
            held[seed, p] = np.mean((widened[:, low] <= y[39:]) & (y[39:] <= widened[:, high]))
    for p, nominal in enumerate((0.9, 0.5)):
        deviation = math.sqrt(nominal * (1 - nominal) * (1 / 50 + 1 / 41) / 400)
        assert held[:, p].mean() >= nominal - 4 * deviation
        if spread == 0.2:  # no interval has to make way for an inner one there: the promise is met exactly
            assert held[:, p].mean() <= nominal + 4 * deviation


def test_without_widths_those_networks_do_not_hold_what_they_say() -> None:
    """Or the law above would say nothing."""
    q, y = bad_quantiles(4000, 1, spread=0.2)
    assert np.mean((q[:, 0] <= y) & (y <= q[:, 4])) < 0.5


@given(
    by=st.lists(st.floats(-5, 5), min_size=2, max_size=2), seed=st.integers(0, 999),
    levels=st.sampled_from([LEVELS, (0.05, 0.25, 0.75, 0.95), (0.05, 0.1, 0.25, 0.5, 0.75, 0.95), (0.25, 0.5, 0.6, 0.75)]),
)  # fmt: skip
def test_widened_or_narrowed_quantiles_never_cross_and_hold_all_they_would(
    by: list[float], seed: int, levels: tuple[float, ...]
) -> None:
    q = np.sort(np.random.default_rng(seed).normal(size=(30, len(levels))), axis=1)
    pairs = tuple(Pair(levels[a], levels[b], width, 9) for (a, b), width in zip(pairs_of(levels), by, strict=False))
    found = Widening(levels, pairs).applied(q)
    assert (np.diff(found, axis=1) >= 0).all()
    for (low, high), width in zip(pairs_of(levels), by, strict=False):
        empty = q[:, low] - width > q[:, high] + width
        assert ((found[:, low] <= q[:, low] - width) | empty).all()
        assert ((found[:, high] >= q[:, high] + width) | empty).all()
    if 0.5 in levels:
        assert found[:, levels.index(0.5)].tolist() == q[:, levels.index(0.5)].tolist()


def test_an_interval_of_its_own_is_moved_by_just_its_width() -> None:
    q = np.array([[0.0, 1.0, 2.0], [5.0, 5.0, 9.0]])
    found = Widening((0.1, 0.5, 0.9), (Pair(0.1, 0.9, 0.25, 9),)).applied(q)
    assert found.tolist() == [[-0.25, 1.0, 2.25], [4.75, 5.0, 9.25]]
    assert q[0, 0] == 0  # what was given stays
    left = Widening((0.1, 0.5, 0.9), (Pair(0.1, 0.9, None, 3),)).applied(q)
    assert left.tolist() == q.tolist()


def test_rows_needed_are_the_least_that_have_the_rank() -> None:
    # 9 rows for 0.9: ceil(0.9 * 10) = 9; 19 for 0.95; 99 for 0.99; 1 for 0.5
    needed = [Pair(low, 1 - low, None, 0).rows_needed for low in (0.05, 0.025, 0.005, 0.25)]
    assert needed == [9, 19, 99, 1]


def end(share: float, n: int, outside: float) -> float:
    inside = share
    for _ in range(80):
        p = (inside + outside) / 2
        out = abs(share - p) > 1.959964 * math.sqrt(p * (1 - p) / n)
        inside, outside = (inside, p) if out else (p, outside)
    return (inside + outside) / 2


def test_a_binomial_interval_holds_the_shares_that_n_rows_do_not_exclude() -> None:
    """Its ends p solve |share - p| = 1.96 sqrt(p (1 - p) / n): found by bisection."""
    for share, n in ((0.9, 50), (0.5, 7), (0.0, 20), (1.0, 20), (0.987, 4000)):
        assert binomial_interval(share, n) == pytest.approx((end(share, n, 0.0), end(share, n, 1.0)), abs=1e-9)
    said = covered(LEVELS, {"coverage": 0.9, "coverage_0.25_0.75": 0.5}, rows=50)
    assert [(pair.nominal, pair.share, pair.rows) for pair in said] == [(0.9, 0.9, 50), (0.5, 0.5, 50)]
    assert (said[0].least, said[0].most) == binomial_interval(0.9, 50)


def test_json_and_back() -> None:
    made = conformal(LEVELS, *bad_quantiles(20, 0, spread=1.0))
    assert Widening.from_json(LEVELS, made.to_json()) == made
