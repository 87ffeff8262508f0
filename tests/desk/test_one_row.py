"""`predict_one` is `predict` of a table of one row, for every kind of column and model, and a serving process needs no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mbgd
from mbgd.errors import DataError, PlanError, SavedFileError
from table_models import MODELS, QUICK, frame, rows, trained


def alone(row: dict[str, Any]) -> dict[str, list[Any]]:
    """The table of one row; what a model was trained on but is not in a row is given as missing to both."""
    return {name: [value] for name, value in row.items()}


@pytest.mark.parametrize("name", MODELS)
def test_one_row_is_predicted_as_a_table_of_it(name: str, tmp_path: Path) -> None:
    run = trained(name)
    light = mbgd.load_light(run.save(tmp_path / "m.safetensors"))
    assert light.columns == run.predictor.columns
    assert light.classes == run.predictor.classes
    spare = dict.fromkeys({*run.predictor.columns} - {*rows()[0]})
    for row in (spare | row for row in rows()):
        expected = run.predict(alone(row))[0]
        for model in (light, run, mbgd.load(tmp_path / "m.safetensors")):
            found = model.predict_one(row)
            if run.predictor.classes:
                assert found == expected
                assert type(found) in (str, int, bool)
                p = run.predict_proba(alone(row))[0]
                assert model.predict_proba_one(row) == pytest.approx(p, rel=1e-5, abs=1e-7)  # sums of float32
            else:
                assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)
        if run.predictor.loss.levels:
            q = run.predict_quantiles(alone(row))[0]
            for model in (light, run):
                assert model.predict_quantiles_one(row) == pytest.approx(q, rel=1e-5, abs=1e-5)


def test_predictions_of_the_test_differ_from_row_to_row() -> None:
    """Else the law above would hold for a constant."""
    run = trained("a number")
    assert len({round(run.predict_one(row | {"label": None, "count": 1, "truth": None}), 6) for row in rows()}) == 7


def test_what_a_table_of_the_row_is_refused_for_the_row_is_refused_for() -> None:
    run = mbgd.fit_table(frame()[["x", "z", "c", "when", "y"]], target="y", **QUICK)
    row = {"x": 1.0, "z": 2.0, "c": "red", "when": "2024-01-01"}
    for change, said in (
        ({"x": float("inf")}, "the data frame: row 1, column 'x': inf is not finite"),
        ({"x": "much"}, "the data frame: row 1, column 'x': 'much' is not a number"),
        ({"when": "noon"}, "the data frame: row 1, column 'when': 'noon' is not a date"),
    ):
        with pytest.raises(DataError) as caught:
            run.predict_one(row | change)
        assert str(caught.value).startswith(said)
    del row["c"]
    with pytest.raises(DataError, match="column 'c' is missing, the model was trained with it"):
        run.predict_one(row)
    with pytest.raises(DataError, match="row must be a mapping of column to value, got list; predict takes tables"):
        run.predict_one([1.0, 2.0])


def test_other_questions_than_the_model_answers_are_refused() -> None:
    number = mbgd.fit_table(frame()[["x", "z", "y"]], target="y", **QUICK).predictor
    with pytest.raises(PlanError, match="predict_proba_one needs a model of classes"):
        number.predict_proba_one({"x": 1.0, "z": 1.0})
    with pytest.raises(PlanError, match="predict_quantiles_one needs a model of quantiles"):
        number.predict_quantiles_one({"x": 1.0, "z": 1.0})


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "log_loss", "hinge", nn.CrossEntropyLoss()])
@pytest.mark.parametrize("outputs", [1, 3])
def test_models_of_arrays_take_a_sequence_of_numbers(loss: Any, outputs: int, tmp_path: Path) -> None:
    if outputs == 1 and not isinstance(loss, str):
        return
    X = torch.randn(60, 4, generator=torch.Generator().manual_seed(3))
    labels = not isinstance(loss, str) or loss in ("log_loss", "hinge")
    y = (X[:, 0] > 0).long() if labels else X[:, :outputs].abs() if outputs > 1 else X[:, 0].abs()
    run = mbgd.fit(mbgd.mlp(4, outputs, hidden_layer_sizes=(5,)), (X, y), loss=loss, learning_rate=0.01, epochs=2)
    light = mbgd.load_light(run.save(tmp_path / "m.safetensors"))
    assert light.classes == run.predictor.classes
    for row in X[:5]:
        expected = run.predict(row[None])[0]
        for model in (run, light):
            assert model.predict_one(row.tolist()) == pytest.approx(expected, rel=1e-5, abs=1e-6)
        if labels:
            assert light.predict_proba_one(row.numpy()) == pytest.approx(run.predict_proba(row[None])[0], rel=1e-5)
    with pytest.raises(DataError, match=r"row must hold 4 numbers, got shape \(3,\); give one an input"):
        light.predict_one([1, 2, 3])


def test_a_module_of_ones_own_is_refused(tmp_path: Path) -> None:
    X = torch.randn(20, 4)
    run = mbgd.fit(nn.Sequential(nn.Linear(4, 1)), (X, X[:, 0]), loss="squared_error", learning_rate=0.01, epochs=1)
    with pytest.raises(PlanError, match="model must be one of mbgd's own, got Sequential"):
        run.predict_one([1, 2, 3, 4])
    with pytest.raises(SavedFileError, match=r"holds the weights of a module of your own, torch.*Sequential"):
        mbgd.load_light(run.save(tmp_path / "m.safetensors"))
    with pytest.raises(SavedFileError, match=r"must hold model.safetensors, got none; it is no run"):
        mbgd.load_light(tmp_path)


def test_further_training_is_seen() -> None:
    X = torch.randn(20, 4)
    model = mbgd.mlp(4)
    run = mbgd.fit(model, (X, X[:, 0]), loss="squared_error", learning_rate=0.01, epochs=1)
    before = run.predict_one(X[0])
    mbgd.fit(model, (X, X[:, 0]), loss="squared_error", learning_rate=0.01, epochs=5)
    assert run.predict_one(X[0]) != before
    assert run.predict_one(X[0]) == pytest.approx(run.predict(X[:1])[0], rel=1e-5)


def test_a_process_that_only_serves_imports_no_torch(tmp_path: Path) -> None:
    run = trained("folds of classes")
    path, row = run.save(tmp_path / "m.safetensors"), rows()[0] | {"count": 1}
    code = """
import json, sys
import mbgd
model = mbgd.load_light(sys.argv[1])
found = model.predict_proba_one(json.loads(sys.argv[2])).tolist()
print(json.dumps([found, sorted({"torch", "pyarrow", "numba", "pandas", "scipy"} & set(sys.modules))]))
"""
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in row.items()}
    done = subprocess.run(
        [sys.executable, "-c", code, path, json.dumps(plain)], check=True, capture_output=True, text=True
    )
    found, heavy = json.loads(done.stdout)
    assert found == pytest.approx(run.predict_proba(alone(row))[0], rel=1e-5)
    assert heavy == []
