"""Scores of quantiles as scikit-learn and a count by hand have them, cut anywhere; constant quantiles and the middle one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

from mbgd.measure.metrics import scorer
from mbgd.measure.quantiles import constant_quantiles, middle

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cut", [1, 7, 60])
def test_pinball_coverage_and_width(cut: int, weighted: bool) -> None:
    chance = np.random.default_rng(0)
    q, y = np.sort(chance.normal(size=(60, 5)), axis=1), chance.normal(size=60)
    w = chance.uniform(0, 2, 60) if weighted else None
    scores = scorer("quantiles", levels=LEVELS)
    for at in range(0, 60, cut):
        some = slice(at, at + cut)
        scores.add(q[some], y[some], None if w is None else w[some])
    found = scores.result()
    costs = [mean_pinball_loss(y, q[:, k], sample_weight=w, alpha=level) for k, level in enumerate(LEVELS)]
    assert found["pinball"] == pytest.approx(np.mean(costs), rel=1e-12)
    of_row = np.ones(60) if w is None else w
    for name, low, high in (("", 0, 4), ("_0.25_0.75", 1, 3)):
        within = sum(v for v, a, b, t in zip(of_row, q[:, low], q[:, high], y, strict=True) if a <= t <= b)
        assert found[f"coverage{name}"] == pytest.approx(within / of_row.sum(), rel=1e-12)
        assert found[f"mean_width{name}"] == pytest.approx(np.average(q[:, high] - q[:, low], weights=w), rel=1e-12)
    assert list(found) == ["pinball", "coverage", "mean_width", "coverage_0.25_0.75", "mean_width_0.25_0.75"]


def test_levels_without_a_pair_have_no_coverage_and_no_rows_no_score() -> None:
    scores = scorer("quantiles", levels=(0.5, 0.9))
    assert list(scores.result()) == ["pinball"]
    assert np.isnan(scores.result()["pinball"])


@pytest.mark.parametrize("weighted", [False, True])
def test_constant_quantiles_are_those_of_least_pinball_loss(weighted: bool) -> None:
    chance = np.random.default_rng(3)
    y = chance.exponential(size=37).round(1)
    w = chance.integers(1, 4, 37).astype(float) if weighted else np.ones(37)
    found = constant_quantiles(y, LEVELS, w if weighted else None)
    for level, value in zip(LEVELS, found, strict=True):
        losses = {c: mean_pinball_loss(y, np.full(37, c), sample_weight=w, alpha=level) for c in y.tolist()}
        assert losses[float(value)] == pytest.approx(min(losses.values()), rel=1e-12)
    assert constant_quantiles(np.arange(10.0), (0.1, 0.5, 0.95)).tolist() == [0, 4, 9]


def test_the_middle_is_the_median_where_it_is_asked_for() -> None:
    q = np.array([[1.0, 2.0, 4.0], [5.0, 6.0, 9.0]])
    assert middle((0.5, 0.9, 0.95), q).tolist() == [1, 5]
    assert middle((0.1, 0.4, 0.9), q).tolist() == [2, 6]
    assert middle((0.05, 0.95), q[:, :2]).tolist() == [1.5, 5.5]
