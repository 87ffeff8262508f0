"""A model of a table whose columns were text: the same answers by every door, and a word on what was taken for what."""

from __future__ import annotations

import json
import warnings
from datetime import date, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mbgd
from mbgd.data import csv_file
from mbgd.data.encode.numbers import as_floats
from mbgd.data.table import open_table, read_batches
from mbgd.desk.table import read_rows
from mbgd.desk.table_plan import table_plan
from mbgd.errors import DataError, DataWarning

N = 240
QUICK: dict[str, Any] = {"epochs": 1, "hidden_layer_sizes": (8,)}


def meant() -> pd.DataFrame:
    """As the columns are meant."""
    chance = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "size": chance.normal(size=N).round(3),
            "store": chance.integers(1, 6, N),
            "open": chance.integers(0, 2, N).astype(bool),
            "flag": chance.integers(0, 2, N),
            "kind": chance.choice(["a", "b", "c"], N),
            "sold": pd.date_range("2024-01-01", periods=N, freq="37h"),
            "y": chance.normal(size=N).round(3),
        }
    )


def as_text() -> pd.DataFrame:
    """The same, as text."""
    data = meant().astype({"store": str, "size": str})
    data["open"] = np.where(data["open"], "True", "false")
    data["kind"] = " " + data["kind"] + "\u00a0"
    data["sold"] = data["sold"].dt.strftime("%Y-%m-%d %H:%M:%S.0000000 UTC")
    return data.astype(object)


@cache
def trained() -> Any:
    return mbgd.fit_table(meant(), "y", categorical=("store",), **QUICK)


def spelt(column: str, how: Any) -> pd.DataFrame:
    data = meant().drop(columns="y")
    data[column] = how(data[column])
    return data


SPELT = {
    "everything as text": as_text,
    "stores as floats": lambda: spelt("store", lambda s: s.astype(float)),
    "stores as 3.0": lambda: spelt("store", lambda s: s.astype(float).astype(str)),
    "stores as 03": lambda: spelt("store", lambda s: "0" + s.astype(str)),
    "stores as objects": lambda: spelt("store", lambda s: s.astype(object)),
    "truth as 1 and 0": lambda: spelt("open", lambda s: s.astype(int)),
    "truth as 1.0 and 0.0": lambda: spelt("open", lambda s: s.astype(float).astype(str)),
    "truth as objects": lambda: spelt("open", lambda s: s.astype(object)),
    "TRUE": lambda: spelt("open", lambda s: s.astype(str).str.upper()),
    "0 and 1 as truth": lambda: spelt("flag", lambda s: s.astype(bool)),
    "0 and 1 as true": lambda: spelt("flag", lambda s: np.where(s == 1, "true", "False")),
    "blanks around labels": lambda: spelt("kind", lambda s: "\t" + s + " "),
    "single digits": lambda: spelt("sold", lambda s: [f"{t.year}-{t.month}-{t.day} {t.hour}:{t.minute:02d}:00" for t in s]),
    "compact": lambda: spelt("sold", lambda s: s.dt.strftime("%Y%m%dT%H%M%S")),
    "numbers with a plus": lambda: spelt("size", lambda s: s.map(lambda v: f" {v:+}")),
}  # fmt: skip


@pytest.mark.parametrize("how", SPELT)
def test_however_it_is_spelt_a_row_is_predicted_alike_by_every_door(tmp_path: Path, how: str) -> None:
    run, data = trained(), SPELT[how]()
    expected = run.predict(meant())
    data.to_csv(tmp_path / "t.csv", index=False)
    data.to_parquet(tmp_path / "t.parquet", index=False)
    doors = {
        "frame": data, "CSV": tmp_path / "t.csv", "Parquet": tmp_path / "t.parquet", "polars": pl.from_pandas(data),
        "dict": data.to_dict("list"), "Arrow": pa.Table.from_pandas(data),
    }  # fmt: skip
    for name, given in doors.items():
        np.testing.assert_array_equal(run.predict(given), expected, name)
    light = mbgd.load_light(run.save(tmp_path / "m.safetensors"))
    for row, one in zip(data.head(12).to_dict("records"), expected, strict=False):
        assert light.predict_one(row) == pytest.approx(one, rel=1e-5, abs=1e-6)
        assert run.predict_one(row) == pytest.approx(one, rel=1e-5, abs=1e-6)


def test_a_table_of_text_trains_the_model_that_the_table_it_means_does(tmp_path: Path) -> None:
    data = as_text()
    data.to_csv(tmp_path / "t.csv", index=False)
    data.to_parquet(tmp_path / "t.parquet", index=False)
    expected = trained().scores
    for given in (data, tmp_path / "t.csv", tmp_path / "t.parquet", pl.from_pandas(data)):
        run = mbgd.fit_table(given, "y", categorical=("store",), **QUICK)
        assert run.scores == expected
        assert run.predictor.columns == trained().predictor.columns
        assert np.isfinite(run.predict(given)).all()


def said(data: Any, target: str, **words: Any) -> tuple[str, ...]:
    return read_rows(data, table_plan({"target": target, **words})).notices


@pytest.mark.parametrize(
    ("values", "words", "line"),
    [
        (np.arange(N) / 7, {}, "regression: a number with 240 different values"),
        (["no", "yes", "maybe"] * (N // 3), {}, "classification: 3 labels of text"),
        ([True, False] * (N // 2), {}, "classification: true or false"),
        (["true", "False"] * (N // 2), {}, "classification: true or false"),
        ([0, 1, 2] * (N // 3), {}, "classification: 3 different whole numbers, which task='regression' predicts as a number"),
        ([0, 1, 2] * (N // 3), {"task": "regression"}, "regression, as asked: a number with 3 different values"),
        ([0.0, 1.0, None] * (N // 3), {},
         "classification: 2 different whole numbers, which task='regression' predicts as a number"),
        (["0.0", "1.0", ""] * (N // 3), {},
         "classification: 2 different whole numbers, which task='regression' predicts as a number"),
        ([0.0, 1.5, None] * (N // 3), {}, "regression: a number with 2 different values"),
        ([0.0, 1.0, 2.0] * (N // 3), {}, "regression: a number with 3 different values"),
        ([0.0, 1.0, None] * (N // 3), {"loss": "poisson"}, "regression: a number with 2 different values"),
        ([f"{i / 7:.3f}" for i in range(N)], {}, "regression: a number with 240 different values"),
        ([f"{i % 7}%" for i in range(N)], {"task": "classification"}, "classification, as asked: 7 labels of text"),
    ],
)  # fmt: skip
def test_the_task_and_its_reason_are_said(tmp_path: Path, values: Any, words: dict[str, Any], line: str) -> None:
    data = pd.DataFrame({"x": np.random.default_rng(0).normal(size=N), "y": values})
    data.to_csv(tmp_path / "t.csv", index=False)
    pq.write_table(pa.Table.from_pandas(data), tmp_path / "t.parquet")
    for given in (data, tmp_path / "t.csv", tmp_path / "t.parquet"):
        assert said(given, "y", **words)[0] == f"the task for y is {line}"


@pytest.mark.parametrize("values", [["$1,200", "$950"], ["12%", "7%"], ["(1.5)", "2"], ["1,5", "2,5"]])
def test_a_target_of_numbers_written_otherwise_is_no_classification(tmp_path: Path, values: list[str]) -> None:
    data = pd.DataFrame({"x": np.arange(N) % 17, "y": values * (N // 2)})
    data.to_csv(tmp_path / "t.csv", index=False)
    for given in (data, tmp_path / "t.csv"):
        for words in ({}, {"task": "regression"}):
            with pytest.raises(DataError, match=r"is not a number written like -1234.5.*; correct the cell, or predict labels: "
                                                r"task='classification'$"):  # fmt: skip
                said(given, "y", **words)


def test_a_word_for_missing_that_may_be_a_label_is_asked_about(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=N)
    data = pd.DataFrame({"x": x, "c": ["u", "NA", "v", "w"] * (N // 4), "y": ["None", "a", "b"] * (N // 3)})
    data.to_csv(tmp_path / "t.csv", index=False)
    asked = "rows of {} and is read as missing; if it is a label, keep_default_na=False keeps it"
    for given in (data, tmp_path / "t.csv"):
        notes = said(given, "y")
        assert f"'NA' stands in 60 of 240 {asked.format('c')}" in notes
        assert f"'None' stands in 80 of 240 {asked.format('y')}" in notes
        assert "80 rows without y are left out" in notes
        run = mbgd.fit_table(given, "y", keep_default_na=False, **QUICK)
        assert run.predictor.classes == ("None", "a", "b")
        assert not any("missing" in note for note in run.notices)
        assert {*run.predictor.encoder.categories[0].labels} == {"NA", "u", "v", "w"}  # type: ignore[union-attr]
        again = mbgd.load(run.save(tmp_path / "m.safetensors"))
        light = mbgd.load_light(tmp_path / "m.safetensors")
        for model in (run, again):
            np.testing.assert_array_equal(model.predict_proba(tmp_path / "t.csv"), run.predict_proba(data))
        assert light.predict_proba_one({"x": x[1], "c": "NA"}) == pytest.approx(run.predict_proba(data)[1], rel=1e-5)
    few = data.assign(c=["NA", *["u"] * (N - 1)])
    assert not any("'NA'" in note for note in said(few, "y"))


def test_words_for_missing_of_the_users_own_are_kept_with_the_model(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=N).round(3)
    gaps = np.arange(N) % 5 == 0
    data = pd.DataFrame({"x": np.where(gaps, -999, x), "c": np.where(gaps, "-", "u"), "y": x})
    run = mbgd.fit_table(data, "y", na_values=["-", -999], **QUICK)
    facts = {fact["name"]: fact for fact in run.predictor.encoder.describe()}  # type: ignore[union-attr]
    assert facts["x"]["missing"] == facts["c"]["missing"] > 0
    light = mbgd.load_light(run.save(tmp_path / "m.safetensors"))
    row = {"x": None, "c": None}
    for other in ({"x": -999, "c": "-"}, {"x": "-999.0", "c": " - "}, {"x": -999.0, "c": ""}):
        assert light.predict_one(other) == light.predict_one(row)
        assert run.predict({name: [value] for name, value in other.items()})[0] == pytest.approx(
            light.predict_one(row), rel=1e-5
        )


def test_labels_that_training_did_not_know_are_warned_of_once_a_call(tmp_path: Path) -> None:
    run = trained()
    with pytest.warns(DataWarning) as caught:
        run.predict(spelt("kind", lambda s: s.str.upper()))
    assert [str(w.message) for w in caught] == [
        f"no label of column 'kind' is known from training ({N} cells, such as {meant()['kind'][0].upper()!r}): the model takes "
        "all of them for missing; are they spelt another way?"
    ]
    assert caught[0].filename == __file__
    with pytest.warns(
        DataWarning, match=r"^80 of 240 labels of column 'store' are not known from training \(such as '77'\)"
    ):
        run.predict(spelt("store", lambda s: np.where(np.arange(N) % 3 == 0, 77, s)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.predict(spelt("store", lambda s: np.where(np.arange(N) % 6 == 0, 77, s)))
        run.predict(spelt("store", lambda s: None))
        run.predict(spelt("kind", lambda s: "new").head(1))
        run.predict_one({**meant().iloc[0].to_dict(), "kind": "new"})


def test_an_encoder_of_before_knows_its_labels_as_they_were(tmp_path: Path) -> None:
    """Without the words for missing in it, those that are labels are labels."""
    from mbgd.data.encode.encoder import Encoder
    from mbgd.data.encode.row import RowEncoder
    from mbgd.data.table import open_table

    saved = json.loads(json.dumps(trained().predictor.encoder.to_json()))
    del saved["missing"]
    part = next(part for part in saved["parts"] if part["name"] == "kind")
    part["labels"] = ["NA", " b", "a"]
    encoder, row = Encoder.from_json(saved), meant().iloc[0].to_dict()
    place = encoder.code_names.index("kind")
    for text, code in (("NA", 1), (" b", 2), ("b", 2), ("a", 3), ("", 0), ("None", 0), ("c", 0)):
        table = open_table(
            {k: [v] for k, v in {**row, "kind": text}.items()}, schema_like=encoder.schema, cells=encoder.cells
        )
        assert encoder.encode(table).codes[0, place] == code
        assert RowEncoder(saved)({**row, "kind": text})[1][place] == code


TIMES: dict[str, Any] = {
    "times of day": [time(k % 24, k % 60, k % 7) if k % 5 else None for k in range(N)],
    "fractions of a second": [time(k % 24, k % 60, 1, k * 1000) for k in range(N)],
    "durations": pd.Series(pd.to_timedelta([None if k % 5 == 0 else (k - 100) * 3600.5 for k in range(N)], unit="s")),
    "whole days": pd.Series(pd.to_timedelta(range(N), unit="D")),
    "dates as numbers": pd.Series(
        [day if k % 5 else pd.NaT for k, day in enumerate(pd.date_range("2024-01-01", periods=N))]
    ),
    "days as numbers": [None if k % 5 == 0 else date(2024, 1, 1) + timedelta(k) for k in range(N)],
}


@pytest.mark.parametrize("kind", TIMES)
def test_times_that_are_numbers_are_the_same_numbers_as_text_and_in_any_unit(kind: str, tmp_path: Path) -> None:
    frame = meant().drop(columns=["sold", "kind"]).assign(c=pd.Series(TIMES[kind]))
    run = mbgd.fit_table(frame, "y", numeric=("c",) if "as numbers" in kind else (), **QUICK)
    column = next(one for one in run.predictor.encoder.describe() if one["name"] == "c")
    assert (column["kind"], column["missing"]) == ("number", int(frame["c"].isna().sum()))
    expected = run.predict(frame)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    text = frame.assign(c=frame["c"].where(frame["c"].isna(), frame["c"].astype(str)).astype(object))
    for data in (tmp_path / "t.csv", tmp_path / "t.parquet", text, pl.from_pandas(frame.astype({"y": float}))):
        assert run.predict(data) == pytest.approx(expected, abs=1e-6)
    rows = frame.iloc[:6].to_dict("records")
    assert [run.predict_one(row) for row in rows] == pytest.approx(expected[:6], abs=1e-5)
    assert len({*np.round(expected, 9)}) > 1
    with pytest.raises(DataError, match="row 3, column 'c': 'oops' is not a number; correct the cell"):
        run.predict(text.assign(c=[*text["c"][:2], "oops", *text["c"][3:]]))


def test_a_gap_of_dates_as_numbers_is_missing(tmp_path: Path) -> None:
    """And no number of its own, as -9.2e18 is that NumPy makes of NaT."""
    days = pd.Series(pd.to_datetime(["1970-01-02", None, "1970-01-04"]))
    kept = as_floats(open_table(pd.DataFrame({"c": days})), "c")
    assert kept / kept[0] == pytest.approx([1, np.nan, 3], nan_ok=True)


def test_whole_numbers_to_the_base_16_are_the_same_at_prediction(tmp_path: Path) -> None:
    codes = np.arange(N) * 7 % 251
    frame = meant()[["size", "y"]].assign(c=[hex(code) if code % 3 else str(code) for code in codes])
    frame.to_csv(tmp_path / "t.csv", index=False)
    run = mbgd.fit_table(tmp_path / "t.csv", "y", **QUICK)
    expected = run.predict(frame.assign(c=codes))
    for data in (tmp_path / "t.csv", frame, pl.from_pandas(frame)):
        assert run.predict(data) == pytest.approx(expected, abs=1e-6)
    assert [run.predict_one(row) for row in frame[:6].to_dict("records")] == pytest.approx(expected[:6], abs=1e-5)
    assert np.ptp(expected) > 1e-6


def test_a_time_of_day_in_another_writing_behind_the_first_block_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{k % 24:02d}:15" if k < 200 else f"{k % 10}:15:00.5" for k in range(N)]
    frame = meant()[["size", "y"]].assign(c=texts)
    frame.to_csv(tmp_path / "t.csv", index=False)
    run = mbgd.fit_table(tmp_path / "t.csv", "y", **QUICK)
    monkeypatch.setattr(csv_file, "BLOCK", 256)
    how: dict[str, Any] = {"schema_like": run.predictor.encoder.schema, "cells": run.predictor.encoder.cells}
    pieces = [
        run.predictor.numbers(run.predictor.of_table(piece))
        for piece in read_batches(tmp_path / "t.csv", rows=50, **how)
    ]
    assert np.concatenate(pieces) == pytest.approx(run.predict(frame), abs=1e-6)
