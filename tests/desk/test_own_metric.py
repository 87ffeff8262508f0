"""A metric of the user's own scores validation as it would what `predict` gives; it stops, picks the weights, and is told."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    fbeta_score,
    log_loss,
    make_scorer,
    matthews_corrcoef,
    max_error,
    mean_absolute_error,
    mean_squared_error,
    median_absolute_error,
    r2_score,
    roc_auc_score,
)
from torch import Tensor, nn

import mbgd
from mbgd import PlanError
from mbgd.measure.own_metric import own_metric
from problems import arrays, flat

N, WIDTH = 60, 4
X, Y, W = arrays(N, WIDTH)
LABELS = (Y > 0).astype(np.int64)
THREE = np.digitize(Y, [-0.5, 0.5])
HELD = np.arange(N) % 3 == 0


def linear(outputs: int = 1) -> nn.Module:
    torch.manual_seed(2)
    return nn.Linear(WIDTH, outputs).double()


WORDS: dict[str, Any] = {"validation": HELD, "learning_rate": 0.05, "epochs": 3, "batch_size": 8}


def p_of(run: mbgd.Run) -> np.ndarray[Any, Any]:
    return run.predict_proba(X[HELD])


NUMBERS = [mean_squared_error, mean_absolute_error, median_absolute_error, max_error, r2_score]
OF_LABELS = [accuracy_score, f1_score, (matthews_corrcoef, "max"), partial(fbeta_score, beta=2)]
OF_SCORES = [roc_auc_score, average_precision_score, brier_score_loss, log_loss]


def called(metric: Any) -> Any:
    return metric[0] if isinstance(metric, tuple) else metric


@pytest.mark.parametrize("metric", NUMBERS, ids=lambda m: m.__name__)
def test_numbers(metric: Any) -> None:
    run = mbgd.fit(linear(), (X, Y), loss="squared_error", metric=metric, **WORDS)
    expected = metric(Y[HELD], run.predict(X[HELD]))
    assert run.scores["validation"][metric.__name__] == pytest.approx(expected, rel=1e-12)
    assert run.resolved["metric"] == metric.__name__
    seen = run.history[f"validation_{metric.__name__}"]
    assert expected == pytest.approx(max(seen) if metric is r2_score else min(seen), rel=1e-12)  # the best came back


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("metric", [*OF_LABELS, *OF_SCORES], ids=lambda m: str(getattr(called(m), "__name__", "fbeta")))
def test_two_classes(metric: Any, outputs: int) -> None:
    run = mbgd.fit(linear(outputs), (X, LABELS), loss="log_loss", metric=metric, **WORDS)
    found = p_of(run)[:, 1] if metric in OF_SCORES else run.predict(X[HELD])
    name = own_metric(metric).name
    assert run.scores["validation"][name] == pytest.approx(called(metric)(LABELS[HELD], found), rel=1e-12)


def test_several_classes_and_outputs() -> None:
    macro = partial(f1_score, average="macro")
    run = mbgd.fit(linear(3), (X, THREE), loss="cross_entropy", metric=macro, **WORDS)
    assert run.scores["validation"]["f1_score"] == pytest.approx(macro(THREE[HELD], run.predict(X[HELD])))
    area = partial(roc_auc_score, multi_class="ovr")
    run = mbgd.fit(linear(3), (X, THREE), loss="cross_entropy", metric=area, **WORDS)
    assert run.scores["validation"]["roc_auc_score"] == pytest.approx(area(THREE[HELD], p_of(run)))
    several = np.stack([Y, Y**2], axis=1)
    run = mbgd.fit(linear(2), (X, several), loss="squared_error", metric=mean_absolute_error, **WORDS)
    expected = mean_absolute_error(several[HELD], run.predict(X[HELD]))
    assert run.scores["validation"]["mean_absolute_error"] == pytest.approx(expected, rel=1e-12)


def test_weights_go_to_a_metric_that_takes_them_and_rows_of_weight_0_count_for_nothing() -> None:
    w = np.where(np.arange(N) % 9 == 0, 0.0, W)
    there = HELD & (w > 0)
    run = mbgd.fit(linear(), (X, Y, w), loss="squared_error", metric=mean_squared_error, **WORDS)
    expected = mean_squared_error(Y[there], run.predict(X[there]), sample_weight=w[there])
    assert run.scores["validation"]["mean_squared_error"] == pytest.approx(expected, rel=1e-12)
    run = mbgd.fit(linear(), (X, Y, w), loss="squared_error", metric=max_error, **WORDS)
    assert run.scores["validation"]["max_error"] == pytest.approx(max_error(Y[there], run.predict(X[there])), rel=1e-12)


def test_positions_come_one_behind_the_other_without_those_ignored() -> None:
    chance = np.random.default_rng(0)
    x, y = chance.normal(size=(N, 5)), chance.integers(0, 3, (N, 2))
    y[chance.random(y.shape) < 0.3] = -100
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.Unflatten(1, (3, 2))).double()
    macro = partial(f1_score, average="macro")
    run = mbgd.fit(model, (x, y), loss=nn.CrossEntropyLoss(), metric=macro, **WORDS)
    there = y[HELD] != -100
    expected = macro(y[HELD][there], run.predict(x[HELD])[there])
    assert run.scores["validation"]["f1_score"] == pytest.approx(expected)


def test_a_loss_of_ones_own_hands_over_what_there_is() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = linear(2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            out = self.layer(x)
            return {"a": out[:, 0], "b": out[:, 1]}

    def gap(y_true: Any, y_pred: Any) -> float:
        assert type(y_true) is tuple
        assert [part.dtype for part in y_pred.values()] == [np.float64] * 2
        return float(np.abs(y_true[0] - y_pred["a"]).max() + np.abs(y_true[1] - y_pred["b"]).max())

    def loss(outputs: Any, y: Any) -> Tensor:
        value: Tensor = (outputs["a"] - y[0]) ** 2 + (outputs["b"] - y[1]) ** 2
        return value

    run = mbgd.fit(Two(), (X, (Y, -Y)), loss=loss, metric=(gap, "min"), patience=2, **WORDS)
    expected = gap((Y[HELD], -Y[HELD]), run.predict(X[HELD]))
    assert run.scores["validation"]["gap"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("better", ["max", "min"])
def test_it_stops_and_picks_by_its_own_direction(better: str) -> None:
    """A metric that only falls: as a gain the first look is the best one, as a loss the last."""
    calls: list[int] = []

    def falling(y_true: Any, y_pred: Any) -> float:
        calls.append(1)
        return -float(len(calls))

    words = WORDS | {"epochs": 6}
    run = mbgd.fit(linear(), (X, Y), loss="squared_error", metric=(falling, better), patience=2, **words)
    steps = run.resolved["steps_per_epoch"]
    assert run.resolved["best_step"] == (steps if better == "max" else 6 * steps)
    assert run.steps_done == (3 * steps if better == "max" else 6 * steps)


def test_a_table_and_estimators_hand_over_labels_and_units_as_they_are() -> None:
    names = np.array(["no", "yes"])[LABELS]
    frame = pd.DataFrame(X, columns=list("abcd")).assign(kind=names, number=1000 + 50 * Y)
    said: list[tuple[set[Any], set[Any]]] = []

    def seen_score(y_true: Any, y_pred: Any) -> float:
        said.append((set(y_true.tolist()), set(y_pred.tolist())))
        return float(f1_score(y_true, y_pred, pos_label="yes"))

    run = mbgd.fit_table(frame.drop(columns="number"), "kind", metric=seen_score, epochs=2, validation=0.3)
    assert 0 <= run.scores["validation"]["seen_score"] <= 1
    words: Any = {"hidden_layer_sizes": (4,), "epochs": 2, "validation": 0.3}
    mbgd.MBGDClassifier(metric=seen_score, **words).fit(X, names)
    mbgd.MBGDClassifier(metric=partial(f1_score, average="macro"), **words).fit(X, np.array(["a", "b", "c"])[THREE])
    mbgd.MBGDEstimator(linear(2), loss=nn.CrossEntropyLoss(), metric=seen_score, epochs=1, validation=0.3).fit(X, names)
    assert all(true <= {"no", "yes"} and found <= {"no", "yes"} for true, found in said)
    run = mbgd.fit_table(frame.drop(columns="kind"), "number", metric=mean_absolute_error, epochs=2, validation=0.3)
    scores = run.scores["validation"]
    assert scores["mean_absolute_error"] == pytest.approx(scores["mae"], rel=1e-6)
    held = (X[HELD], frame["number"].to_numpy()[HELD])
    model = mbgd.MBGDRegressor(hidden_layer_sizes=(4,), epochs=3, metric=max_error)
    model.fit(X, frame["number"].to_numpy(), validation=held)
    assert min(model.validation_curve_) == pytest.approx(max_error(held[1], model.predict(X[HELD])), rel=1e-6)


def test_a_resume_asks_for_it_again(tmp_path: Path) -> None:
    words = WORDS | {"loss": "squared_error", "metric": mean_absolute_error}
    whole = linear()
    mbgd.fit(whole, (X, Y), out=tmp_path / "run", **words)
    with pytest.raises(
        PlanError, match=r"metric was sklearn\.metrics\._regression\.mean_absolute_error, which plan.json"
    ):
        mbgd.resume(tmp_path / "run", linear(), (X, Y), validation=HELD)
    with pytest.raises(
        PlanError, match=r"metric must stay what the run was begun with, mean_absolute_error, got max_error"
    ):
        mbgd.resume(tmp_path / "run", linear(), (X, Y), validation=HELD, metric=max_error)
    again = linear()
    run = mbgd.resume(tmp_path / "run", again, (X, Y), validation=HELD, metric=mean_absolute_error)
    assert torch.equal(flat(again), flat(whole))
    assert "mean_absolute_error" in run.scores["validation"]


REFUSED: dict[str, tuple[Any, str]] = {
    "no direction": (
        matthews_corrcoef,
        "metric must say which way is better, got the function matthews_corrcoef alone; give",
    ),
    "another direction": ((f1_score, "up"), "metric must be one of 'loss'"),
    "a class": (dict, "(function, 'max') or (function, 'min'), got <class 'dict'>"),
    "a scorer": (make_scorer(f1_score), "got a scorer of scikit-learn; give the function itself"),
    "no number": ((lambda y, p: y - p, "min"), "metric own must return a number, got ndarray; average what it gives"),
    "a fault": (f1_score, "metric f1_score must take the validation rows as (y_true, y_pred), got ValueError: "),
    "not defined": ((lambda y, p: float("nan"), "max"), "metric must be defined for the validation rows, got 'own'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_metric_is_refused(name: str) -> None:
    metric, words = REFUSED[name]
    with pytest.raises(PlanError, match=re.escape(words)):
        mbgd.fit(linear(), (X, Y), loss="squared_error", metric=metric, **WORDS)
