"""What one column explains: closed forms for steps, tails, gaps and noisy classes; nothing where there is nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mbgd.measure.one_column import binned, entropy_explained, variance_explained

N = 20_000


def chance() -> np.random.Generator:
    return np.random.default_rng(0)


def test_bins_hold_equal_parts_and_missing_values_have_one_of_their_own() -> None:
    x = chance().permutation(6400).astype(float)
    x[::2] = np.where(np.arange(3200) % 10 == 0, np.nan, x[::2])
    bins = binned(x)
    counts = np.bincount(bins)
    assert len(counts) == 33
    assert counts[32] == np.isnan(x).sum() == 320
    assert np.abs(counts[:32] - 190).max() < 60  # quantiles of 3,040 values, read on all: sd about 14 on either half
    assert set(binned(np.array([1.0, 2.0] * 500)).tolist()) <= {0, 1, 2}
    assert len(set(binned(np.array([1.0, 2.0] * 500)).tolist())) == 2


def test_noise_around_steps_leaves_the_share_of_the_steps() -> None:
    """y = step(x) + e: var 1/4 of a fair step, var s^2 of the noise; R2 = 0.25 / (0.25 + s^2)."""
    x = chance().uniform(-1, 1, N)
    for s in (0.1, 0.5, 2.0):
        y = (np.abs(x) > 0.5) + s * chance().normal(size=N)
        # 32 means of 312 rows explain 32 / 10,000 of the noise too little; the bins that hold a step blur it
        assert variance_explained(binned(x), y, x_N=x) == pytest.approx(0.25 / (0.25 + s * s), abs=0.04)


def test_a_line_is_seen_through_heavy_tails_and_whatever_the_unit() -> None:
    """y = x + e with x of Student's t, 3 degrees: var 3 against var 0.36, R2 = 0.893 but for luck in the tails."""
    x = chance().standard_t(3, N)
    y = x + 0.6 * chance().normal(size=N)
    found = variance_explained(binned(x), y, x_N=x)
    assert found == pytest.approx(x.var() / (x.var() + 0.36), abs=0.03)
    for unit in (1e300, 1e-300):
        assert variance_explained(binned(unit * x), unit * y, x_N=unit * x) == pytest.approx(found, rel=1e-6)
    x[N // 2 + 1] = 1e200  # one far out among the rows that are scored
    # it is predicted as the greatest y of the other half, about 45: 45^2 of 10,000 rows of variance 3.4 are 6 %
    assert variance_explained(binned(x), y, x_N=x) == pytest.approx(found, abs=0.1)


def test_which_values_are_missing_may_say_it_all() -> None:
    y = chance().integers(0, 2, N)
    x = np.where(y == 1, np.nan, chance().normal(size=N))
    assert variance_explained(binned(x), y.astype(float), x_N=x) > 0.99
    assert entropy_explained(binned(x), y) > 0.99


@pytest.mark.parametrize("flipped", [0.02, 0.1, 0.3])
def test_a_class_flipped_at_times_leaves_the_capacity_of_that_channel(flipped: float) -> None:
    """1 - H(q) / log 2 of a binary symmetric channel."""
    y = chance().integers(0, 2, N)
    x = np.where(np.random.default_rng(1).random(N) < flipped, 1 - y, y)
    entropy = -(flipped * math.log(flipped) + (1 - flipped) * math.log(1 - flipped))
    assert entropy_explained(x, y) == pytest.approx(1 - entropy / math.log(2), abs=0.03)  # 10,000 rows: sd 0.01


def test_a_column_of_chance_explains_nothing() -> None:
    x, y = chance().normal(size=N), np.random.default_rng(1).integers(0, 3, N)
    assert variance_explained(binned(x), y.astype(float), x_N=x) == pytest.approx(0, abs=0.01)
    assert entropy_explained(binned(x), y) == pytest.approx(0, abs=0.01)
    keys = np.arange(N) % 7000  # most values are seen once: by heart they would explain all
    assert variance_explained(keys, y.astype(float)) < 0.01
    assert entropy_explained(keys, y) < 0.01


@settings(max_examples=40)
@given(
    x=arrays(np.float64, 24, elements=st.one_of(st.just(math.nan), st.floats(allow_nan=False, allow_infinity=False))),
    y=arrays(np.float64, 24, elements=st.floats(allow_nan=False, allow_infinity=False)),
    labels=arrays(np.int64, 24, elements=st.integers(0, 5)),
)
def test_any_column_and_target_has_a_share_of_at_most_1(x: np.ndarray, y: np.ndarray, labels: np.ndarray) -> None:
    assert variance_explained(binned(x), y, x_N=x) <= 1
    assert variance_explained(labels, y) <= 1
    assert entropy_explained(binned(x), labels) <= 1
