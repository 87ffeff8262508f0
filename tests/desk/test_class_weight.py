"""`fit_table(class_weight="balanced")`: training alone goes by it; whatever is measured counts rows as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn import metrics

import mbgd
from mbgd.desk.table import read_rows
from mbgd.desk.table_plan import table_plan

HOW: dict[str, Any] = {
    "target": "ill", "epochs": 6, "batch_size": 32, "hidden_layer_sizes": (8,), "class_weight": "balanced", "drop": ("part",)
}  # fmt: skip


def rare(n: int = 900) -> pd.DataFrame:
    """About 8 % are ill, which x tells in part; column w counts some rows thrice."""
    chance = np.random.default_rng(0)
    x, z = chance.normal(size=n), chance.normal(size=n)
    ill = np.where(chance.uniform(size=n) < 1 / (1 + np.exp(3.5 - 1.6 * x)), "yes", "no")
    part = np.array(["train", "train", "validation", "test"])[np.arange(n) % 4]
    return pd.DataFrame({"x": x, "z": z, "w": 1 + 2 * (np.arange(n) % 5 == 0), "part": part, "ill": ill})


def said_by(p: Any, label: Any, w: Any, cut: float) -> dict[str, float]:
    """Scores of the probability of 'yes', by scikit-learn."""
    ill, found = label == "yes", p >= cut
    return {
        "accuracy": metrics.accuracy_score(ill, found, sample_weight=w),
        "log_loss": metrics.log_loss(ill, p, sample_weight=w),
        "roc_auc": metrics.roc_auc_score(ill, p, sample_weight=w),
        "f1": metrics.f1_score(ill, found, sample_weight=w),
    }


@pytest.mark.parametrize(
    "more",
    [{}, {"weight": "w"}, {"refit": True}, {"members": 2}, {"members": 2, "refit": True}, {"folds": 3}],
    ids=lambda more: " ".join(more) or "plain",
)
def test_scores_are_those_of_the_rows_as_they_are(more: dict[str, Any]) -> None:
    data, how = rare(), {**HOW, "threshold_for": "f1", **more}
    if "folds" not in more:
        how |= {"split": "column:part", "drop": ()}
    if "weight" not in more:
        data = data.drop(columns="w")
    run, sets = mbgd.fit_table(data, **how), read_rows(data, table_plan(how)).sets
    assert run.threshold is not None
    p, label = run.predict_proba(data)[:, 1], data["ill"].to_numpy()
    w = data["w"].to_numpy() if "weight" in more else np.ones(len(data))
    held = {"test": (p[sets.test], sets.test)}
    if "folds" in more:
        assert run.out_of_fold is not None
        held["out_of_fold"] = (run.out_of_fold["probability_yes"], run.out_of_fold["row"])
    elif "refit" not in more:  # after which the model has seen its validation rows
        held["validation"] = (p[sets.validation], sets.validation)
    assert set(held) <= set(run.scores)
    for rows, (p_N, which) in held.items():
        wanted = said_by(p_N, label[which], w[which], run.threshold.probability)
        # weights and probabilities are float32 on the way
        assert {name: run.scores[rows][name] for name in wanted} == pytest.approx(wanted, rel=1e-5), rows
    # who always says "no" is right as often as there are such rows, and says the log loss of their share in training
    assert run.baselines["majority"]["accuracy"] == pytest.approx(
        np.average(label[sets.test] == "no", weights=w[sets.test])
    )


def test_the_temperature_is_for_the_rows_as_they_are() -> None:
    data, how = rare().drop(columns="w"), {**HOW, "split": "column:part", "drop": ()}
    run, held = mbgd.fit_table(data, **how), data[data["part"] == "validation"]
    found = run.calibration
    assert found is not None
    p = run.predict_proba(held)[:, 1]
    before, after = (metrics.log_loss(held["ill"] == "yes", q) for q in (expit(found.temperature * logit(p)), p))
    assert (found.log_loss_before, found.log_loss_after) == pytest.approx((before, after), rel=1e-5)
    assert after < before


def test_validation_rows_as_they_are_pick_the_weights() -> None:
    data, how = (
        rare().drop(columns="w"),
        {**HOW, "split": "column:part", "drop": (), "epochs": 20, "metric": "log_loss"},
    )
    run = mbgd.fit_table(data, **how)
    seen = [line["validation_log_loss"] for line in run.history if "validation_log_loss" in line]
    held = data[data["part"] == "validation"]
    assert run.calibration is not None
    p = expit(run.calibration.temperature * logit(run.predict_proba(held)[:, 1]))  # as it was before the temperature
    assert min(seen) == pytest.approx(metrics.log_loss(held["ill"] == "yes", p), rel=1e-5)


def test_training_goes_by_the_classes() -> None:
    """As many rows are called ill as are not, where the two weigh the same."""
    data, how = rare().drop(columns=["w", "x", "z"]).assign(x=0.0, c=1), {**HOW, "validation": "none", "epochs": 40}
    data["x"] = np.random.default_rng(1).normal(size=len(data))  # tells nothing
    plain = mbgd.fit_table(data, **{**how, "class_weight": None}).predict_proba(data)[:, 1].mean()
    balanced = mbgd.fit_table(data, **how).predict_proba(data)[:, 1].mean()
    assert plain < 0.15
    assert 0.4 < balanced < 0.6


def test_a_note_says_what_becomes_of_probabilities() -> None:
    notices = mbgd.fit_table(rare(), **HOW).notices
    assert sum("class_weight" in notice for notice in notices) == 1
    assert not any(
        "class_weight" in notice for notice in mbgd.fit_table(rare(), **{**HOW, "class_weight": None}).notices
    )


def test_resumed_and_begun_with_it_are_scored_the_same(tmp_path: Path) -> None:
    data = rare()
    whole = mbgd.fit_table(data, **HOW, checkpoint_every=5, out=tmp_path / "r")
    for name in ("result.json", "model.safetensors", "README.md"):
        (tmp_path / "r" / name).unlink()
    newest = max((tmp_path / "r" / "checkpoints").iterdir())
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    assert mbgd.resume(tmp_path / "r", data=data).scores == whole.scores
    found = mbgd.verify(tmp_path / "r", data=data)
    assert not found.wrong
    assert any("trained again" in line for line in found.held)
    further = mbgd.fit_table(data, **HOW, init=tmp_path / "r")
    test = read_rows(data, table_plan(HOW)).sets.test
    wanted = metrics.log_loss(data["ill"][test] == "yes", further.predict_proba(data)[test, 1])
    assert further.scores["test"]["log_loss"] == pytest.approx(wanted, rel=1e-5)


def test_weights_are_picked_by_the_order_of_probabilities_where_there_are_two_classes() -> None:
    """Their log loss would favour what is shifted least. Not where one is given, nor where validation rows are of one class."""
    data, how = rare(), {**HOW, "split": "column:part", "drop": ()}
    by_default, by_order = mbgd.fit_table(data, **how), mbgd.fit_table(data, metric="roc_auc", **how)
    assert by_default.plan.metric == "roc_auc"
    assert (by_default.predict_proba(data) == by_order.predict_proba(data)).all()
    assert mbgd.fit_table(data, metric="log_loss", **how).plan.metric == "log_loss"
    assert mbgd.fit_table(data, **how | {"class_weight": None}).plan.metric is None
    of_one = data.assign(part=np.where((data.part == "validation") & (data.ill == "yes"), "train", data.part))
    assert mbgd.fit_table(of_one, **how).plan.metric is None
    three = data.assign(ill=np.where(data.z > 1, "perhaps", data.ill))
    assert mbgd.fit_table(three, **how).plan.metric is None
