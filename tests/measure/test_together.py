"""Columns that rise and fall together: by ranks, whatever the scale, ties and gaps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from mbgd.measure.together import pairs_together


def test_ranks_are_compared_as_scipy_does() -> None:
    chance = np.random.default_rng(0)
    x = chance.normal(size=400)
    columns = np.stack([x, -np.exp(x) + 0.2 * chance.normal(size=400), chance.integers(0, 3, 400), np.ones(400),
                        np.round(x)], axis=1)  # fmt: skip
    found = pairs_together(columns, at_least=0.9)
    assert {pair[:2] for pair in found} == {(0, 1), (0, 4), (1, 4)}
    assert [abs(pair[2]) for pair in found] == sorted((abs(pair[2]) for pair in found), reverse=True)
    for a, b, correlation in found:
        assert correlation == pytest.approx(spearmanr(columns[:, a], columns[:, b]).statistic, abs=1e-12)


def test_gaps_count_for_nothing_and_few_rows_say_nothing() -> None:
    x = np.arange(100.0)
    gaps = np.where(np.arange(100) % 20 == 0, np.nan, x)
    assert pairs_together(np.stack([x, gaps], 1), at_least=0.9)[0][2] > 0.95
    assert pairs_together(np.stack([x, np.full(100, np.nan)], 1), at_least=0.9) == []
    assert pairs_together(np.stack([x, x], 1)[:10], at_least=0.9) == []
    assert pairs_together(np.empty((100, 0)), at_least=0.9) == []
