"""Thresholds: none of all cuts is better, 0.5 is never better and stays where it is as good, ties always end the same."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics

from mbgd.measure.metrics import scorer
from mbgd.measure.threshold import Threshold, best_threshold

Array = NDArray[Any]
NAMES = ("f1", "balanced_accuracy")


def by_sklearn(name: str, is_positive: Array, found: Array, w: Array | None = None) -> float:
    if name == "f1":
        return float(metrics.f1_score(is_positive, found, sample_weight=w, zero_division=0))
    return float(metrics.balanced_accuracy_score(is_positive, found, sample_weight=w))


def by_hand(name: str, is_positive: Array, found: Array, w: Array | None = None) -> float:
    """From precision and recall, or the mean recall of both classes; a row at a time."""
    weights = np.ones(len(found)) if w is None else w
    rows = list(zip(is_positive.tolist(), found.tolist(), weights.tolist(), strict=True))
    hit = sum(v for truth, said, v in rows if truth and said)
    recall = hit / sum(v for truth, _, v in rows if truth)
    if name == "f1":
        said_so = sum(v for _, said, v in rows if said)
        precision = hit / said_so if said_so else 0.0
        return 2 * precision * recall / (precision + recall) if hit else 0.0
    left = sum(v for truth, said, v in rows if not truth and not said) / sum(v for truth, _, v in rows if not truth)
    return (recall + left) / 2


def rows(seed: int, n: int, *, steps: int, weighted: bool = False) -> tuple[Array, Array, Array | None]:
    """Probabilities in so many steps, so that some tie; classes that follow them in part, and both there."""
    chance = np.random.default_rng(seed)
    p = chance.integers(0, steps + 1, n) / steps
    positive = chance.uniform(size=n) < 0.7 * p**2
    positive[:2] = [True, False]
    return p, positive, chance.integers(0, 4, n) + 0.25 if weighted else None


def cuts(p: Array) -> list[float]:
    """Every way to part the rows: at each probability, between any two, at 0.5 and above all."""
    values = sorted({*p.tolist(), 0.5})
    return [*values, *((a + b) / 2 for a, b in pairwise(values)), 0.0, 1.1]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6), n=st.integers(2, 40), steps=st.sampled_from([1, 3, 10, 10**6]), weighted=st.booleans()
)
def test_no_other_cut_is_better(name: str, seed: int, n: int, steps: int, weighted: bool) -> None:
    p, positive, w = rows(seed, n, steps=steps, weighted=weighted)
    found = best_threshold(name, p, positive, w)
    assert found is not None
    scores = {cut: by_hand(name, positive, p >= cut, w) for cut in cuts(p)}
    assert found.after == pytest.approx(max(scores.values()), rel=1e-12)
    assert found.after == pytest.approx(by_hand(name, positive, p >= found.probability, w), rel=1e-12)
    assert found.before == pytest.approx(scores[0.5], rel=1e-12)
    assert found.after >= found.before
    if scores[0.5] >= max(scores.values()):
        assert found.probability == 0.5 or w is not None  # sums of weights may round apart


def test_of_equally_good_cuts_the_nearest_to_a_half_is_taken_then_the_lower() -> None:
    p = np.array([0.1, 0.2, 0.8, 0.9])
    # both 0.2 and 0.8 on find three of four by balanced accuracy: 0.15 and 0.85 are as far from 0.5, 0.5 is worse
    positive = np.array([False, True, False, True])
    found = best_threshold("balanced_accuracy", p, positive)
    assert found is not None
    assert (found.probability, found.before, found.after) == (pytest.approx(0.15), 0.5, 0.75)
    again = best_threshold("balanced_accuracy", p[::-1], positive[::-1])
    assert again == found
    clear = best_threshold("f1", p, np.array([False, False, True, True]))
    assert clear == Threshold("f1", 1, 0.5, 1.0, 1.0)  # any cut from 0.2 to 0.8 is perfect


def test_a_rare_class_whose_probability_never_reaches_a_half_is_found() -> None:
    p, positive = np.array([0.01, 0.02, 0.03, 0.2, 0.3]), np.array([False, False, False, True, True])
    found = best_threshold("f1", p, positive, positive=0)
    assert found == Threshold("f1", 0, pytest.approx(0.115), 0.0, 1.0)
    both = np.stack([p, 1 - p], 1)
    assert found.found(both).tolist() == [1, 1, 1, 0, 0]


def test_neighbours_with_no_number_between_them_are_parted_all_the_same() -> None:
    low = 0.25
    high = float(np.nextafter(low, 1))
    found = best_threshold("f1", np.array([low, high]), np.array([False, True]))
    assert found is not None
    assert (found.probability, found.after) == (high, 1.0)


def test_rows_without_weight_have_no_say_and_one_class_alone_no_threshold() -> None:
    p, positive, _ = rows(3, 30, steps=50)
    w = np.ones(30)
    w[12:] = 0
    assert best_threshold("f1", p, positive, w) == best_threshold("f1", p[:12], positive[:12])
    assert best_threshold("f1", p, np.ones(30, bool)) is None
    assert best_threshold("f1", p, positive, positive.astype(float)) is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("positive", [0, 1])
def test_scores_go_by_the_threshold(name: str, positive: int) -> None:
    p, is_one, w = rows(5, 80, steps=100, weighted=True)
    assert w is not None
    threshold = Threshold(name, positive, 0.3, 0.0, 0.0)
    scores = scorer("binary", threshold=threshold)
    for at in range(0, 80, 9):
        scores.add(p[at : at + 9], is_one[at : at + 9], w[at : at + 9])
    found = scores.result()
    said = p >= 0.3 if positive else 1 - p < 0.3
    truth, guess = (is_one, said) if positive else (~is_one, ~said)
    assert found[name] == pytest.approx(by_sklearn(name, truth, guess, w), rel=1e-12)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(is_one, said, sample_weight=w), rel=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(by_sklearn("balanced_accuracy", is_one, said, w), rel=1e-12)
    plain = scorer("binary")
    plain.add(p, is_one, w)
    assert found["roc_auc"] == pytest.approx(plain.result()["roc_auc"], rel=1e-12)
