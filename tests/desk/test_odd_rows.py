"""Odd Parquet files and arrays, each by the door that a user takes: accepted as what they mean, or one sentence."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import mbgd
from mbgd.errors import DataError, MBGDError, PlanError

N = 60
X = np.arange(N, dtype=np.float64)
WORDS: Any = {"target": "y", "epochs": 1, "hidden_layer_sizes": (4,), "batch_size": 16}


def rows(**columns: Any) -> pa.Table:
    return pa.table({"x": X, **columns, "y": X / 7})


def folder(at: Path, **odd: pa.Table) -> Path:
    """Five files of the columns x, z, y, the one called `third` another."""
    at.mkdir()
    for number, name in enumerate(["first", "second", "third", "fourth", "fifth"]):
        pq.write_table(odd.get(name, rows(z=X + number)), at / f"{number}.parquet")
    return at


@pytest.mark.parametrize(
    ("third", "message"),
    [
        (rows(), "2.parquet: column 'z' is missing, 0.parquet has it; all files of one table need the same"),
        (rows(z=X, w=X), "0.parquet: column 'w' is missing, 2.parquet has it; all files of one table need the same"),
        (rows(zz=X), "2.parquet: column 'z' is missing, 0.parquet has it; all files of one table need the same"),
        (rows(z=[f"v{x}" for x in X]),
         "2.parquet: column 'z' is large_string, in 0.parquet it is double; give both the same type, or drop the column: "
         "drop=['z']"),
    ],
    ids=["missing", "extra", "renamed", "text"],
)  # fmt: skip
def test_one_file_of_five_is_odd(tmp_path: Path, third: pa.Table, message: str) -> None:
    at = folder(tmp_path / "d", third=third)
    with pytest.raises(DataError) as caught:
        mbgd.fit_table(at, **WORDS)
    assert str(caught.value).replace(f"{at}/", "") == message


def test_numbers_held_as_text_in_one_file_of_five_are_numbers(tmp_path: Path) -> None:
    given, meant = (folder(tmp_path / name, third=rows(z=z)) for name, z in (("text", X.astype(str)), ("numbers", X)))
    assert mbgd.fit_table(given, **WORDS).scores == mbgd.fit_table(meant, **WORDS).scores


HALF = [f"{i}.5" for i in range(N)]
SAME: dict[str, tuple[Any, Any]] = {  # the column as it is given, as it is meant
    "float32 among float64": (pa.array(X.astype(np.float32)), X),
    "int8": (pa.array(X.astype(np.int8)), X),
    "decimal": (pa.array([Decimal(text) for text in HALF]), [float(text) for text in HALF]),
    "dictionary": (pa.array(["a", "b"] * (N // 2)).dictionary_encode(), ["a", "b"] * (N // 2)),
    "nulls for NaN": (pa.array([None, *X[1:]]), [float("nan"), *X[1:]]),
    "timestamp": (pa.array(list(range(N)), pa.timestamp("s")), pa.array([1000 * i for i in range(N)], pa.timestamp("ms"))),
}  # fmt: skip


@pytest.mark.parametrize("case", [pytest.param(c, marks=() if c == "decimal" else pytest.mark.slow) for c in SAME])
def test_what_is_accepted_is_what_it_means(tmp_path: Path, case: str) -> None:
    """To the last bit."""
    given, meant = SAME[case]
    pq.write_table(rows(z=given), tmp_path / "t.parquet")
    first = mbgd.fit_table(tmp_path / "t.parquet", **WORDS)
    second = mbgd.fit_table({"x": X, "z": meant, "y": X / 7}, **WORDS)
    assert first.scores == second.scores
    frame = {"z": given, "x": X}  # columns are found by name
    assert np.array_equal(first.predict(frame), second.predict({"x": X, "z": meant}))


def test_labels_never_seen_and_cells_left_empty_are_predicted_for(tmp_path: Path) -> None:
    """As one value, whatever it is called: code 0."""
    run = mbgd.fit_table(rows(z=["a", "b", None] * (N // 3)), **WORDS)
    found = run.predict({"x": [1.0, 1.0, None], "z": ["never seen", None, ""]})
    assert found[0] == found[1]
    assert np.isfinite(found).all()


F = np.random.default_rng(0).random((30, 2))
Y = F.sum(1)
ARRAYS: list[tuple[Any, Any, dict[str, Any], type[MBGDError], str]] = [
    (
        F[:, :, None],
        Y,
        {},
        DataError,
        "X must fit the model, got rows of shape (2, 1) float64, which its forward refuses",
    ),
    (F[:, :1], Y, {}, DataError, "X must fit the model, got rows of shape (1,) float64, which its forward refuses"),
    (F, np.where(Y > 1.5, np.inf, Y), {}, DataError, "y must be finite in float32, got inf in row "),
    (F, np.full(30, 1e300), {}, DataError, "y must be finite in float32, got 1e+300 in row 0"),
    (F[:0], Y[:0], {}, DataError, "data must have at least 1 row, got 0; check the filter that made it"),
    (F, Y[1:], {}, DataError, "X, y and weight must have the same number of rows, got shapes (30, 2), (29,)"),
    (
        F,
        Y,
        {"batch_size": 0},
        PlanError,
        "batch_size must be a whole number of at least 1 or one of 'full', 'auto', got 0",
    ),
    (F, Y, {"learning_rate": float("nan")}, PlanError, "learning_rate must be a number above 0 or 'auto', got nan"),
    (F, Y, {"loss": "log_loss"}, DataError, "y must be "),
    (F, Y, {"learing_rate": 1}, PlanError, "'learing_rate' is not an argument of MBGD; did you mean 'learning_rate'?"),
    (F, Y, {"sample_weight": -Y}, DataError, "sample_weight must be finite and at least 0, got -"),
    (F, Y, {"sample_weight": 0 * Y}, DataError, "sample_weight must be positive in at least one row, got only zeros"),
]


@pytest.mark.parametrize("case", range(len(ARRAYS)))
def test_arrays_that_cannot_be_trained_on(case: int, tmp_path: Path) -> None:
    x, y, words, kind, message = ARRAYS[case]
    model = torch.nn.Linear(2, 1)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(kind) as caught:
        mbgd.fit(model, (x, y), **{"loss": "squared_error", "epochs": 1, "out": tmp_path / "r", **words})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "r").exists()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_categories_of_intervals_are_known_again_by_their_text(tmp_path: Path) -> None:
    """At every door, to the last bit what a column of the texts gives."""
    values = np.random.default_rng(0).random(N)
    cut = pd.cut(values, 4)
    cut[3] = np.nan
    texts = [None if pd.isna(one) else str(one) for one in cut]
    known = sorted({text for text in texts if text is not None})
    frame = pd.DataFrame({"x": X, "c": cut, "y": values})
    run = mbgd.fit_table(frame, **WORDS, out=tmp_path / "r")
    meant = mbgd.fit_table({"x": X, "c": texts, "y": values}, **WORDS)
    assert run.scores == meant.scores
    expected = meant.predict({"x": X, "c": texts})
    assert len(set(expected.tolist())) > 4
    fresh = pd.DataFrame({"x": X, "c": pd.Series(cut)})
    saved = mbgd.load(run.save(tmp_path / "m.safetensors"))
    for model in (run, saved, mbgd.load(tmp_path / "r")):
        for data in (fresh, fresh.astype({"c": object}), fresh.assign(c=texts), fresh[::-1][::-1]):
            assert np.array_equal(model.predict(data), expected)
    light = mbgd.load_light(tmp_path / "r")
    for row in (0, 1, 3, 5):
        for value in (cut[row], texts[row]):
            assert light.predict_one({"x": X[row], "c": value}) == pytest.approx(expected[row], rel=1e-5)
    explained = next(one for one in mbgd.explain(run, frame, columns=("c",)).dependence if one.column == "c")
    assert {value for value in explained.values if value is not None} == set(known)
    assert run.predictor.encoder is not None
    assert set(run.predictor.encoder.categories[0].labels) == set(known)


def test_categories_of_intervals_can_be_the_target() -> None:
    frame = pd.DataFrame({"x": X, "c": pd.cut(X, 3)})
    run = mbgd.fit_table(frame, **{**WORDS, "target": "c"})
    assert set(run.predictor.classes) == {str(one) for one in frame["c"].cat.categories}


def test_periods_are_times() -> None:
    months = pd.period_range("2020-01", periods=N, freq="M")
    frame = pd.DataFrame({"x": X, "when": months, "y": np.cos(np.arange(N))})
    run = mbgd.fit_table(frame, **WORDS, split="time:when")
    meant = frame.assign(when=months.to_timestamp())
    assert run.scores == mbgd.fit_table(meant, **WORDS, split="time:when").scores
    expected = run.predict(meant)
    assert np.array_equal(run.predict(frame), expected)
    assert run.predict_one({"x": X[7], "when": months[7]}) == pytest.approx(expected[7], rel=1e-5)


@pytest.mark.parametrize(
    "values", [[{1}] * N, [b"\xff"] * N, pa.array([{"a": 1}] * N)], ids=["sets", "bytes", "structs"]
)
def test_another_kind_of_value_than_in_training_is_refused_in_one_sentence(values: Any) -> None:
    number = mbgd.fit_table({"x": X, "y": X / 7}, **WORDS)
    label = mbgd.fit_table({"x": ["a", "b"] * (N // 2), "y": X / 7}, **WORDS)
    for run in (number, label):
        for ask in (
            lambda run=run: run.predict({"x": values}),
            lambda run=run: run.predict_one({"x": values[0]}),
            lambda run=run: mbgd.explain(run, {"x": values}),
        ):
            with pytest.raises(DataError, match="^the data frame, column 'x': values of type .*; .*leave it out"):
                ask()
    for split in ("group:z", "time:z"):
        with pytest.raises(DataError, match=r"column 'z': a split by (group|time) needs "):
            mbgd.fit_table(
                {"x": X, "z": values if split != "group:z" else pa.array([[1]] * N), "y": X}, **WORDS, split=split
            )


def test_categories_with_gaps_can_be_groups() -> None:
    """As their texts would be."""
    names = [None, *"abcdefghij"] * 6
    frame = pd.DataFrame({"x": np.arange(66.0), "g": pd.Categorical(names), "y": np.arange(66.0) / 7})
    words = {**WORDS, "split": "group:g"}
    assert mbgd.fit_table(frame, **words).scores == mbgd.fit_table(frame.astype({"g": object}), **words).scores
