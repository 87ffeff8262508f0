"""Laws of several models of quantiles, of several targets, of a threshold: what is averaged, chosen, out of fold, by which rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

import mbgd
from command import table
from desk.test_several import HOW, NUMBER, OTHERS, files, several
from desk.test_targets import two
from desk.test_threshold import rare
from mbgd.desk.table import read_rows
from mbgd.desk.table_plan import table_plan
from mbgd.errors import PlanError
from mbgd.seeds import member_seed

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
QUANTILES: dict[str, Any] = {**NUMBER, "quantiles": LEVELS, "learning_rate": 0.02}
BOTH: dict[str, Any] = {**HOW, "target": ("y", "far"), "drop": ("label", *OTHERS)}
ILL: dict[str, Any] = {
    "target": "ill",
    "threshold_for": "f1",
    "epochs": 5,
    "batch_size": 32,
    "hidden_layer_sizes": (8,),
}


def marked(how: dict[str, Any]) -> dict[str, Any]:
    """Split by a column, which does not move with the seed."""
    return {**how, "split": "column:part", "drop": tuple(name for name in how["drop"] if name != "part")}


def said_of_test_rows(run: mbgd.Run, data: pd.DataFrame) -> Any:
    held = np.setdiff1d(np.arange(len(data)), run.out_of_fold["row"] if run.out_of_fold is not None else [])
    return held, run.predict(data)[held]


# --- quantiles -----------------------------------------------------------------------------------------------------------


def test_members_predict_the_mean_of_each_quantile_after_each_models_own_widening(tmp_path: Path) -> None:
    data, how = table(), marked(QUANTILES)
    run = mbgd.fit_table(data, members=3, **how)
    alone = [mbgd.fit_table(data, **{**how, "seed": member_seed(0, k)}) for k in range(3)]
    each = [one.predict_quantiles(data) for one in alone]
    found = run.predict_quantiles(data)
    assert found == pytest.approx(sum(each) / 3, rel=1e-9, abs=1e-12)
    assert (np.diff(found, axis=1) >= 0).all()
    assert run.predict(data).tolist() == found[:, 2].tolist()
    widths = [[pair.by for pair in one.widening.pairs] for one in alone if one.widening is not None]
    assert len({tuple(by) for by in widths}) == 3
    assert run.widening is not None
    assert [pair.by for pair in run.widening.pairs] == pytest.approx(np.mean(np.array(widths, float), axis=0))
    again = mbgd.load(run.save(tmp_path / "m.safetensors"))
    assert again.predict_quantiles(data).tolist() == found.tolist()
    assert again.widening == run.widening
    test = np.flatnonzero(data["part"] == "test")
    y, q = data["y"].to_numpy()[test], found[test]
    assert run.scores["test"]["coverage"] == pytest.approx(np.mean((q[:, 0] <= y) & (y <= q[:, 4])), abs=1e-12)
    assert [(pair.share, pair.rows) for pair in run.coverage] == [
        (run.scores["test"]["coverage"], len(test)), (run.scores["test"]["coverage_0.25_0.75"], len(test))
    ]  # fmt: skip


@pytest.mark.parametrize("test", [0.2, "none"])
def test_quantiles_out_of_fold_are_those_of_the_model_not_trained_on_the_row(test: Any, tmp_path: Path) -> None:
    data, y = table(), table()["y"].to_numpy()
    run = mbgd.fit_table(data, folds=3, out=tmp_path / "r", test=test, **QUANTILES)
    found = pq.read_table(tmp_path / "r" / "out_of_fold.parquet").to_pandas()
    names = [f"q{level:g}" for level in LEVELS]
    assert list(found) == ["row", "fold", "target", "prediction", *names]
    assert found["prediction"].tolist() == found["q0.5"].tolist()
    for fold, rows in found.groupby("fold"):
        alone = several(run)[fold - 1].predict_quantiles(data)[rows["row"]]
        assert rows[names].to_numpy() == pytest.approx(alone, rel=1e-4, abs=1e-5)  # float32
        held = ((rows["q0.1"] <= rows["target"]) & (rows["target"] <= rows["q0.9"])).sum()
        assert held >= np.ceil(0.8 * (len(rows) + 1)) - 1  # these rows have widened it; one at its end may fall out
    scores = run.scores["out_of_fold"]
    by_hand = [
        metrics.mean_pinball_loss(found["target"], found[q], alpha=t) for q, t in zip(names, LEVELS, strict=True)
    ]
    assert scores["pinball"] == pytest.approx(np.mean(by_hand), rel=1e-9)
    assert scores["mean_width"] == pytest.approx((found["q0.9"] - found["q0.1"]).mean(), rel=1e-9)
    known, fold = found["row"].to_numpy(), np.zeros(400, int)
    fold[known] = found["fold"]
    sets = [(known, np.setdiff1d(np.arange(400), known))] if test != "none" else [
        (np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in (1, 2, 3)
    ]  # fmt: skip
    width = [np.diff(np.quantile(y[rows], [0.1, 0.9], method="inverted_cdf"))[0] * len(held) for rows, held in sets]
    assert run.baselines["constant"]["mean_width"] == pytest.approx(
        sum(width) / sum(len(held) for _, held in sets), rel=1e-9
    )


def test_too_few_rows_of_a_fold_to_widen_by_are_said_once_and_after_a_resume(tmp_path: Path) -> None:
    how = {**QUANTILES, "quantiles": (0.005, 0.25, 0.5, 0.75, 0.995), "epochs": 1, "out": tmp_path / "r"}
    run = mbgd.fit_table(table(), folds=4, **how)
    few = (
        "80 validation rows are too few to widen 0.005 to 0.995, which takes 99: that interval is as the network has it"
    )
    said = run.notices
    assert said.count(few) == 1
    assert run.widening is not None
    assert [pair.by is None for pair in run.widening.pairs] == [True, False]
    whole = files(tmp_path / "r")
    (tmp_path / "r" / "result.json").unlink()  # the models are done
    assert mbgd.resume(tmp_path / "r", data=table()).notices == said
    assert files(tmp_path / "r") == whole


# --- several targets -----------------------------------------------------------------------------------------------------


def test_folds_of_several_targets_have_a_mean_and_columns_of_each(tmp_path: Path) -> None:
    data = two()
    run = mbgd.fit_table(data, folds=3, members=2, out=tmp_path / "r", **BOTH)
    found, each = run.predict(data), [one.predict(data) for one in several(run)]
    assert found.shape == (400, 2)
    assert found == pytest.approx(sum(each) / 6, rel=1e-12)
    assert mbgd.load(tmp_path / "r").predict(data).tolist() == found.tolist()
    rows = pq.read_table(tmp_path / "r" / "out_of_fold.parquet").to_pandas()
    assert list(rows) == ["row", "fold", "target_y", "target_far", "prediction_y", "prediction_far"]
    for place, name in enumerate(("y", "far")):
        assert rows[f"target_{name}"].tolist() == data[name].iloc[rows["row"]].tolist()
        of_folds = np.array([each[2 * k] + each[2 * k + 1] for k in range(3)]) / 2
        of_fold = of_folds[rows["fold"] - 1, rows["row"], place]
        assert rows[f"prediction_{name}"].to_numpy() == pytest.approx(of_fold, rel=1e-4, abs=1e-5)  # float32
        expected = metrics.r2_score(rows[f"target_{name}"], rows[f"prediction_{name}"])
        assert run.scores["out_of_fold"][f"r2_{name}"] == pytest.approx(expected, rel=1e-9)
        test, said = said_of_test_rows(run, data)
        expected = metrics.r2_score(data[name].iloc[test], said[:, place])
        assert run.scores["test"][f"r2_{name}"] == pytest.approx(expected, rel=1e-5)
        assert f"r2_{name}" in run.baselines["linear"]


# --- a threshold ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("no", "yes"), ("well", "ill")])  # the rarer one is the second label and the first
def test_of_folds_the_threshold_is_best_for_the_rows_out_of_fold(names: tuple[str, str], tmp_path: Path) -> None:
    data = rare(names=names)
    run = mbgd.fit_table(data, folds=3, out=tmp_path / "r", **ILL)
    found, rows = run.threshold, run.out_of_fold
    assert found is not None
    assert rows is not None
    p, ill = rows[f"probability_{names[1]}"], rows["target"] == names[1]
    assert run.predictor.classes[found.positive] == names[1]
    assert found.before == pytest.approx(metrics.f1_score(ill, p >= 0.5))
    assert found.after == pytest.approx(metrics.f1_score(ill, p >= found.probability))
    precision, recall, _ = metrics.precision_recall_curve(ill, p)
    best = (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()
    assert found.after == pytest.approx(best) == run.scores["out_of_fold"]["f1"]
    assert found.after > found.before
    assert rows["prediction"].tolist() == np.where(p >= found.probability, names[1], names[0]).tolist()
    mean = run.predict_proba(data)[:, found.positive]
    assert run.predict(data).tolist() == np.where(mean >= found.probability, names[1], names[0]).tolist()
    test, said = said_of_test_rows(run, data)
    truth = data["ill"].to_numpy()[test]
    assert run.scores["test"]["f1"] == pytest.approx(metrics.f1_score(truth == names[1], said == names[1]))
    again = mbgd.load(tmp_path / "r")
    assert again.threshold == found
    assert again.predict(data).tolist() == run.predict(data).tolist()
    assert [one.threshold for one in several(run)] == [None] * 3  # one for all: of the mean
    without = mbgd.fit_table(data, folds=3, **{**ILL, "threshold_for": None})
    assert without.predict_proba(data).tolist() == run.predict_proba(data).tolist()
    assert without.threshold is None


def test_of_members_the_threshold_is_best_for_the_mean_on_the_validation_rows() -> None:
    data, how = rare(), {**ILL, "validation": 0.3, "threshold_for": "balanced_accuracy"}
    run, sets = mbgd.fit_table(data, members=2, **how), read_rows(data, table_plan(how)).sets
    assert run.threshold is not None
    ill = (data["ill"] == "yes").to_numpy()[sets.validation]
    p = run.predict_proba(data)[sets.validation, 1]
    assert run.threshold.before == pytest.approx(metrics.balanced_accuracy_score(ill, p >= 0.5))
    false, true, _ = metrics.roc_curve(ill, p, drop_intermediate=False)
    assert run.threshold.after == pytest.approx(((true + 1 - false) / 2).max())
    assert run.scores["validation"]["balanced_accuracy"] == pytest.approx(run.threshold.after)


def test_test_rows_have_no_say_in_the_threshold_or_the_widths_of_several() -> None:
    data = rare()
    data["set"] = np.array(["train", "validation", "test"])[np.arange(len(data)) % 3]
    other = data.copy()
    test = other["set"] == "test"
    other.loc[test, "ill"] = np.where(other.loc[test, "x"] < -1, "yes", "no")
    first, second = (mbgd.fit_table(each, members=2, split="column:set", **ILL) for each in (data, other))
    assert first.threshold == second.threshold
    assert first.scores["test"] != second.scores["test"]
    data = table()
    other = data.assign(y=np.where(data["part"] == "test", 1e6, data["y"]))
    first, second = (mbgd.fit_table(each, members=2, **marked(QUANTILES)) for each in (data, other))
    assert first.widening == second.widening


def test_validation_rows_of_one_class_or_none_choose_nothing_and_say_so() -> None:
    data = rare(100)
    data["set"] = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    data.loc[60:79, "ill"] = "no"
    data.loc[:9, "ill"] = "yes"
    run = mbgd.fit_table(data, split="column:set", members=2, **{**ILL, "epochs": 1})
    assert run.threshold is None
    assert run.notices[-1] == "validation rows hold one class alone: the threshold stays 0.5"


def test_what_does_not_go_together_with_one_model_does_not_with_several() -> None:
    with pytest.raises(PlanError, match="threshold_for needs validation rows to choose by, got none; give validation"):
        mbgd.fit_table(rare(), members=2, **{**ILL, "validation": "none"})
    run = mbgd.fit_table(table(), members=2, **{**NUMBER, "epochs": 1})
    with pytest.raises(PlanError, match="predict_quantiles needs a model of quantiles, got another"):
        run.predict_quantiles(table())
