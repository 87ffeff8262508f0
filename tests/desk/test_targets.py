"""`fit_table(target=(...))`: an output a target, each in its own units and range; one alone is what it always was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

import mbgd
from command import table
from mbgd.desk.table import by_size, read_rows
from mbgd.desk.table_plan import table_plan
from mbgd.desk.table_run import TableRun
from mbgd.errors import DataError, PlanError

DROPPED = ("label", "key", "when", "group", "part", "two")
HOW: dict[str, Any] = {"epochs": 6, "batch_size": 32, "hidden_layer_sizes": (16,), "learning_rate": 0.02}
BOTH: dict[str, Any] = {"target": ("y", "far"), "drop": DROPPED, **HOW}


def two(n: int = 400) -> pd.DataFrame:
    """Another target of other units, large and far from 0."""
    data = table(n)
    data["far"] = 1e6 + 1e4 * (data["z"] + 0.2 * data["y"])
    return data


def weights(run: mbgd.Run) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in run.model.parameters())


def test_scores_of_each_and_their_mean_are_those_of_the_predictions() -> None:
    data = two()
    sets, run = read_rows(data, table_plan(BOTH)).sets, mbgd.fit_table(data, **BOTH)
    assert run.engine == "fused"
    found, y = run.predict(data), data[["y", "far"]].to_numpy()
    assert found.shape == (400, 2)
    for name, held in (("validation", sets.validation), ("test", sets.test)):
        said = run.scores[name]
        for place, target in enumerate(("y", "far")):
            a, b = y[held, place], found[held, place]
            # float32: 400 rows at once and 80 may differ in their last digits
            assert said[f"r2_{target}"] == pytest.approx(metrics.r2_score(a, b), rel=1e-4)
            assert said[f"rmse_{target}"] == pytest.approx(metrics.root_mean_squared_error(a, b), rel=1e-4)
            assert said[f"mae_{target}"] == pytest.approx(metrics.mean_absolute_error(a, b), rel=1e-4)
        for score in ("r2", "rmse", "mae"):
            assert said[score] == pytest.approx((said[f"{score}_y"] + said[f"{score}_far"]) / 2, rel=1e-9)
    assert min(run.scores["test"]["r2_y"], run.scores["test"]["r2_far"]) > 0.5
    assert run.resolved["metric"] == "r2"  # a mean of errors in two units would be that of the larger unit
    assert run.baselines["mean"]["r2_far"] == pytest.approx(
        metrics.r2_score(y[sets.test, 1], np.full(len(sets.test), y[sets.training, 1].mean()))
    )
    assert set(run.baselines["linear"]) == set(run.scores["test"]) - {"loss"}


def test_each_target_is_learned_standardised_by_training_rows_and_the_loss_of_a_row_is_their_mean() -> None:
    data, plan = two(), table_plan(BOTH)
    rows = read_rows(data, plan)
    plan = by_size(plan, rows)
    run = TableRun(rows, plan, None, None)
    parts = run.parts(rows.sets.training, rows.sets.validation)
    y = data[["y", "far"]].to_numpy()
    seen = y[rows.sets.training]
    expected = (y - seen.mean(0)) / seen.std(0)
    learned = parts.source.read(slice(0, 400))
    assert learned.y is not None
    assert learned.y.numpy() == pytest.approx(expected, abs=1e-4)  # float32 of numbers of size 1
    assert (rows.target.low, rows.target.high) == (pytest.approx(seen.min(0)), pytest.approx(seen.max(0)))
    output = learned.y * 0.5
    by_hand = [((a / 2) ** 2 + (b / 2) ** 2) / 2 for a, b in learned.y.double().tolist()]
    assert parts.loss.per_row(output, learned.y).tolist() == pytest.approx(by_hand, rel=1e-5)


def test_predictions_of_each_stay_among_its_own_training_targets() -> None:
    data = two()
    run, sets = mbgd.fit_table(data, **BOTH), read_rows(data, table_plan(BOTH)).sets
    seen = data[["y", "far"]].to_numpy()[sets.training]
    wild = data.assign(x=np.where(np.arange(400) % 2, 1e6, -1e6), z=1e6)
    found = run.predict(wild)
    assert (found >= seen.min(0)).all()
    assert (found <= seen.max(0)).all()
    both = mbgd.fit_table(data, refit=True, **BOTH).predictor.target
    assert both is not None
    seen = data[["y", "far"]].to_numpy()[np.concatenate([sets.training, sets.validation])]
    assert (np.array(both.low), np.array(both.high)) == (pytest.approx(seen.min(0)), pytest.approx(seen.max(0)))


def test_one_target_in_a_tuple_is_one_target_to_the_last_bit(tmp_path: Path) -> None:
    words = {"drop": (*DROPPED, "far"), **HOW}
    paths = []
    for name, target in (("a", "y"), ("b", ("y",)), ("c", ["y"])):
        run = mbgd.fit_table(two(), target, out=tmp_path / name, **words)  # type: ignore[arg-type]
        assert run.predict(two()).shape == (400,)
        paths.append(tmp_path / name / "model.safetensors")
    assert paths[0].read_bytes() == paths[1].read_bytes() == paths[2].read_bytes()


def test_saved_and_loaded_resumed_and_taken_over(tmp_path: Path) -> None:
    data, folder = two(), tmp_path / "r"
    run = mbgd.fit_table(data, out=folder, checkpoint_every=7, **BOTH)
    whole, found = (folder / "model.safetensors").read_bytes(), run.predict(data)
    again = mbgd.load(folder)
    assert again.predict(data).tolist() == found.tolist()
    assert again.target is not None
    assert again.target.names == ("y", "far")
    assert json.loads((folder / "plan.json").read_text())["plan"]["target"] == ["y", "far"]
    for name in ("result.json", "model.safetensors"):
        (folder / name).unlink()
    mbgd.resume(folder, data=data)
    assert (folder / "model.safetensors").read_bytes() == whole
    assert mbgd.fit_table(data, init=folder, **{**BOTH, "epochs": 1}).predict(data).shape == (400, 2)
    with pytest.raises(
        PlanError, match="init must be a model of the target 'far, y', got .*r, which predicts 'y, far'"
    ):
        mbgd.fit_table(data, init=folder, **{**BOTH, "target": ("far", "y")})


def test_rows_that_lack_any_of_the_targets_are_left_out_and_counted() -> None:
    data = two()
    data.loc[:19, "y"] = np.nan
    data.loc[15:29, "far"] = np.nan
    run = mbgd.fit_table(data, **BOTH)
    assert run.resolved["rows"] == 370
    assert "30 rows without y or far are left out" in run.notices
    assert np.isfinite(run.predict(data)).all()  # predicted are all


def test_targets_are_no_inputs_and_their_order_is_that_of_the_outputs() -> None:
    data = two()
    run = mbgd.fit_table(data, **BOTH)
    assert run.predictor.encoder is not None
    assert set(run.predictor.encoder.columns) == {"x", "z", "c"}
    other = mbgd.fit_table(data, **{**BOTH, "target": ("far", "y")})
    assert other.predict(data)[:, 0].mean() == pytest.approx(1e6, rel=0.1)
    assert run.predict(data)[:, 1].mean() == pytest.approx(1e6, rel=0.1)


def test_names_with_commas_can_be_given_from_python() -> None:
    data = two().rename(columns={"y": "price, EUR", "far": "a,b"})
    run = mbgd.fit_table(data, **{**BOTH, "target": ("price, EUR", "a,b")})
    assert "r2_price, EUR" in run.scores["test"]
    assert mbgd.fit_table(data, **{**BOTH, "target": "a,b"}).predict(data).shape == (400,)


def test_a_column_that_explains_one_of_them_alone_is_named() -> None:
    data = two().assign(late=lambda d: d["far"] * 2)
    said = [notice for notice in mbgd.fit_table(data, **BOTH).notices if "alone explains" in notice]
    assert "column late alone explains 99.8 % of far: is it known when you predict?" in said
    assert not any("late" in notice and "of y" in notice for notice in said)


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "poisson"])
def test_other_losses_of_numbers(loss: str) -> None:
    data = two().assign(y=lambda d: d["y"].abs(), far=lambda d: d["far"] / 1e6)
    run = mbgd.fit_table(data, loss=loss, **BOTH)
    assert run.engine == "fused"
    assert run.history["loss"][-1] < run.history["loss"][0]
    assert (run.scores["test"]["r2"] > 0.2) == (loss != "poisson")  # the log link takes longer


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        ({"target": ("y", "label"), "drop": ()}, PlanError,
         "several targets must be numbers, got the classes of 'label'"),
        ({"task": "classification"}, PlanError, "several targets must be numbers, got task='classification'; train"),
        ({"target": ("y", "y")}, PlanError, r"target must name different columns, got \('y', 'y'\); name each of them once"),
        ({"target": ()}, PlanError, r"target must name different columns, got \(\); name each of them once"),
        ({"target": ("y", 3)}, PlanError, r"target must be a name or names, got \('y', 3\); name a column of the table"),
        ({"target": ("y", "farr")}, DataError, "the data frame: there is no column 'farr'; did you mean 'far'"),
        ({"quantiles": (0.1, 0.9)}, PlanError, "quantiles need one target, got 2: y, far; train a model for each, or leave"),
        ({"threshold_for": "f1"}, PlanError, "threshold_for needs a target of two classes, got numbers of 'y, far'"),
        ({"class_weight": "balanced"}, PlanError, "class_weight belongs to classification, got a target of numbers"),
        ({"loss": "log_loss"}, PlanError, "loss must be one of numbers for the numbers of 'y, far', got 'log_loss'"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_several_targets_is_refused(
    words: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=f"^{said}"):
        mbgd.fit_table(two(), **{**BOTH, **words})
