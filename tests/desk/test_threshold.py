"""`fit_table(threshold_for=...)`: chosen on validation rows alone, never worse there than 0.5, kept by the model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

import mbgd
from command import table
from mbgd.desk.table import read_rows
from mbgd.desk.table_plan import table_plan
from mbgd.errors import PlanError

HOW: dict[str, Any] = {
    "target": "ill", "epochs": 10, "batch_size": 32, "hidden_layer_sizes": (8,), "validation": 0.3, "threshold_for": "f1"
}  # fmt: skip


def rare(n: int = 600, *, names: tuple[str, str] = ("no", "yes")) -> pd.DataFrame:
    """About 8 % of the second name, which x tells in part."""
    chance = np.random.default_rng(0)
    x, z = chance.normal(size=n), chance.normal(size=n)
    p = 1 / (1 + np.exp(3.5 - 1.6 * x))
    return pd.DataFrame({"x": x, "z": z, "ill": np.where(chance.uniform(size=n) < p, names[1], names[0])})


@pytest.mark.parametrize("name", ["f1", "balanced_accuracy"])
@pytest.mark.parametrize("names", [("no", "yes"), ("well", "ill")])  # the rarer one is the second label and the first
def test_labels_and_scores_go_by_the_threshold(name: str, names: tuple[str, str], tmp_path: Path) -> None:
    data, how = rare(names=names), {**HOW, "threshold_for": name}
    run, sets = mbgd.fit_table(data, **how), read_rows(data, table_plan(how)).sets
    found, label = run.threshold, data["ill"].to_numpy()
    assert found is not None
    assert run.predictor.classes[found.positive] == names[1]
    assert found.probability < 0.5
    assert found.after > found.before
    p = run.predict_proba(data)[:, found.positive]
    assert run.predict(data).tolist() == np.where(p >= found.probability, names[1], names[0]).tolist()
    for rows, held in (("validation", sets.validation), ("test", sets.test)):
        truth, said = label[held] == names[1], run.predict(data)[held] == names[1]
        value = metrics.f1_score(truth, said) if name == "f1" else metrics.balanced_accuracy_score(truth, said)
        assert run.scores[rows][name] == pytest.approx(value)
        assert run.scores[rows]["accuracy"] == pytest.approx(np.mean(truth == said))
    assert run.scores["validation"][name] == pytest.approx(found.after)
    truth, plain = label[sets.validation] == names[1], p[sets.validation] >= 0.5
    value = metrics.f1_score(truth, plain) if name == "f1" else metrics.balanced_accuracy_score(truth, plain)
    assert found.before == pytest.approx(value)
    again = mbgd.load(run.save(tmp_path / "m.safetensors"))
    assert again.threshold == found
    assert again.predict(data).tolist() == run.predict(data).tolist()
    assert json.loads(json.dumps(run.summary()))["threshold"]["probability"] == found.probability


def test_nothing_else_of_a_model_moves_with_its_threshold() -> None:
    data = rare()
    with_one, without = mbgd.fit_table(data, **HOW), mbgd.fit_table(data, **{**HOW, "threshold_for": None})
    assert with_one.predict_proba(data).tolist() == without.predict_proba(data).tolist()
    assert without.threshold is None
    assert without.summary()["threshold"] is None
    for name in ("log_loss", "roc_auc", "loss"):
        assert with_one.scores["test"][name] == without.scores["test"][name]


def test_test_rows_have_no_say_and_validation_rows_have() -> None:
    data, how = rare(), {**HOW, "restore_best": False, "split": "column:set"}
    data["set"] = np.array(["train", "validation", "test"])[np.arange(len(data)) % 3]
    first = mbgd.fit_table(data, **how)
    for name, same in (("test", True), ("validation", False)):
        other = data.copy()
        rows = other["set"] == name
        other.loc[rows, "ill"] = np.where(other.loc[rows, "x"] < -1, "yes", "no")
        assert (mbgd.fit_table(other, **how).threshold == first.threshold) == same


def test_a_model_trained_once_more_keeps_its_threshold() -> None:
    first, second = mbgd.fit_table(rare(), **HOW), mbgd.fit_table(rare(), refit=True, **HOW)
    assert first.threshold == second.threshold == second.predictor.threshold


def test_validation_rows_of_one_class_choose_nothing_and_say_so() -> None:
    data = rare(100)
    data["set"] = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    data.loc[60:79, "ill"] = "no"
    data.loc[:9, "ill"] = "yes"
    run = mbgd.fit_table(data, split="column:set", **{**HOW, "validation": 0.1})
    assert run.threshold is None
    assert run.notices[-1] == "validation rows hold one class alone: the threshold stays 0.5"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"target": "y"}, "threshold_for needs a target of two classes, got numbers of 'y'; leave it out"),
        (
            {"target": "c"},
            "threshold_for needs a target of two classes, got 3 of 'c' ('blue', 'green', 'red'); leave it out",
        ),
        ({"validation": "none"}, "threshold_for needs validation rows to choose by, got none; give validation=0.1"),
        ({"threshold_for": "recall"}, "threshold_for must be one of 'f1', 'balanced_accuracy', got 'recall'"),
    ],
)
def test_what_has_no_threshold_is_refused(words: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=f"^{re.escape(said)}"):
        mbgd.fit_table(table(), **{**HOW, "target": "label", **words})
