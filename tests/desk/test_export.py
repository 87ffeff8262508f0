"""An exported graph gives, under another runtime, what `predict` and `predict_proba` give, and a refused one is not written."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import mbgd
from mbgd.desk.predictor import of_a_table
from mbgd.errors import PlanError, SavedFileError
from table_models import MODELS, QUICK, frame, trained

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights.parquet"
NO_TIME = np.iinfo(np.int64).min


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def given(predictor: Any, data: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """The inputs of the graph, one a column, by the rules of the docs."""
    inputs = {}
    for name, kind in predictor.columns.items():
        column = data[name]
        if kind == "number":
            values: NDArray[Any] = column.astype(float).to_numpy()
        elif kind == "category":
            values = np.array(["" if pd.isna(text) else str(text) for text in column], dtype=object)
        else:
            values = np.array(pd.to_datetime(column).dt.tz_localize(None), dtype="datetime64[s]").astype(np.int64)
        inputs[name] = values[:, None]
    return inputs


def answers(path: Path, predictor: Any, data: pd.DataFrame) -> dict[str, NDArray[Any]]:
    run = session(path)
    names = [one.name.removesuffix("_0") for one in run.get_outputs()]  # so called where a column has the name
    return dict(zip(names, run.run(None, given(predictor, data)), strict=True))


def check_alike(predictor: Any, data: pd.DataFrame, path: Path) -> None:
    found = answers(path, predictor, data)
    scale = 1.0 if predictor.classes else float(np.max(predictor.target.scale))
    close: dict[str, Any] = {"rel": 1e-5, "abs": 1e-5 * scale}  # float32 in another order, near 0 beside the spread
    if predictor.classes:
        assert set(found) == {"label", "probabilities"}
        p = predictor.predict_proba(data)
        assert found["probabilities"] == pytest.approx(p, **close)
        clear = (
            np.abs(p[:, :2] - (0.5 if predictor.threshold is None else predictor.threshold.probability)).min(1) > 1e-5
        )
        expected = predictor.predict(data)
        assert found["label"][clear].tolist() == expected[clear].tolist()
        assert clear.mean() > 0.9
        return
    assert set(found) == {"prediction"} | ({"quantiles"} if predictor.loss.levels else set())
    expected = predictor.predict(data)
    assert found["prediction"].shape == expected.shape
    assert found["prediction"] == pytest.approx(expected, **close)
    if predictor.loss.levels:
        assert found["quantiles"] == pytest.approx(predictor.predict_quantiles(data), **close)


def strange() -> pd.DataFrame:
    """Rows with nothing, labels never seen, numbers far out, and times of long ago and far ahead."""
    data = frame().astype({"c": object, "part": object, "key": object}).iloc[:16].reset_index(drop=True)
    data.loc[0, ["x", "z", "c", "part", "key", "when"]] = [np.nan, np.nan, None, None, None, pd.NaT]
    data.loc[1, ["c", "part", "key"]] = ["purple", "RED", "k99999"]
    for row, far in enumerate([1e308, -1e308, 1e30, -1e9, 1e8, 1e-300], 2):
        data.loc[row, ["x", "z"]] = [far, -far]
    data["when"] = data["when"].astype("datetime64[us]")
    times = [
        "1900-03-01",
        "2000-02-29 23:59:59",
        "1600-12-31",
        "1969-12-31 23:00",
        "2100-02-28",
        "2100-03-01",
        "2400-02-29",
    ]
    for row, at in enumerate(times, 8):
        data.loc[row, "when"] = datetime.fromisoformat(at)
    return data


@pytest.mark.filterwarnings("ignore::mbgd.errors.DataWarning")  # a key, of which held-out rows have labels of their own
@pytest.mark.parametrize("name", MODELS)
def test_the_graph_predicts_as_the_model_does(name: str, tmp_path: Path) -> None:
    run = trained(name)
    path = mbgd.export(run, tmp_path / "m.onnx")
    check_alike(run.predictor, frame(), path)
    check_alike(run.predictor, strange(), path)
    assert [path] == list(tmp_path.iterdir())


def test_a_saved_model_and_a_run_folder_give_the_same_bytes(tmp_path: Path) -> None:
    run = trained("folds of classes")
    first = mbgd.export(run, tmp_path / "a.onnx").read_bytes()
    saved = run.save(tmp_path / "model.safetensors")
    for model in (saved, tmp_path, mbgd.load(saved), run.predictor):
        assert mbgd.export(model, tmp_path / "b.onnx").read_bytes() == first


def test_inputs_are_the_columns_with_their_types_and_what_they_mean(tmp_path: Path) -> None:
    path = mbgd.export(trained("a number"), tmp_path / "m.onnx")
    inputs = {one.name: one.type for one in session(path).get_inputs()}
    kinds = {"number": "tensor(double)", "category": "tensor(string)", "date": "tensor(int64)"}
    assert inputs == {name: kinds[kind] for name, kind in trained("a number").predictor.columns.items()}
    assert set(inputs.values()) == set(kinds.values())
    said = {one.name: one.doc_string for one in onnx.load(path).graph.input}
    assert said["when"] == f"seconds since 1970-01-01 00:00:00 by the clock of the table; {NO_TIME} where it is missing"
    assert {p.key: p.value for p in onnx.load(path).metadata_props} == {"target": "y", "loss": "squared_error"}


def every_day() -> pd.DataFrame:
    """400 years of days, one row each eighth, at hours that move."""
    days = np.arange(0, 146_097, 8).astype("datetime64[D]") - np.timedelta64(200 * 365, "D")
    when = days.astype("datetime64[s]") + (np.arange(len(days)) * 5_003 % 86_400).astype("timedelta64[s]")
    return pd.DataFrame({"when": when, "y": np.arange(len(days)) % 13 + 0.5})


def test_every_day_of_400_years(tmp_path: Path) -> None:
    data = every_day()
    run = mbgd.fit_table(data, "y", **QUICK | {"epochs": 1, "batch_size": 4096})
    assert run.predictor.encoder is not None
    assert len(run.predictor.encoder.number_names) == 6
    assert len(run.predictor.encoder.code_names) == 4
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.copy_(torch.rand(parameter.shape) - 0.5)  # else a model of a few steps hardly depends on the date
    check_alike(run.predictor, data, mbgd.export(run, tmp_path / "m.onnx"))
    assert np.unique(run.predict(data).round(6)).size > 10_000


def test_numbers_over_thirty_orders_of_magnitude(tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    wide = np.sinh(chance.normal(size=400) * 20)
    data = pd.DataFrame({"wide": wide, "y": np.arcsinh(wide) + chance.normal(size=400)})
    run = mbgd.fit_table(data, "y", **QUICK)
    check_alike(run.predictor, data, mbgd.export(run, tmp_path / "m.onnx"))
    assert np.abs(wide).max() > 1e15
    assert np.std(run.predict(data)) > 1


def test_an_infinite_number_is_the_largest(tmp_path: Path) -> None:
    """`predict` refuses it, which a graph cannot."""
    run = trained("a number")
    data = strange().iloc[2:4]
    path = mbgd.export(run, tmp_path / "m.onnx")
    endless = data.assign(x=[np.inf, -np.inf])
    largest = data.assign(x=[np.finfo(float).max, np.finfo(float).min])
    assert answers(path, run.predictor, endless)["prediction"].tolist() == pytest.approx(run.predict(largest), rel=1e-5)


def test_ties_are_the_first_class_as_in_predict(tmp_path: Path) -> None:
    for target in ("label", "c"):
        run = mbgd.fit_table(frame()[["x", "z", target]], target, **QUICK | {"epochs": 1})
        with torch.no_grad():
            for parameter in run.model.parameters():
                parameter.zero_()
        found = answers(mbgd.export(run, tmp_path / "m.onnx"), run.predictor, frame())
        assert found["label"].tolist() == run.predict(frame()).tolist() == [run.predictor.classes[0]] * 400


@pytest.mark.parametrize("name", ["quantiles", "quantiles without a median"])
def test_quantiles_that_cross_are_put_in_order_as_in_predict(name: str, tmp_path: Path) -> None:
    run = mbgd.fit_table(frame(), **QUICK | MODELS[name] | {"epochs": 1})
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.copy_(torch.randn(parameter.shape) / 3)  # outputs in no order at all
    check_alike(run.predictor, frame(), mbgd.export(run, tmp_path / "m.onnx"))
    assert run.widening is not None
    narrowed = [asdict(pair) | {"by": -50.0} for pair in run.widening.pairs]  # so far inwards that they pass each other
    facts = run.predictor.described() | {"widening": narrowed}
    crossing = of_a_table(facts, run.model, encoder=run.predictor.encoder)
    check_alike(crossing, frame(), mbgd.export(crossing, tmp_path / "m.onnx"))


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "silu"])
def test_models_of_arrays_have_one_input(activation: str, tmp_path: Path) -> None:
    X = torch.randn(60, 4, generator=torch.Generator().manual_seed(3))
    model = mbgd.mlp(4, 3, hidden_layer_sizes=(5, 6), activation=activation)
    run = mbgd.fit(model, (X, (X[:, 0] > 0).long()), loss="log_loss", learning_rate=0.01, epochs=2)
    label, p = session(mbgd.export(run, tmp_path / "m.onnx")).run(None, {"x": X.numpy()})
    assert p == pytest.approx(run.predict_proba(X), rel=1e-5)
    assert label.tolist() == run.predict(X).tolist()


def test_columns_named_as_outputs_keep_their_names(tmp_path: Path) -> None:
    data = frame()[["x", "z", "y"]].rename(columns={"x": "prediction", "z": "number:0"})
    run = mbgd.fit_table(data, "y", **QUICK)
    path = mbgd.export(run, tmp_path / "m.onnx")
    assert [one.name for one in session(path).get_outputs()] == ["prediction_0"]
    assert answers(path, run.predictor, data)["prediction"] == pytest.approx(run.predict(data), rel=1e-5, abs=1e-5)


def test_what_cannot_be_exported_is_said_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = torch.randn(20, 4)
    own = mbgd.fit(nn.Sequential(nn.Linear(4, 1)), (X, X[:, 0]), loss="squared_error", learning_rate=0.01, epochs=1)
    named = mbgd.fit_table(frame()[["x", "z", "y"]].rename(columns={"x": ""}), "y", **QUICK)
    path = tmp_path / "m.onnx"
    for model, to, said in (
        (own, path, "model must be one of mbgd's own, got Sequential; build it by mbgd.mlp"),
        (named, path, "export needs columns with names, got one that is empty; rename it and train again"),
        (
            trained("a number"),
            tmp_path / "m.pt",
            f"path must end with .onnx, got {tmp_path / 'm.pt'}; name it model.onnx",
        ),
        (
            3,
            path,
            "model must be a run, a fitted estimator of mbgd, a loaded model or a path, got int; give one of those",
        ),
    ):
        with pytest.raises(PlanError) as caught:
            mbgd.export(model, to)
        assert str(caught.value) == said
    with pytest.raises(SavedFileError, match=r"must hold model.safetensors, got none; it is no run"):
        mbgd.export(tmp_path, path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(PlanError, match=r"needs the package onnx, which is not installed; pip install 'mbgd\[onnx\]'"):
        mbgd.export(trained("a number"), path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [{"target": "arr_delay"}, {"target": "carrier", "members": 2}], ids=["number", "classes"]
)
def test_the_flights(words: dict[str, Any], tmp_path: Path) -> None:
    data = pd.read_parquet(FLIGHTS).dropna(subset=["arr_delay"]).iloc[::20].reset_index(drop=True)
    data["time_hour"] = data["time_hour"].dt.tz_localize(None)
    run = mbgd.fit_table(data, **words, epochs=2)
    check_alike(run.predictor, data, mbgd.export(run, tmp_path / "m.onnx"))
