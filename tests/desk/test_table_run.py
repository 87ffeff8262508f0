"""`fit_table` and `resume`: what a finished run says is what its model does; small tables learn with the defaults."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import datasets, metrics

import mbgd
from command import table
from mbgd.desk.ended import read_result
from mbgd.desk.folder import read_plan
from mbgd.desk.load import load_table
from mbgd.desk.table import by_size, read_rows
from mbgd.desk.table_plan import table_plan
from mbgd.desk.table_run import TableRun
from mbgd.errors import DataError, PlanError, SavedFileError, StorageError
from mbgd.store import FolderLock, write_sealed

DROPPED = ("key", "when", "group", "part", "two")
NUMBER: dict[str, Any] = {"target": "y", "drop": ("label", *DROPPED), "epochs": 5, "batch_size": 32}
LABEL: dict[str, Any] = {"target": "label", "drop": ("y", *DROPPED), "epochs": 5}


def test_scores_are_those_of_the_predictions_on_the_test_rows() -> None:
    data = table()
    rows = read_rows(data, table_plan(NUMBER)).sets.test
    run = mbgd.fit_table(data, **NUMBER)
    found, y = run.predict(data)[rows], data["y"].to_numpy()[rows]
    # float32: 400 rows at once and 80 may differ in their last digits
    assert run.scores["test"]["r2"] == pytest.approx(metrics.r2_score(y, found), rel=1e-5)
    assert run.scores["test"]["mae"] == pytest.approx(metrics.mean_absolute_error(y, found), rel=1e-5)
    rows = read_rows(data, table_plan(LABEL)).sets.test
    run = mbgd.fit_table(data, **LABEL)
    share, label = run.predict_proba(data)[rows, 1], data["label"].to_numpy()[rows]
    assert run.scores["test"]["accuracy"] == metrics.accuracy_score(label, run.predict(data)[rows])
    assert run.scores["test"]["roc_auc"] == pytest.approx(metrics.roc_auc_score(label == "yes", share), rel=1e-6)


@pytest.mark.parametrize("target", ["label", "c"])  # two classes and three
def test_probabilities_are_calibrated_on_the_validation_rows_alone(target: str, tmp_path: Path) -> None:
    data, how = table(), {**LABEL, "target": target, "epochs": 40}
    rows = read_rows(data, table_plan(how))
    run = mbgd.fit_table(data, **how)
    found, label = run.calibration, data[target].to_numpy()
    assert found is not None
    assert abs(found.temperature - 1) > 1e-4
    assert found.log_loss_after < found.log_loss_before
    assert found.log_loss_before == pytest.approx(min(run.history["validation_log_loss"]), rel=1e-6)
    p = run.predict_proba(data)
    assert p.sum(1) == pytest.approx(1, abs=1e-14)
    for name, held in (("validation", rows.sets.validation), ("test", rows.sets.test)):
        # float32: 400 rows at once and 80 may differ in their last digits
        assert run.scores[name]["log_loss"] == pytest.approx(metrics.log_loss(label[held], p[held]), rel=1e-5)
    assert run.scores["validation"]["log_loss"] == pytest.approx(found.log_loss_after, rel=1e-9)
    raw = replace(run.predictor, temperature=1.0)
    assert run.predict(data).tolist() == raw.predict(data).tolist()
    q = raw.predict_proba(data)
    odds, raw_odds = np.log(p[:, 1] / p[:, 0]), np.log(q[:, 1] / q[:, 0])
    assert odds * found.temperature == pytest.approx(raw_odds, rel=1e-6, abs=1e-9)  # logits are divided, no more
    again = mbgd.load(run.save(tmp_path / "m.safetensors"))
    assert again.predict_proba(data).tolist() == p.tolist()
    assert json.loads(json.dumps(run.summary()))["calibration"]["temperature"] == again.temperature


def test_test_rows_have_no_say_in_the_temperature() -> None:
    data = table()
    held = read_rows(data, table_plan(LABEL)).sets.test
    x = data["x"].to_numpy().copy()
    x[held] = x[held][::-1]
    assert mbgd.fit_table(data.assign(x=x), **LABEL).calibration == mbgd.fit_table(data, **LABEL).calibration


def test_without_validation_rows_or_a_log_loss_nothing_is_calibrated() -> None:
    for how in ({**LABEL, "validation": "none"}, {**LABEL, "loss": "hinge"}, NUMBER):
        run = mbgd.fit_table(table(), **{**how, "epochs": 2})
        assert run.calibration is None
        assert run.predictor.temperature == 1
        assert run.summary()["calibration"] is None


def test_a_model_trained_once_more_keeps_the_temperature_found_before() -> None:
    first = mbgd.fit_table(table(), **LABEL)
    second = mbgd.fit_table(table(), refit=True, **LABEL)
    assert first.calibration is not None
    assert second.calibration == first.calibration
    assert second.predictor.temperature == first.calibration.temperature


def test_the_dumb_baselines_know_the_training_rows_alone() -> None:
    data = table()
    for words, name in ((NUMBER, "mean"), (LABEL, "majority")):
        sets = read_rows(data, table_plan(words)).sets
        said = mbgd.fit_table(data, **words).baselines[name]
        y = data[words["target"]].to_numpy()
        if name == "mean":
            guess = np.full(len(sets.test), y[sets.training].mean())
            assert said["r2"] == pytest.approx(metrics.r2_score(y[sets.test], guess), rel=1e-9)
        else:
            common = pd.Series(y[sets.training]).mode()[0]
            assert said["accuracy"] == pytest.approx((y[sets.test] == common).mean())
            assert said["roc_auc"] == 0.5


@pytest.mark.parametrize("metric", ["mae", "r2"])
def test_the_best_look_of_the_metric_is_where_the_weights_are_from(metric: str) -> None:
    run = mbgd.fit_table(table(), **{**NUMBER, "epochs": 12, "learning_rate": 0.03}, metric=metric)
    looks = {step: score for step, score in zip(run.history["step"], run.history[f"validation_{metric}"], strict=True)
             if score is not None}  # fmt: skip
    best = max(looks, key=lambda step: (looks[step] if metric == "r2" else -looks[step], step))
    assert run.resolved["best_step"] == best
    assert run.scores["validation"][metric] == looks[best]


def test_the_run_folder_repeats_what_the_run_says(tmp_path: Path) -> None:
    run = mbgd.fit_table(table(), out=tmp_path / "r", **NUMBER)
    assert read_result(tmp_path / "r") == json.loads(json.dumps(run.summary()))
    said = json.loads((tmp_path / "r" / "plan.json").read_text())
    assert (said["command"], said["data"]) == ("fit_table", None)
    assert said["resolved"]["training_rows"] == 288
    assert said["plan"]["batch_size"] == 32
    assert said["plan"]["threads"] == 1
    model = mbgd.load(tmp_path / "r")
    assert model.predict(table()).tolist() == run.predict(table()).tolist()
    assert model.facts is not None
    assert model.facts["scores"] == run.scores
    assert run.folder == tmp_path / "r"
    assert "Run(45 steps" in repr(run)


def test_each_training_starts_from_weights_of_its_own(tmp_path: Path) -> None:
    """The second training of `refit` starts where the first one did, not where it ended."""
    begun = load_table(mbgd.fit_table(table(), **NUMBER).save(tmp_path / "m.safetensors"))
    rows = read_rows(table(), table_plan(NUMBER), init=begun)
    run = TableRun(rows, by_size(table_plan(NUMBER), rows), begun, None)
    first = run.parts(rows.sets.training, rows.sets.validation)
    with torch.no_grad():
        for parameter in first.model.parameters():
            parameter.zero_()
    second = run.parts(rows.sets.training, rows.sets.validation)
    saved = load_table(tmp_path / "m.safetensors").model
    assert all(torch.equal(a, b) for a, b in zip(second.model.parameters(), saved.parameters(), strict=True))


def range_of(run: Any) -> tuple[float, float]:
    return run.predictor.target.low, run.predictor.target.high


def test_predictions_may_reach_what_a_model_was_trained_on_and_no_further(tmp_path: Path) -> None:
    """The training rows alone; with `refit` the validation rows, too; with `init` those of both trainings."""
    data = table()
    sets, y = read_rows(data, table_plan(NUMBER)).sets, data["y"].to_numpy().copy()
    y[sets.validation[0]], y[sets.test[0]] = 50.0, -60.0  # further out than any training row
    data = data.assign(y=y)
    seen = y[sets.training]
    run = mbgd.fit_table(data, out=tmp_path / "r", **NUMBER)
    assert range_of(run) == (seen.min(), seen.max())
    assert range_of(mbgd.fit_table(data, refit=True, **NUMBER)) == (seen.min(), 50.0)
    shifted = data.assign(y=y + 100)
    again = mbgd.fit_table(shifted, init=tmp_path / "r", **NUMBER)
    assert range_of(again) == (seen.min(), seen.max() + 100)


def unfinished(folder: Path) -> None:
    """As a kill in the midst of it leaves it: no result, no model."""
    for name in ("result.json", "model.safetensors"):
        (folder / name).unlink()


def test_a_frame_in_memory_has_to_be_given_again_and_be_the_same(tmp_path: Path) -> None:
    data, folder = table(), tmp_path / "r"
    mbgd.fit_table(data, out=folder, checkpoint_every=7, **NUMBER)
    whole = (folder / "model.safetensors").read_bytes()
    unfinished(folder)
    with pytest.raises(
        PlanError, match=r"r was trained on a frame in memory; give it again: resume\('.*r', data=frame\)"
    ):
        mbgd.resume(folder)
    with pytest.raises(DataError, match="the data is not what it was when the run began: values of column 'x' changed"):
        mbgd.resume(folder, data=data.assign(x=data["x"].fillna(0)))
    with pytest.raises(DataError, match="column 'two' is gone"):
        mbgd.resume(folder, data=data.drop(columns="two"))
    with pytest.raises(DataError, match="it had 400 rows, now it has 399"):
        mbgd.resume(folder, data=data[:399])
    mbgd.resume(folder, data=data)
    assert (folder / "model.safetensors").read_bytes() == whole


TRAININGS: dict[
    str, tuple[dict[str, Any], str]
] = {  # -> what is asked for, the training whose newest checkpoint is damaged
    "the only one": ({}, ""),
    "the first of a refit": ({"refit": True}, ""),
    "a refit": ({"refit": True}, "refit"),
    "a member": ({"members": 2}, "models/2"),
    "a fold": ({"folds": 2}, "models/1"),
    "the refit of a member": ({"members": 2, "refit": True}, "models/2/refit"),
}


QUICK = ("the only one", "a refit")


@pytest.mark.parametrize("which", [pytest.param(w, marks=() if w in QUICK else pytest.mark.slow) for w in TRAININGS])
def test_a_damaged_checkpoint_of_any_training_is_passed_over_with_a_notice(tmp_path: Path, which: str) -> None:
    (words, training), data, folder = TRAININGS[which], table(), tmp_path / "r"
    mbgd.fit_table(data, out=folder, checkpoint_every=4, **{**NUMBER, **words})
    whole = (folder / "model.safetensors").read_bytes()
    unfinished(folder)
    for model in [folder / "models" / number for number in ("1", "2") if training.startswith(f"models/{number}")]:
        unfinished(model)
    newest = max((folder / training / "checkpoints").iterdir())
    state = newest / "state.safetensors"
    whole_state = state.read_bytes()
    state.write_bytes(whole_state[:-1] + bytes([whole_state[-1] ^ 1]))
    run = mbgd.resume(folder, data=data)
    assert [notice for notice in run.notices if "passed over" in notice] == [
        f"checkpoint {newest} was passed over: the SHA-256 of state.safetensors is not the one written in manifest.json"
    ]
    assert (folder / "model.safetensors").read_bytes() == whole


def test_a_run_begun_with_other_versions_says_so_when_it_goes_on(tmp_path: Path) -> None:
    data, folder = table(), tmp_path / "r"
    mbgd.fit_table(data, out=folder, **NUMBER)
    unfinished(folder)
    plan = read_plan(folder)
    write_sealed(folder / "plan.json", {**plan, "versions": {**plan["versions"], "torch": "2.6.0"}})
    notices = mbgd.resume(folder, data=data).notices
    assert any(n.startswith("torch is ") and "begun with 2.6.0" in n and n.endswith("bits may differ") for n in notices)


def test_wrong_plans_leave_no_folder(tmp_path: Path) -> None:
    for words, error in [
        ({"loss": "mse"}, PlanError),
        ({"optimizer": "addam"}, PlanError),
        ({"metric": "accuracy"}, PlanError),
        ({"device": "tpu"}, PlanError),
        ({"refit": True, "validation": None}, PlanError),
        ({"target": "yy"}, DataError),
        ({"drop": ("nothing",)}, DataError),
        ({"loss": "gamma"}, DataError),  # some targets are below 0
        ({"label_smoothing": 0.1}, PlanError),
    ]:
        with pytest.raises(error):
            mbgd.fit_table(table(), out=tmp_path / "r", **{**NUMBER, **words})
        assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_or_full_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    mbgd.fit_table(table(), out=folder, **NUMBER)
    with pytest.raises(
        PlanError, match=r"out must be a new folder, got .*r, which exists; 'mbgd resume .*r' goes on with it"
    ):
        mbgd.fit_table(table(), out=folder, **NUMBER)
    unfinished(folder)
    with (
        FolderLock(folder),
        pytest.raises(StorageError, match="run folder must have one writer, .*r is in use by process"),
    ):
        mbgd.resume(folder, data=table())
    with pytest.raises(
        SavedFileError, match="must hold model.safetensors, got none; the run has not ended: 'mbgd resume"
    ):
        mbgd.load(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    with pytest.raises(PlanError, match="which exists; choose another name"):
        mbgd.fit_table(table(), out=folder, **NUMBER)


def test_a_model_of_a_module_does_not_resume_as_a_table(tmp_path: Path) -> None:
    x = torch.randn(40, 3)
    mbgd.fit(
        torch.nn.Linear(3, 1), (x, x.sum(1)), loss="squared_error", learning_rate=0.1, epochs=1, out=tmp_path / "m"
    )
    with pytest.raises(PlanError, match=r"m trained a module of your own: give it and its rows again"):
        mbgd.resume(tmp_path / "m")


SMALL: list[tuple[str, str, float]] = [
    ("iris", "accuracy", 0.9), ("wine", "accuracy", 0.9), ("breast_cancer", "accuracy", 0.93), ("diabetes", "r2", 0.3),
    ("digits", "accuracy", 0.94),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "metric", "least"),
    [pytest.param(*case, marks=[] if case[0] == "iris" else [pytest.mark.slow]) for case in SMALL],
)
def test_small_tables_learn_with_the_defaults(name: str, metric: str, least: float) -> None:
    """The mean over three seeds, which draw other test rows and other start values: iris has 30 test rows, each 3 %."""
    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    data = bunch.frame.rename(columns=str)
    if metric == "accuracy":
        data["target"] = [str(label) for label in data["target"]]
    scores = [mbgd.fit_table(data, target="target", seed=seed).scores["test"][metric] for seed in range(3)]
    assert np.mean(scores) >= least, scores
