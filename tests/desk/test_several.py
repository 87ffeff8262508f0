"""Laws of several models: their mean is that of as many runs by themselves, no fold reaches its model, each row is out once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from sklearn import metrics

import mbgd
from command import table
from mbgd.desk.table import read_rows
from mbgd.desk.table_plan import table_plan
from mbgd.desk.table_run import train_one
from mbgd.errors import DataError, PlanError
from mbgd.model.saved import load_model
from mbgd.seeds import member_seed

OTHERS = ("key", "when", "group", "part", "two")
HOW: dict[str, Any] = {"epochs": 3, "batch_size": 32, "hidden_layer_sizes": (16,), "dropout": 0.1}
NUMBER: dict[str, Any] = {"target": "y", "drop": ("label", *OTHERS), **HOW}
LABEL: dict[str, Any] = {"target": "label", "drop": ("y", *OTHERS), **HOW}
COLOUR: dict[str, Any] = {"target": "c", "drop": ("y", "label", *OTHERS), **HOW}


def several(run: mbgd.Run) -> tuple[mbgd.Predictor, ...]:
    assert isinstance(run.predictor, mbgd.Ensemble)
    return run.predictor.predictors


def weights(predictor: mbgd.Predictor) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in predictor.model.parameters())


def learned(predictor: mbgd.Predictor) -> Any:
    assert predictor.encoder is not None
    assert predictor.target is not None
    encoder = predictor.encoder.to_json()
    for fact in encoder["facts"]:
        fact["missing"] = None  # a count over the whole table, for people alone
    return encoder, predictor.target.to_json(), weights(predictor)


def said(model: Any, data: pd.DataFrame) -> Any:
    """Probabilities where there are classes, else numbers."""
    return model.predict_proba(data) if model.predictor.classes else model.predict(data)


# --- the mean ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [NUMBER, LABEL, COLOUR], ids=["number", "label", "colour"])
def test_members_predict_the_mean_of_runs_by_themselves(how: dict[str, Any]) -> None:
    """A split by a column does not move with the seed, which for each member is another."""
    how = {**how, "split": "column:part", "drop": tuple(name for name in how["drop"] if name != "part")}
    data = table()
    run = mbgd.fit_table(data, members=3, **how)
    alone = [mbgd.fit_table(data, **{**how, "seed": member_seed(0, k)}) for k in range(3)]
    assert [weights(one) for one in several(run)] == [weights(one.predictor) for one in alone]  # type: ignore[arg-type]
    assert len({weights(one) for one in several(run)}) == 3
    each = [said(one, data) for one in alone]
    assert said(run, data) == pytest.approx((each[0] + each[1] + each[2]) / 3, rel=1e-12)
    assert [one["scores"]["validation"] for one in run.models] == [one.scores["validation"] for one in alone]


@pytest.mark.parametrize("how", [NUMBER, LABEL], ids=["number", "label"])
def test_folds_predict_the_mean_of_runs_that_stop_by_a_fold_each(how: dict[str, Any]) -> None:
    data = table()
    run = mbgd.fit_table(data, folds=3, members=2, **how)
    assert run.out_of_fold is not None
    each = []
    for number, one in enumerate(several(run)):
        part = np.full(len(data), "test", dtype=object)
        part[run.out_of_fold["row"]] = np.where(run.out_of_fold["fold"] == number // 2 + 1, "validation", "train")
        marked = {**how, "split": "column:part", "drop": tuple(name for name in how["drop"] if name != "part")}
        alone = mbgd.fit_table(data.assign(part=part), **{**marked, "seed": member_seed(0, number)})
        assert isinstance(alone.predictor, mbgd.Predictor)
        assert learned(alone.predictor) == learned(one)
        assert alone.predictor.temperature == one.temperature
        each.append(said(alone, data.assign(part=part)))
    assert said(run, data) == pytest.approx(sum(each) / 6, rel=1e-12)


@pytest.mark.parametrize("how", [NUMBER, LABEL, COLOUR], ids=["number", "label", "colour"])
def test_members_are_trained_once_more_and_scored_as_they_were_before(how: dict[str, Any], tmp_path: Path) -> None:
    """They predict the mean of as many runs with a refit; what they say of validation rows is that of runs without."""
    how = {**how, "split": "column:part", "drop": tuple(name for name in how["drop"] if name != "part")}
    data = table()
    run = mbgd.fit_table(data, members=3, refit=True, out=tmp_path / "r", **how)
    alone = [mbgd.fit_table(data, refit=True, **{**how, "seed": member_seed(0, k)}) for k in range(3)]
    assert [weights(one) for one in several(run)] == [weights(one.predictor) for one in alone]  # type: ignore[arg-type]
    each = [said(one, data) for one in alone]
    assert said(run, data) == pytest.approx((each[0] + each[1] + each[2]) / 3, rel=1e-12)
    before = mbgd.fit_table(data, members=3, **how)
    assert weights(several(before)[0]) != weights(several(run)[0])
    assert run.scores["validation"] == before.scores["validation"]
    assert run.scores["test"] != before.scores["test"]
    first = mbgd.load(tmp_path / "r" / "models" / "1" / "first.safetensors")
    assert weights(first) == weights(several(before)[0])  # type: ignore[arg-type]


def test_the_threshold_of_members_is_chosen_before_they_are_trained_once_more() -> None:
    words: dict[str, Any] = {**LABEL, "members": 2, "threshold_for": "f1", "validation": 0.4}
    before, again = mbgd.fit_table(table(), **words), mbgd.fit_table(table(), refit=True, **words)
    assert again.threshold == before.threshold
    assert before.threshold is not None


def test_one_member_is_the_run_that_it_was(tmp_path: Path) -> None:
    plain = mbgd.fit_table(table(), out=tmp_path / "a", **NUMBER)
    one = mbgd.fit_table(table(), out=tmp_path / "b", members=1, **NUMBER)
    assert isinstance(one.predictor, mbgd.Predictor)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    assert not (tmp_path / "b" / "models").exists()
    assert "models" not in plain.summary()


# --- honest scores -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [NUMBER, LABEL, COLOUR], ids=["number", "label", "colour"])
def test_each_row_is_out_of_fold_once_by_the_models_not_trained_on_it(how: dict[str, Any], tmp_path: Path) -> None:
    data, name = table(), how["target"]
    data.loc[[0, 7, 399], name] = np.nan  # rows that are left out still count
    run = mbgd.fit_table(data, folds=4, members=2, out=tmp_path / "r", **how)
    found = pq.read_table(tmp_path / "r" / "out_of_fold.parquet").to_pandas()
    assert found["row"].is_monotonic_increasing
    assert found["row"].is_unique
    single = read_rows(data, table_plan(how))  # its test rows are the same
    known = np.concatenate([single.sets.training, single.sets.validation])
    assert found["row"].tolist() == sorted(np.flatnonzero(data[name].notna())[known].tolist())
    assert found["target"].tolist() == data[name].iloc[found["row"]].tolist()
    models, classes = several(run), run.predictor.classes
    for fold, rows in found.groupby("fold"):
        pair = models[2 * fold - 2 : 2 * fold]
        each = [one.predict_proba(data) if classes else one.predict(data) for one in pair]
        mean = ((each[0] + each[1]) / 2)[rows["row"]]
        columns = [f"probability_{label}" for label in classes] if classes else "prediction"
        # float32: all rows at once and those of a fold may differ in their last digits
        assert rows[columns].to_numpy() == pytest.approx(mean, rel=1e-4, abs=1e-6)
        if classes:
            assert rows["prediction"].tolist() == np.array(classes)[mean.argmax(1)].tolist()
    if classes:
        expected = {"accuracy": metrics.accuracy_score(found["target"], found["prediction"])}
    else:
        expected = {"r2": metrics.r2_score(found["target"], found["prediction"])}
    assert {key: run.scores["out_of_fold"][key] for key in expected} == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("target", ["y", "label"])
@pytest.mark.parametrize("split", ["random", "group:group"])
def test_nothing_of_a_fold_reaches_encoder_scale_or_weights_of_its_model(target: str, split: str) -> None:
    """As long as no score picks the weights; the models of the other folds learn from it, and differ."""
    data = table()
    how = {
        **NUMBER,
        "target": target,
        "split": split,
        "drop": ("key", "when", "part", "two", "label" if target == "y" else "y"),
    }
    how |= {"folds": 3, "restore_best": False} | ({} if split != "random" else {"drop": (*how["drop"], "group")})
    before = mbgd.fit_table(data, **how)
    assert before.out_of_fold is not None
    rows = before.out_of_fold["row"][before.out_of_fold["fold"] == 2]
    other = data.copy()
    other.loc[rows, "x"], other.loc[rows, "z"], other.loc[rows, "c"] = np.nan, 1e9, "new"
    if target == "y":
        other.loc[rows, "y"] = 1e7
    elif split != "random":  # there labels decide which rows are in a fold
        other.loc[rows, "label"] = np.where(data.loc[rows, "label"] == "yes", "no", "yes")
    after = mbgd.fit_table(other, **how)
    same = [learned(a) == learned(b) for a, b in zip(several(before), several(after), strict=True)]
    assert same == [False, True, False]
    assert before.scores["out_of_fold"] != after.scores["out_of_fold"]


def test_nothing_of_the_test_rows_reaches_any_of_them() -> None:
    data = table()
    before = mbgd.fit_table(data, folds=3, **NUMBER)
    assert before.out_of_fold is not None
    rows = np.setdiff1d(np.arange(400), before.out_of_fold["row"])
    other = data.copy()
    other.loc[rows, "x"], other.loc[rows, "c"], other.loc[rows, "y"] = 1e9, "new", -1e7
    after = mbgd.fit_table(other, folds=3, **NUMBER)
    assert [learned(one) for one in several(before)] == [learned(one) for one in several(after)]
    assert before.scores["out_of_fold"] == after.scores["out_of_fold"]


def test_the_mean_is_scored_on_the_test_rows_beside_baselines_of_all_other_rows() -> None:
    data = table()
    run = mbgd.fit_table(data, folds=4, **NUMBER)
    assert run.out_of_fold is not None
    y, known = data["y"].to_numpy(), run.out_of_fold["row"]
    test = np.setdiff1d(np.arange(400), known)
    assert run.scores["test"]["r2"] == pytest.approx(metrics.r2_score(y[test], run.predict(data)[test]), rel=1e-5)
    constant = np.full(len(test), y[known].mean())
    assert run.baselines["mean"]["rmse"] == pytest.approx(metrics.root_mean_squared_error(y[test], constant), rel=1e-9)
    run = mbgd.fit_table(data, folds=4, test="none", **NUMBER)
    assert run.out_of_fold is not None
    fold = np.empty(400, dtype=int)
    fold[run.out_of_fold["row"]] = run.out_of_fold["fold"]
    guess = np.array([y[fold != k].mean() for k in fold])
    assert run.baselines["mean"]["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, guess), rel=1e-9)
    assert set(run.scores) == {"out_of_fold"}
    members = mbgd.fit_table(data, members=2, test="none", **NUMBER)
    assert set(members.scores) == {"validation"}


# --- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [NUMBER, LABEL, COLOUR], ids=["number", "label", "colour"])
def test_a_loaded_ensemble_predicts_to_the_same_bits(how: dict[str, Any], tmp_path: Path) -> None:
    data = table()
    run = mbgd.fit_table(data, folds=2, members=2, **how)
    again = mbgd.load(run.save(tmp_path / "m.safetensors"))
    assert isinstance(again, mbgd.Ensemble)
    assert again.predict(data).tolist() == run.predict(data).tolist()
    if again.classes:
        assert again.predict_proba(data).tolist() == run.predict_proba(data).tolist()
        assert again.predict_proba(data).sum(1) == pytest.approx(1, abs=1e-12)
    else:
        with pytest.raises(PlanError, match="predict_proba needs a model of classes"):
            again.predict_proba(data)
    assert again.predictors[0].encoder is again.predictors[1].encoder is not again.predictors[2].encoder
    again.save(tmp_path / "n.safetensors")
    assert mbgd.load(tmp_path / "n.safetensors").predict(data).tolist() == run.predict(data).tolist()
    assert again.facts is not None
    assert again.facts["scores"] == run.scores
    # the docs: tensors are those of the networks, each name behind its model's number
    saved = load_model(tmp_path / "m.safetensors")
    for number, one in enumerate(several(run)):
        for name, tensor in one.model.state_dict().items():
            assert torch.equal(saved.tensors[f"{number}.{name}"], tensor)


def test_a_column_that_only_some_models_take_is_asked_for() -> None:
    """One value in the training rows of one model and two in the others'."""
    data = table()
    first = mbgd.fit_table(data, folds=2, **NUMBER)
    assert first.out_of_fold is not None
    rare = np.full(len(data), "a", dtype=object)
    rare[first.out_of_fold["row"][first.out_of_fold["fold"] == 1][:9]] = "b"
    run = mbgd.fit_table(data.assign(rare=rare), folds=2, **NUMBER)
    assert ["rare" in one.columns for one in several(run)] == [False, True]
    assert "rare" in run.predictor.columns
    with pytest.raises(DataError, match="column 'rare' is missing"):
        run.predict(data)


# --- stopped and gone on with ------------------------------------------------------------------------------------------


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")} | {
        "out of fold": (folder / "out_of_fold.parquet").read_bytes()
    }


AT_END = ["result.json", "model.safetensors", "out_of_fold.parquet"]
STOPS = {  # what is not there yet when the process dies -> models that are trained again
    "before the result": (["result.json"], 0),
    "before the model": (AT_END[:2], 0),
    "before anything": ([*AT_END, "models"], 4),
    "before a model's result": ([*AT_END, "models/2/result.json", "models/3", "models/4"], 3),
    "before a model's folder": ([*AT_END, "models/2/checkpoints", "models/3", "models/4"], 2),
    "before a model's first step": (
        [*AT_END, "models/4/result.json", "models/4/model.safetensors", "models/4/history.jsonl"], 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("stop", STOPS)
def test_gone_on_with_from_anywhere_the_files_have_the_same_bytes(
    stop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, folder = table(), tmp_path / "r"
    mbgd.fit_table(data, folds=2, members=2, out=folder, **{**LABEL, "epochs": 2})
    whole = files(folder)
    gone, again = STOPS[stop]
    for name in gone:
        path = folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
    trained: list[str] = []

    def counted(run: Any, *given: Any, **named: Any) -> Any:
        trained.append(str(run.folder))
        return train_one(run, *given, **named)

    monkeypatch.setattr("mbgd.desk.several.train_one", counted)
    run = mbgd.resume(folder, data=data)
    assert len(trained) == again
    assert files(folder) == whole
    assert json.loads((folder / "result.json").read_text())["scores"] == run.scores
    assert len(run.models) == 4
    assert run.history["model"][0] == 1
    assert run.steps_done == sum(one["steps"] for one in run.models) == 4 * 2 * 5  # 160 rows by 32, two epochs


# --- what is refused ---------------------------------------------------------------------------------------------------

REFUSED = [
    ({"folds": 3, "split": "time:when"},
     "folds need a random split or one by group, got split='time:when', which says itself which rows stop a model; "
     "give members instead"),
    ({"folds": 3, "validation": 0.1},
     "folds and validation exclude each other, got folds=3 and validation=0.1: each fold is the validation rows of its "
     "model; leave validation out"),
    ({"folds": 3, "refit": True}, "refit and folds exclude each other, got refit with folds=3, which use every row already; "
     "leave one out"),
    ({"folds": 321}, "folds must be at most the number of rows besides the test rows, 320, got 321; give fewer"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_what_does_not_go_with_folds_is_refused_in_one_sentence(
    words: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(PlanError) as caught:
        mbgd.fit_table(table(), out=tmp_path / "r", **{**NUMBER, **words})
    assert str(caught.value) == message
    assert not (tmp_path / "r").exists()


def test_one_model_of_several_may_be_taken_over_and_their_mean_may_not(tmp_path: Path) -> None:
    run = mbgd.fit_table(table(), members=2, out=tmp_path / "r", **NUMBER)
    with pytest.raises(
        PlanError, match=r"init must be one model, got .*r, the mean of 2; give one of them: RUN/models/1"
    ):
        mbgd.fit_table(table(), init=tmp_path / "r", **NUMBER)
    with pytest.raises(PlanError, match="init gives its weights to one model, got it with 3 of them; leave init out"):
        mbgd.fit_table(table(), init=tmp_path / "r" / "models" / "2", members=3, **NUMBER)
    still = {**NUMBER, "learning_rate": 1e-30, "steps": 1, "epochs": None, "schedule": "constant"}
    begun = mbgd.fit_table(table(), init=tmp_path / "r" / "models" / "2", **still)
    assert weights(begun.predictor) == weights(several(run)[1])  # type: ignore[arg-type]


def test_a_class_that_one_model_would_not_see_is_said_before_anything_is_written(tmp_path: Path) -> None:
    data = table().assign(label=["yes"] + ["no"] * 399)
    with pytest.raises(DataError, match="training rows must hold at least two classes, got 'no' alone"):
        mbgd.fit_table(data, folds=3, test="none", out=tmp_path / "r", **LABEL)
    assert not (tmp_path / "r").exists()


def test_models_share_the_seconds_of_a_time_limit() -> None:
    run = mbgd.fit_table(table(), members=2, **{**NUMBER, "epochs": None, "schedule": "constant", "time_limit": 0.2})
    assert [one["ending"] for one in run.models] == ["time", "time"]
    assert all(one["seconds"] >= 0.1 for one in run.models)
    assert run.plan.time_limit == 0.2
