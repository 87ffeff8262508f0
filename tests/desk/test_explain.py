"""`mbgd.explain`: what a trained model is told of itself is what its own predictions say, whatever the task and the data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics

import mbgd
from command import table
from mbgd.desk import explain as module
from mbgd.errors import DataError, PlanError, SavedFileError
from mbgd.store import finite

NUMBER: dict[str, Any] = {
    "target": "y",
    "drop": ("label", "key", "group", "part", "two"),
    "epochs": 12,
    "batch_size": 32,
}
LABEL: dict[str, Any] = {**NUMBER, "target": "label", "drop": ("y", "key", "group", "part", "two")}
MEDIAN: dict[str, Any] = {**NUMBER, "quantiles": (0.1, 0.5, 0.9), "validation": 0.2}
COLOUR: dict[str, Any] = {**NUMBER, "target": "c", "drop": ("label", "key", "group", "part", "two")}

TASKS = {"y": NUMBER, "label": LABEL, "c": COLOUR, "q": MEDIAN}


def dated(seed: int = 1) -> pd.DataFrame:
    return table(seed=seed).assign(when=lambda data: pd.to_datetime(data["when"]))


@pytest.fixture(scope="module")
def runs() -> dict[str, mbgd.Run]:
    return {name: mbgd.fit_table(dated(), **how) for name, how in TASKS.items()}


@pytest.fixture(scope="module")
def found(runs: dict[str, mbgd.Run]) -> dict[str, Any]:
    return {name: mbgd.explain(run, dated(seed=5), rows=12) for name, run in runs.items()}


def numbers(run: mbgd.Run, data: pd.DataFrame, of: Any = None) -> np.ndarray:
    """What is explained: predictions, the probability of the second class, or of each row's class in `of`."""
    if not run.predictor.classes:
        return run.predict(data)
    share = run.predict_proba(data)
    if of is None:
        return share[:, 1]
    return share[np.arange(len(data)), [run.predictor.classes.index(label) for label in of]]


@pytest.mark.parametrize("name", TASKS)
def test_contributions_add_up_to_the_predictions(runs: dict[str, mbgd.Run], found: dict[str, Any], name: str) -> None:
    run, said, data = runs[name], found[name].contributions, dated(seed=5)
    expected = numbers(run, data[:12], said.found if name == "c" else None)
    assert said.predictions == pytest.approx(expected, rel=1e-5, abs=1e-6)  # float32, rows of other batches
    assert said.base + sum(said.columns.values()) == pytest.approx(said.predictions, abs=1e-10)
    assert set(said.columns) == set(run.predictor.encoder.columns)  # type: ignore[union-attr]
    if name == "c":
        assert list(said.found) == run.predict(data)[:12].tolist()
    names = list(said.to_table().column_names)
    assert names == [*(["class"] if name == "c" else []), "prediction", "base", *said.columns]
    assert said.to_table().num_rows == len(said) == 12


@pytest.mark.parametrize("power", [-664, 490])  # about 1e-200 and 1e147, whose squares are no numbers, or all but
def test_scores_and_importance_know_no_unit(power: int) -> None:
    data = dated()
    data["y"] = np.rint(data["y"] * 1024) / 1024  # exact in any unit that is a power of two
    ends = []
    for unit in (1.0, 2.0**power):
        own = data.assign(y=data["y"] * unit)
        run = mbgd.fit_table(own, **{**NUMBER, "epochs": 2})
        told = mbgd.explain(run, own, rows=2, repeats=2)
        r2 = {one.column: one.r2 for one in told.importance}
        ends.append((run.scores["test"]["r2"], run.baselines["linear"]["r2"], run.scores["test"]["rmse"] / unit, r2))
    assert ends[0] == ends[1]  # to the bit: no digit is touched
    assert list(ends[0][3]) == list(ends[1][3])
    assert ends[0][0] > 0.3


@pytest.mark.parametrize("name", TASKS)
def test_importance_is_that_of_shuffled_columns_of_the_table(
    runs: dict[str, mbgd.Run], found: dict[str, Any], name: str
) -> None:
    """Shuffled in the frame and predicted anew; a date, its waves and all, is one column, so is a value with its flag."""
    run, data, chance = runs[name], dated(seed=5), np.random.default_rng(0)

    def loss(there: pd.DataFrame) -> float:
        if name in ("y", "q"):
            return float(metrics.mean_squared_error(data["y"], run.predict(there)))
        return float(metrics.log_loss(data[name], run.predict_proba(there), labels=list(run.predictor.classes)))

    before = loss(data)
    for one in found[name].importance:
        shuffled = [
            data.assign(**{one.column: data[one.column].to_numpy()[chance.permutation(400)]}) for _ in range(20)
        ]
        rises = [loss(there) - before for there in shuffled]
        # five shuffles of ours, ten of these: each is the same mean over pairs of these rows, but for which pairs were drawn
        error = np.std(rises) * np.sqrt(1 / 5 + 1 / 10)
        assert one.loss.estimate == pytest.approx(np.mean(rises), abs=4 * error + 1e-6), one.column
        assert one.loss.low < one.loss.estimate < one.loss.high
        if name in ("y", "q"):
            assert one.r2.estimate == pytest.approx(one.loss.estimate / data["y"].var(ddof=0), rel=1e-9)
        else:
            assert one.r2 is None
    order = [one.loss.estimate for one in found[name].importance]
    assert order == sorted(order, reverse=True)
    if name in ("y", "q"):
        assert [one.column for one in found[name].importance][:2] == ["x", "z"]  # y = 2 x - z + 1.5 (c is red)
        assert found[name].scores["r2"] == pytest.approx(metrics.r2_score(data["y"], run.predict(data)), rel=1e-5)
    said = "of the quantiles the median is explained, as predict says it"
    assert (said in found[name].notices) == (found[name].explained == "median of y") == (name == "q")


def test_dependence_is_the_mean_prediction_of_a_frame_with_that_value(
    runs: dict[str, mbgd.Run], found: dict[str, Any]
) -> None:
    data = dated(seed=5)
    for name in TASKS:
        for one in found[name].dependence:
            assert len(one.values) == len(one.means) <= 21
            for value, means in list(zip(one.values, one.means, strict=True))[:: 1 if one.kind == "category" else 7]:
                there = data.assign(**{one.column: value})
                expected = runs[name].predict_proba(there) if name == "c" else numbers(runs[name], there)
                assert means == pytest.approx(expected.mean(axis=0), rel=1e-4, abs=1e-5), (one.column, value)
    kinds = {one.column: one for one in found["y"].dependence}
    assert kinds["x"].values[-1] is None  # gaps are a value of their own
    assert sorted(kinds["c"].values) == ["blue", "green", "red"]
    assert kinds["when"].values[0].startswith("2024-01-01")


@pytest.mark.parametrize("name", TASKS)
def test_of_several_models_it_is_their_mean_that_is_explained(name: str) -> None:
    """Folds have encoders of their own, each with other quantiles, and models of one fold the same."""
    how = TASKS[name] if name != "q" else {**NUMBER, "quantiles": (0.1, 0.4, 0.7, 0.9)}  # without a median among them
    data, new = dated(), dated(seed=5)
    run = mbgd.fit_table(data, **{**how, "folds": 2, "members": 2, "epochs": 2})
    said = mbgd.explain(run, new, rows=3, repeats=1, columns=["x", "when"])
    found = said.contributions
    expected = numbers(run, new[:3], found.found if name == "c" else None)
    assert found.predictions == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert found.base + sum(found.columns.values()) == pytest.approx(found.predictions, abs=1e-10)
    for one in said.dependence:
        there = new.assign(**{one.column: one.values[3]})
        mean = (run.predict_proba(there) if name == "c" else numbers(run, there)).mean(axis=0)
        assert one.means[3] == pytest.approx(mean, rel=1e-4, abs=1e-5)


def test_columns_are_measured_alone_and_give_the_same(runs: dict[str, mbgd.Run], found: dict[str, Any]) -> None:
    alone = mbgd.explain(runs["y"], dated(seed=5), columns=["c", "x"], rows=0)
    assert {one.column for one in alone.importance} == {"c", "x"} == {one.column for one in alone.dependence}
    assert [one for one in found["y"].importance if one.column in ("c", "x")] == list(alone.importance)
    assert len(alone.contributions) == 0
    assert alone.contributions.to_table().num_rows == 0


def test_the_seed_and_the_repeats_are_all_the_chance_there_is(runs: dict[str, mbgd.Run]) -> None:
    def asked(**how: Any) -> list[float]:
        said = mbgd.explain(runs["y"], dated(seed=5), columns=["z"], rows=1, **how)
        return [said.importance[0].loss.estimate, *(float(v[0]) for v in said.contributions.columns.values())]

    assert asked() == asked()
    assert asked() != asked(seed=1)
    assert asked()[0] != asked(repeats=1)[0]


def test_without_a_target_predictions_are_what_is_moved(runs: dict[str, mbgd.Run]) -> None:
    """For numbers the mean square of how far they move, for classes the divergence of the probabilities."""
    data, chance = dated(seed=5), np.random.default_rng(0)
    for name in ("y", "label"):
        for bare in (data.drop(columns=name), data.assign(**{name: None})):
            said = mbgd.explain(runs[name], bare, columns=["x"], rows=0)
            assert (said.against, said.scores) == ("predictions", {})
            assert said.notices[0] == (
                f"the data has no {name}: importance is how far predictions move, not what scores lose"
            )
            there = data.assign(x=data["x"].to_numpy()[chance.permutation(400)])
            if name == "y":
                moved = np.square(runs[name].predict(there) - runs[name].predict(data)).mean()
            else:
                p, q = runs[name].predict_proba(data), runs[name].predict_proba(there)
                moved = (p * np.log(p / q)).sum(axis=1).mean()
            assert said.importance[0].loss.estimate == pytest.approx(moved, rel=0.25)  # one shuffle of 400 rows: 5 %


def test_rows_without_a_target_still_have_contributions(runs: dict[str, mbgd.Run]) -> None:
    data = dated(seed=5)
    data.loc[:99, "y"] = np.nan
    said = mbgd.explain(runs["y"], data, rows=3)
    assert said.notices[0] == "100 rows without y are left out, but for contributions"
    assert (said.rows, said.measured_rows) == (400, 300)
    but_one = dated(seed=5)
    but_one.loc[7, "y"] = np.nan
    one = mbgd.explain(runs["y"], but_one, rows=0)
    assert one.notices[0] == "1 row without y is left out, but for contributions"
    assert said.contributions.predictions == pytest.approx(runs["y"].predict(data[:3]), rel=1e-5)


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 120)
    monkeypatch.setattr(module, "LEAST_ROWS", 50)
    monkeypatch.setattr(module, "MOST_PREDICTIONS", 1_000)


@pytest.mark.usefixtures("_few")
def test_more_rows_than_a_rule_allows_are_sampled_and_it_is_said(runs: dict[str, mbgd.Run]) -> None:
    for how, rows in (({"columns": ["x"]}, 120), ({"columns": ["x", "z"]}, 100), ({}, 50)):
        said = mbgd.explain(runs["y"], dated(seed=5), rows=0, **how)
        assert said.measured_rows == rows
        assert f"importance is measured on {rows} of 400 rows, drawn by the seed" in said.notices


def test_columns_that_move_together_are_named() -> None:
    data = table()[["x", "z", "y"]].assign(twin=lambda d: np.exp(d["z"]))
    run = mbgd.fit_table(data, "y", epochs=1)
    assert mbgd.explain(run, data, rows=0).notices == (
        "z and twin move together (rank correlation 1.00): with one shuffled, the other still tells, so that either may be "
        "worth more than it seems",
    )


def test_rows_that_trained_the_model_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in ((1, "t.csv"), (2, "new.csv")):
        dated(seed).to_csv(name, index=False)
    run = mbgd.fit_table("t.csv", out="r", **{**NUMBER, "epochs": 1})
    said = "most of these rows trained the model: columns may be worth less on rows that it has not seen"
    for model in (run, "r", Path("r")):
        assert said in mbgd.explain(model, "t.csv", rows=0).notices
        assert said not in mbgd.explain(model, "new.csv", rows=0).notices
    assert said not in mbgd.explain("r/model.safetensors", "t.csv", rows=0).notices
    one, two = (mbgd.explain(model, "new.csv", rows=2).to_json() for model in (run, "r/model.safetensors"))
    assert one == two


def test_json_holds_it_all(found: dict[str, Any]) -> None:
    for name, said in found.items():
        plain = json.loads(json.dumps(finite(said.to_json())))
        assert plain["target"] == TASKS[name]["target"]
        assert len(plain["importance"]) == len(said.importance)
        loss = "log_loss" if said.classes else "mse"
        assert plain["importance"][0][loss]["estimate"] == said.importance[0].loss.estimate
        assert ("r2" in plain["importance"][0]) == (not said.classes)
        first = plain["contributions"][0]
        assert first["base"] + sum(first["columns"].values()) == pytest.approx(first["prediction"])
        assert first["row"] == 1
        assert ("class" in first) == (name == "c")


def test_wrong_words_and_rows_are_one_sentence(runs: dict[str, mbgd.Run], tmp_path: Path) -> None:
    run, data = runs["y"], dated(seed=5)
    for words, kind, said in [
        ({"columns": ["xx"]}, PlanError, "column must be an input of the model, got 'xx'; did you mean 'x'?"),
        ({"columns": ["y"]}, PlanError, "column must be an input of the model, got 'y'; it has x, z, c, when"),
        ({"rows": -1}, PlanError, "rows must be a whole number of at least 0, got -1; 10 is usual"),
        ({"repeats": 0}, PlanError, "repeats must be a whole number of at least 1, got 0; 5 is usual"),
        ({"seed": 1.5}, PlanError, "seed must be a whole number of at least 0, got 1.5; 0 is usual"),
        ({"data": data.drop(columns="x")}, DataError, "column 'x' is missing, the model was trained with it"),
        ({"data": data[:0]}, DataError, "there are no rows; a table needs at least one"),
        ({"data": data[:1]}, DataError, "explain must have at least 2 rows to compare, got 1; add rows"),
        ({"data": data.assign(z=np.inf)}, DataError, "column 'z': inf is not finite"),
        ({"model": 3}, PlanError, "model must be a run, a predictor or the path of one, got int; "),
        ({"model": tmp_path}, SavedFileError, "must hold model.safetensors, got none; it is no run"),
    ]:
        given: dict[str, Any] = {"model": run, "data": data, **words}
        with pytest.raises(kind) as caught:
            mbgd.explain(**given)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
    x = torch.randn(40, 3)
    other = mbgd.fit(torch.nn.Linear(3, 1), (x, x.sum(1)), loss="squared_error", epochs=1, learning_rate=0.1)
    with pytest.raises(PlanError, match="model must be one of a table, got one whose inputs have no names"):
        mbgd.explain(other, data)


def test_a_file_of_contributions_has_names_of_its_own(found: dict[str, Any]) -> None:
    said = found["y"].contributions
    clash = replace(said, columns={"base": said.base})
    with pytest.raises(PlanError, match="a file of contributions has a column base of its own, as the data has"):
        clash.to_table()


def test_several_targets_are_refused() -> None:
    chance = np.random.default_rng(0)
    frame = pd.DataFrame(chance.normal(size=(120, 3)), columns=["x", "y", "z"])
    run = mbgd.fit_table(frame, ("y", "z"), epochs=1, hidden_layer_sizes=(4,))
    said = "^model must predict one number or classes to be explained, got one of several targets; "
    with pytest.raises(PlanError, match=said):
        mbgd.explain(run, frame)
