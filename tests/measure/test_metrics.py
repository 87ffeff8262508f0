"""Metrics: scikit-learn's numbers, weighted, however the rows are cut into chunks."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from mbgd.errors import PlanError
from mbgd.measure.metrics import METRICS, OF_KIND, check_metric, default_metric, scorer

SUMS = 1e-12  # relative: float64 sums of some hundred terms in two orders


def weights_for(rng: np.random.Generator, n: int, weighted: bool) -> np.ndarray | None:
    return rng.integers(0, 4, n) * rng.gamma(1.0, size=n) if weighted else None


def regression_rows(n: int, seed: int, *, center: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = center + rng.normal(size=n)
    return y + rng.normal(size=n) / 2, y


def class_rows(n: int, n_classes: int, seed: int, *, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)])
    p = rng.dirichlet(np.ones(n_classes), n) + np.eye(n_classes)[y] / 3
    p /= p.sum(1, keepdims=True)
    if ties:
        p = (np.floor(p * 8) + 1) / (np.floor(p * 8) + 1).sum(1, keepdims=True)
    return p, y


def scores(
    kind: str, prediction: np.ndarray, y: np.ndarray, w: np.ndarray | None, *, cuts: list[int], n_classes: int = 2
) -> dict[str, float]:
    found = scorer(kind, n_classes)
    for start, end in pairwise([0, *cuts, len(y)]):
        found.add(prediction[start:end], y[start:end], None if w is None else w[start:end])
    return found.result()


def of_scikit_learn(prediction: np.ndarray, y: np.ndarray, w: np.ndarray | None) -> dict[str, float]:
    return {
        "rmse": sk.root_mean_squared_error(y, prediction, sample_weight=w),
        "r2": sk.r2_score(y, prediction, sample_weight=w),
        "mae": sk.mean_absolute_error(y, prediction, sample_weight=w),
    }


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("center", [0.0, 1e6])
@pytest.mark.parametrize("outputs", [1, 3])
def test_scores_of_regression_are_those_of_scikit_learn(outputs: int, center: float, weighted: bool) -> None:
    prediction, y = regression_rows(300 * outputs, 1, center=center)
    if outputs > 1:
        prediction, y = prediction.reshape(-1, outputs), y.reshape(-1, outputs)
    w = weights_for(np.random.default_rng(2), len(y), weighted)
    found = scores("regression", prediction, y, w, cuts=[1, 7, 200])
    # a mean of 1e6 leaves 1e-10 of each deviation of 1, in scikit-learn as well
    assert found == pytest.approx(of_scikit_learn(prediction, y, w), rel=SUMS if center == 0 else 1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("as_columns", [False, True])
def test_scores_of_two_classes_are_those_of_scikit_learn(as_columns: bool, ties: bool, weighted: bool) -> None:
    p, y = class_rows(400, 2, 3, ties=ties)
    w = weights_for(np.random.default_rng(4), 400, weighted)
    found = scores("binary", p if as_columns else p[:, 1], y, w, cuts=[100, 101])
    label = p.argmax(1)
    expected = {
        "log_loss": sk.log_loss(y, p, sample_weight=w),
        "accuracy": sk.accuracy_score(y, label, sample_weight=w),
        "balanced_accuracy": sk.balanced_accuracy_score(y, label, sample_weight=w),
        "roc_auc": sk.roc_auc_score(y, p[:, 1], sample_weight=w),
    }
    assert found == pytest.approx(expected, rel=SUMS)
    assert scores("multiclass", p, y, w, cuts=[]) == pytest.approx(expected, rel=SUMS)  # cross-entropy with two outputs


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_scores_of_several_classes_are_those_of_scikit_learn(ties: bool, weighted: bool) -> None:
    p, y = class_rows(500, 5, 5, ties=ties)
    w = weights_for(np.random.default_rng(6), 500, weighted)
    label = p.argmax(1)
    one_against_rest = [sk.roc_auc_score(y == c, p[:, c], sample_weight=w) for c in range(5)]
    expected = {
        "log_loss": sk.log_loss(y, p, sample_weight=w),
        "accuracy": sk.accuracy_score(y, label, sample_weight=w),
        "balanced_accuracy": sk.balanced_accuracy_score(y, label, sample_weight=w),
        "roc_auc": float(np.mean(one_against_rest)),
    }
    assert scores("multiclass", p, y, w, cuts=[3, 250], n_classes=5) == pytest.approx(expected, rel=SUMS)


@given(
    kind=st.sampled_from(["regression", "binary", "multiclass"]),
    cuts=st.lists(st.integers(0, 60), max_size=8).map(sorted),
    weighted=st.booleans(),
)
def test_cutting_the_rows_changes_nothing(kind: str, cuts: list[int], weighted: bool) -> None:
    n_classes = 3 if kind == "multiclass" else 2
    prediction, y = (
        regression_rows(60, 7, center=1e4) if kind == "regression" else class_rows(60, n_classes, 7, ties=True)
    )
    w = weights_for(np.random.default_rng(8), 60, weighted)
    whole = scores(kind, prediction, y, w, cuts=[], n_classes=n_classes)
    assert scores(kind, prediction, y, w, cuts=cuts, n_classes=n_classes) == pytest.approx(whole, rel=SUMS)


@given(w=st.lists(st.integers(0, 3), min_size=12, max_size=12).filter(lambda w: sum(w[:2]) > 0))
def test_a_whole_weight_is_so_many_copies_of_its_row(w: list[int]) -> None:
    for kind in ("regression", "binary", "multiclass"):
        n_classes = 3 if kind == "multiclass" else 2
        prediction, y = regression_rows(12, 9) if kind == "regression" else class_rows(12, n_classes, 9, ties=True)
        copies = scores(kind, np.repeat(prediction, w, 0), np.repeat(y, w), None, cuts=[], n_classes=n_classes)
        found = scores(kind, prediction, y, np.array(w, float), cuts=[], n_classes=n_classes)
        assert found == pytest.approx(copies, rel=1e-9, abs=1e-9, nan_ok=True)  # abs: an r2 may be near 0 after 1 - x


def test_area_under_the_curve_is_the_share_of_pairs_in_the_right_order() -> None:
    rng = np.random.default_rng(10)
    p, y, w = rng.integers(0, 4, 30) / 4, rng.integers(0, 2, 30), rng.integers(0, 3, 30)
    pairs = [(p[i], p[j], w[i] * w[j]) for i in range(30) for j in range(30) if y[i] == 1 and y[j] == 0]
    right = sum(weight * ((a > b) + 0.5 * (a == b)) for a, b, weight in pairs)
    expected = right / sum(weight for *_, weight in pairs)
    assert scores("binary", p, y, w.astype(float), cuts=[11])["roc_auc"] == pytest.approx(expected, rel=SUMS)


def test_a_probability_as_target_counts_as_a_share_of_a_row() -> None:
    p, y = np.array([0.2, 0.7, 0.6]), np.array([0.25, 1.0, 0.5])
    found = scores("binary", p, y, None, cuts=[])
    as_rows = scores("binary", np.repeat(p, 2), np.tile([0, 1], 3), np.array([0.75, 0.25, 0, 1, 0.5, 0.5]), cuts=[])
    assert found == pytest.approx(as_rows, rel=SUMS)


@pytest.mark.filterwarnings("ignore:.*y_true. has only one:UserWarning", "ignore:.*sum to one:UserWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sure_and_wrong_prediction_costs_what_its_precision_can_tell(dtype: type[np.floating]) -> None:
    p = np.array([1.0, 0.0, 1.0], dtype)
    found = scores("binary", p, np.array([0, 0, 1]), None, cuts=[])["log_loss"]
    assert math.isfinite(found)
    assert found == pytest.approx(sk.log_loss([0, 0, 1], np.stack([1 - p, p], 1)), rel=1e-6)  # its sums are in float32


def test_scores_that_are_not_defined_are_not_numbers() -> None:
    for kind in ("regression", "binary", "multiclass"):
        nothing = scorer(kind, 3 if kind == "multiclass" else 2)
        assert list(nothing.result()) == list(OF_KIND[kind])
        assert all(math.isnan(score) for score in nothing.result().values())
    one_class = scores("binary", np.array([0.1, 0.6]), np.array([1, 1]), None, cuts=[])
    assert math.isnan(one_class["roc_auc"])
    assert one_class["accuracy"] == one_class["balanced_accuracy"] == 0.5
    diverged = scores("binary", np.array([np.nan, 0.6]), np.array([0, 1]), None, cuts=[])
    assert math.isnan(diverged["roc_auc"])
    assert math.isnan(diverged["log_loss"])


def test_a_target_without_spread_is_met_or_not() -> None:
    assert scores("regression", np.ones(3), np.ones(3), None, cuts=[1])["r2"] == 1.0
    assert scores("regression", np.zeros(3), np.ones(3), None, cuts=[1])["r2"] == 0.0


def test_names_and_directions() -> None:
    assert [default_metric(kind) for kind in ("regression", "binary", "multiclass", "custom")] == [
        "rmse",
        "log_loss",
        "log_loss",
        "loss",
    ]
    assert {name for name, greater in METRICS.items() if greater} == {"r2", "accuracy", "balanced_accuracy", "roc_auc"}
    assert scorer("custom").result() == {}
    assert check_metric("roc_auc", "binary") == "roc_auc"
    for name, kind, words in [
        (
            "auc",
            "binary",
            "metric must be one of loss, log_loss, accuracy, balanced_accuracy, roc_auc for binary losses, got 'auc'; "
            "did you mean 'roc_auc'?",
        ),
        ("r2", "binary", "that one is for another kind of task"),
        ("rmse", "custom", "metric must be one of loss for custom losses"),
    ]:
        with pytest.raises(PlanError) as error:
            check_metric(name, kind)
        assert words in str(error.value)
