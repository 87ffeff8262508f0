"""One reading, every door: the same rows give the same model and the same predictions, however they are handed over."""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mbgd
from door_tables import DOORS, DrawnTable, N, tables
from mbgd.cli.app import app

QUICK: dict[str, Any] = {"epochs": 2, "hidden_layer_sizes": (4,), "batch_size": 16, "threads": 1, "seed": 5}
SETTINGS: dict[str, Any] = {
    "suppress_health_check": list(HealthCheck),
    "derandomize": True,
    "database": None,
    "report_multiple_bugs": False,
}
NO_TIME = np.iinfo(np.int64).min
CLOSE = 1e-4
"""Of the spread of the predictions: float32 sums in another order, times the steepness of a network of four units."""


def trained(table: DrawnTable, door: str, folder: Path) -> mbgd.Run:
    data = DOORS[door]([*table.columns, table.target], folder)
    return mbgd.fit_table(data, "y", categorical=table.categorical, **QUICK)


def numbers(model: Any, data: Any) -> np.ndarray:
    """What is compared: means, or the probability of each class."""
    return np.asarray(model.predict_proba(data) if model.classes else model.predict(data))


def off(found: Any, wanted: np.ndarray) -> float:
    """The largest difference as a share of the spread."""
    found = np.asarray(found, dtype=np.float64)
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / max(float(np.std(wanted)), 1e-6))


def one_by_one(model: Any, rows: list[dict[str, Any]]) -> np.ndarray:
    return np.stack([model.predict_proba_one(r) if model.classes else model.predict_one(r) for r in rows])


def by_onnx(model: Any, table: DrawnTable, folder: Path) -> np.ndarray:
    """The graph, given each column by the rules of docs/serving.md."""
    path = mbgd.export(model, folder / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    run = onnxruntime.InferenceSession(path, options)
    wanted, inputs = {one.name for one in run.get_inputs()}, {}
    for column in table.columns:
        if column.name not in wanted:
            continue
        kind = model.columns[column.name]
        if kind == "number":
            values: Any = np.array([np.nan if v is None else float(v) for v in column.values])
        elif kind == "date":
            values = np.array([NO_TIME if v is None else np.datetime64(v, "s").astype(np.int64) for v in column.values])
        else:
            values = np.array(["" if v is None else str(v).lower() if v in (True, False) and v is not v + 0 else str(v)
                               for v in column.values], dtype=object)  # fmt: skip
        inputs[column.name] = values[:, None]
    return np.asarray(run.run(["probabilities" if model.classes else "prediction"], inputs)[0])


def by_command(model_file: Path, data: Path, classes: tuple[Any, ...], folder: Path) -> np.ndarray:
    out = folder / "predictions.parquet"
    app(["predict", str(model_file), str(data), "--out", str(out), "--force"], standalone_mode=False)
    found = pq.read_table(out)
    if not classes:
        return np.asarray(found.column("prediction"))
    return np.stack([np.asarray(found.column(name)) for name in found.column_names[1:]], axis=1)


def check(table: DrawnTable, doors: list[str], folder: Path) -> None:
    """Train by the first door and by the second, predict by all of them and by every way that a model is kept."""
    inputs = list(table.columns)
    first, second = doors[:2]
    model = trained(table, first, folder).predictor
    facts = {fact["name"]: fact for fact in model.encoder.describe()}
    for column in table.columns:
        fact = facts[column.name]
        assert fact["missing"] == column.gaps, (first, fact)
        left_out = fact["kind"] == "left out" and fact["why"] in ("one value only", "every value is missing")
        assert fact["kind"] == column.kind or left_out, (first, fact)
    wanted = numbers(model, DOORS[first](inputs, folder))
    assert np.isfinite(wanted).all()
    again = trained(table, second, folder).predictor
    assert tuple(map(str, again.classes)) == tuple(map(str, model.classes)), doors
    apart = {f"trained by {second}": off(numbers(again, DOORS[first](inputs, folder)), wanted)}
    apart |= {door: off(numbers(model, DOORS[door](inputs, folder)), wanted) for door in doors[1:]}
    path = model.save(folder / "model.safetensors")
    light, some = mbgd.load_light(path), slice(0, N, 6)
    kept = {
        "loaded": numbers(mbgd.load(path), DOORS[second](inputs, folder)),
        "pickled": numbers(pickle.loads(pickle.dumps(model)), DOORS[second](inputs, folder)),
        "command": by_command(path, DOORS["CSV"](inputs, folder), model.classes, folder),
        "ONNX": by_onnx(model, table, folder),
    }
    apart |= {way: off(found, wanted) for way, found in kept.items()}
    rows = {
        "one row": one_by_one(model, table.rows()[some]),
        "one row of text": one_by_one(model, table.rows_of_text()[some]),
        "light": one_by_one(light, table.rows()[some]),
        "light, of text": one_by_one(light, table.rows_of_text()[some]),
    }
    apart |= {way: off(found, wanted[some]) for way, found in rows.items()}
    assert max(apart.values()) < CLOSE, (first, {door: far for door, far in apart.items() if far >= CLOSE})


SEVERAL_DOORS = st.lists(st.sampled_from([*DOORS]), min_size=5, max_size=5, unique=True)


@given(tables(), SEVERAL_DOORS)
@settings(max_examples=200, **SETTINGS)
def test_every_door_reads_the_same(table: DrawnTable, doors: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(table, doors, Path(folder))


@pytest.mark.slow
@given(tables(), SEVERAL_DOORS)
@settings(max_examples=1_000, **SETTINGS)
def test_every_door_reads_a_thousand_tables_the_same(table: DrawnTable, doors: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(table, doors, Path(folder))


@pytest.mark.soak
@given(tables(), SEVERAL_DOORS)
@settings(max_examples=5_000, **SETTINGS)
def test_every_door_reads_thousands_of_tables_the_same(table: DrawnTable, doors: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(table, doors, Path(folder))


# --- arrays: the estimators and `fit` -----------------------------------------------------------------------------------


def names_of(X: np.ndarray) -> list[str]:
    return [f"x{k}" for k in range(X.shape[1])]


ARRAYS: dict[str, Any] = {
    "float64": np.asarray,
    "column by column": np.asfortranarray,
    "every other row of more": lambda X: np.repeat(X, 2, axis=0)[::2],
    "big-endian": lambda X: X.astype(X.dtype.newbyteorder(">")),
    "a masked array without a mask": np.ma.asarray,
    "lists": lambda X: X.tolist(),
    "tensor": torch.tensor,
    "pandas": lambda X: pd.DataFrame(X, columns=names_of(X)),
    "pandas nullable": lambda X: pd.DataFrame(X, columns=names_of(X)).convert_dtypes(),
    "pandas of Arrow": lambda X: pd.DataFrame(X, columns=names_of(X)).convert_dtypes(dtype_backend="pyarrow"),
    "polars": lambda X: pl.DataFrame(X, schema=names_of(X)),
    "pyarrow": lambda X: pa.table(dict(zip(names_of(X), X.T, strict=True))),
}
NAMED = ("pandas", "pandas nullable", "pandas of Arrow", "polars", "pyarrow")
SHAPES: dict[str, Any] = {
    "regressor": lambda: mbgd.MBGDRegressor(hidden_layer_sizes=(4,), epochs=2, random_state=0),
    "linear regressor": lambda: mbgd.MBGDRegressor(hidden_layer_sizes=(), epochs=2, random_state=0),
    "two classes": lambda: mbgd.MBGDClassifier(hidden_layer_sizes=(4,), epochs=2, random_state=0),
    "three classes": lambda: mbgd.MBGDClassifier(hidden_layer_sizes=(4,), epochs=2, random_state=0),
}


class Matrix(NamedTuple):
    """X (N, F) of columns of any size and place, and the sum (N,) that a model is to find in it."""

    X: np.ndarray
    signal: np.ndarray
    kinds: list[str]

    def __repr__(self) -> str:
        return f"columns {self.kinds}"


COLUMNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "plain": lambda z: z,
    "large": lambda z: z * 1e6,
    "small": lambda z: z * 1e-6,
    "far": lambda z: z * 10 + 1e4,
    "whole": lambda z: np.round(z * 20),
    "binary": lambda z: (z > 0).astype(float),
    "same": lambda z: np.full(N, 3.0),
}


@st.composite
def matrices(draw: Any) -> Matrix:
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = ["plain", *draw(st.lists(st.sampled_from([*COLUMNS]), max_size=3))]
    z = chance.normal(size=(N, len(kinds)))
    X = np.stack([COLUMNS[kind](z[:, k]) for k, kind in enumerate(kinds)], axis=1)
    return Matrix(X.astype(np.float32).astype(np.float64), z.sum(axis=1), kinds)  # exact in either type


@given(matrices(), st.sampled_from([*SHAPES]), st.sampled_from([*ARRAYS]))
@settings(max_examples=30, **SETTINGS)
def test_an_estimator_predicts_the_same_by_every_door(rows: Matrix, shape: str, first: str) -> None:
    y: Any = {
        "two classes": np.where(rows.signal > 0, "b", "a"),
        "three classes": np.digitize(rows.signal, [-0.7, 0.7]),
    }
    y = y.get(shape, rows.signal)
    fitted = SHAPES[shape]().fit(ARRAYS[first](rows.X), y)
    classes = getattr(fitted, "classes_", ())
    predict = "predict_proba" if len(classes) else "predict"
    wanted = getattr(SHAPES[shape]().fit(rows.X, y), predict)(rows.X)
    alike = [
        door for door in ARRAYS if (door in NAMED) == (first in NAMED)
    ]  # of names scikit-learn warns where few have them
    apart = {door: off(getattr(fitted, predict)(ARRAYS[door](rows.X)), wanted) for door in alike}
    for how, other in (("pickled", pickle.loads(pickle.dumps(fitted))), ("copied", copy.deepcopy(fitted))):
        apart[how] = off(getattr(other, predict)(ARRAYS[first](rows.X)), wanted)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        fitted.save(path)
        loaded, light = mbgd.load(path), mbgd.load_light(path)
        apart["loaded"] = off(getattr(loaded, predict)(rows.X), wanted)
        apart["loaded, one row"] = off(one_by_one(loaded, list(rows.X)), wanted)
        apart["light"] = off(one_by_one(light, rows.X.tolist()), wanted)
        graph = onnxruntime.InferenceSession(mbgd.export(loaded, Path(folder) / "m.onnx"))
        kind = np.float64 if "double" in graph.get_inputs()[0].type else np.float32
        output = "probabilities" if len(classes) else "prediction"
        apart["ONNX"] = off(graph.run([output], {graph.get_inputs()[0].name: rows.X.astype(kind)})[0], wanted)
    assert max(apart.values()) < CLOSE, {door: far for door, far in apart.items() if far >= CLOSE}


@given(matrices(), st.sampled_from([*ARRAYS]))
@settings(max_examples=30, **SETTINGS)
def test_fit_reads_arrays_the_same(rows: Matrix, first: str) -> None:
    X = (rows.X - rows.X.mean(axis=0)) / np.maximum(rows.X.std(axis=0), 1e-3)
    words: dict[str, Any] = {"loss": "squared_error", "optimizer": "sgd", "learning_rate": 0.05, "epochs": 2, "seed": 3}

    def fitted(data: Any, target: Any) -> mbgd.Run:
        return mbgd.fit(mbgd.mlp(X.shape[1], hidden_layer_sizes=(4,)).double(), (data, target), **words)

    wanted = fitted(X, rows.signal).predict(X)
    run = fitted(ARRAYS[first](X), ARRAYS[first](rows.signal[:, None]))
    apart = {door: off(run.predict(make(X)), wanted) for door, make in ARRAYS.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = run.save(Path(folder) / "model.safetensors")
        apart["light"] = off(one_by_one(mbgd.load_light(path), X.tolist()), wanted)
        apart["pickled"] = off(pickle.loads(pickle.dumps(run.predictor)).predict(X), wanted)
    assert max(apart.values()) < CLOSE, {door: far for door, far in apart.items() if far >= CLOSE}


FRAMES = [door for door in DOORS if door.startswith(("pandas", "polars", "pyarrow"))]


@given(tables(), st.sampled_from(FRAMES))
@settings(max_examples=20, **SETTINGS)
def test_an_estimator_reads_frames_the_same(table: DrawnTable, first: str) -> None:
    columns = [column for column in table.columns if not column.labels]  # an estimator has no `categorical`
    with tempfile.TemporaryDirectory() as folder:
        frames = {door: DOORS[door](columns, Path(folder)) for door in FRAMES}
        kind = mbgd.MBGDClassifier if table.target.kind == "classification" else mbgd.MBGDRegressor
        fitted = kind(hidden_layer_sizes=(4,), epochs=2, random_state=0).fit(
            frames[first], np.array(table.target.values)
        )
        predict = fitted.predict_proba if table.target.kind == "classification" else fitted.predict
        wanted = predict(frames[first])
        loaded = mbgd.load(fitted.save(Path(folder) / "model.safetensors"))
        if loaded.encoder is None:  # a frame of plain numbers is an array, and text in it is refused by scikit-learn
            frames = {door: frame for door, frame in frames.items() if "text" not in door and "objects" not in door}
        apart = {door: off(predict(frame), wanted) for door, frame in frames.items()}
        apart["loaded"] = off(numbers(loaded, frames[first]), wanted)
        if loaded.encoder is not None:
            texts = [{column.name: column.texts[row] for column in columns} for row in range(N)]
            apart["one row of text"] = off(one_by_one(loaded, texts), wanted)
    assert max(apart.values()) < CLOSE, (first, {door: far for door, far in apart.items() if far >= CLOSE})
