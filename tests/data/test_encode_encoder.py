"""The encoder: only training rows teach it, columns are found by name, and what it leaves out it says."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbgd.data.encode.encoder import Encoder, learn_encoder
from mbgd.data.encode.saved import check_encoder
from mbgd.data.table import Table, open_table, read_batches
from mbgd.errors import DataError, PlanError, SavedFileError

N = 24
START = datetime.datetime(2013, 1, 1)
TYPES = {
    "number": pa.float64(),
    "count": pa.int64(),
    "label": pa.string(),
    "flag": pa.bool_(),
    "time": pa.timestamp("us"),
    "day": pa.date32(),
}
ROW = st.fixed_dictionaries(
    {
        "number": st.one_of(st.none(), st.floats(-1e9, 1e9)),
        "count": st.one_of(st.none(), st.integers(-5, 5)),
        "label": st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d"])),
        "flag": st.one_of(st.none(), st.booleans()),
        "time": st.one_of(st.none(), st.integers(0, 9999).map(lambda h: START + datetime.timedelta(hours=h))),
        "day": st.one_of(st.none(), st.integers(0, 999).map(lambda d: START.date() + datetime.timedelta(days=d))),
    }
)


def table_of(rows: list[dict[str, Any]]) -> Table:
    return open_table(pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()}))


def learn(table: Table, rows: Any = None, **options: Any) -> Encoder:
    return learn_encoder(table, training_rows=np.arange(table.n_rows) if rows is None else np.asarray(rows), **options)


def small() -> Table:
    rng = np.random.default_rng(0)
    return open_table(
        {
            "id": [f"id{n}" for n in range(200)],
            "x": rng.normal(size=200),
            "gap": pa.array([None if n % 7 == 0 else float(n) for n in range(200)]),
            "carrier": rng.choice(["AA", "UA", "DL"], size=200, p=[0.5, 0.3, 0.2]),
            "same": [1] * 200,
            "none": pa.array([None] * 200),
            "when": pd.date_range("2013-01-01", periods=200, freq="7h"),
            "y": rng.normal(size=200),
        }
    )


@settings(max_examples=60)
@given(rows=st.lists(ROW, min_size=N, max_size=N), others=st.lists(ROW, min_size=N, max_size=N), data=st.data())
def test_rows_outside_training_never_reach_the_encoder(
    rows: list[dict[str, Any]], others: list[dict[str, Any]], data: st.DataObject
) -> None:
    training = np.array(sorted(data.draw(st.sets(st.integers(0, N - 1), min_size=2))))
    kept = set(training.tolist())
    replaced = [row if n in kept else other for n, (row, other) in enumerate(zip(rows, others, strict=True))]
    try:
        encoder = learn(table_of(rows), training)
    except DataError:
        with pytest.raises(DataError):
            learn(table_of(replaced), training)
        return
    assert learned(encoder) == learned(learn(table_of(replaced), training))
    assert np.array_equal(
        encoder.encode(table_of(rows)).numbers[training], encoder.encode(table_of(replaced)).numbers[training]
    )
    assert learned(encoder) == learned(learn(table_of(rows).take(training)))


def learned(encoder: Encoder) -> str:
    """All but the cells of the whole table that are missing: a count for people, which nothing is made of."""
    said = encoder.to_json()
    return json.dumps({**said, "facts": [{**fact, "missing": None} for fact in said["facts"]]})


@settings(max_examples=40)
@given(rows=st.lists(ROW, min_size=4, max_size=N), data=st.data())
def test_each_row_is_encoded_alone_and_columns_are_found_by_name(
    rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    table = table_of(rows)
    try:
        encoder = learn(table)
    except DataError:
        return
    whole = encoder.encode(table)
    assert whole.numbers.shape == (len(rows), len(encoder.number_names))
    assert whole.codes.shape == (len(rows), len(encoder.code_names))
    assert (whole.numbers.dtype, whole.codes.dtype) == (np.float32, np.int64)
    assert np.isfinite(whole.numbers).all()
    assert (whole.codes.max(axis=0, initial=0) < np.array(encoder.cardinalities)).all()
    names = data.draw(st.permutations(table.names))
    pick = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=8)))
    other = encoder.encode(open_table(table.take(pick).arrow.select(names).append_column("extra", pa.array(pick))))
    assert np.array_equal(other.numbers, whole.numbers[pick])
    assert np.array_equal(other.codes, whole.codes[pick])
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    assert np.array_equal(again.encode(table).numbers, whole.numbers)


def test_inspect_sees_every_column_and_why_it_is_left_out() -> None:
    encoder = learn(small(), range(150), drop=["y"])
    assert [tuple(fact.values()) for fact in encoder.describe()] == [
        (
            "id",
            "string",
            "left out",
            0,
            150,
            "150 different values in 150 rows look like a key; categorical=['id'] keeps it",
        ),
        ("x", "double", "number", 0, 150, ""),
        ("gap", "double", "number", 29, 128, ""),
        ("carrier", "string", "category", 0, 3, ""),
        ("same", "int64", "left out", 0, 1, "one value only"),
        ("none", "null", "left out", 200, 0, "every value is missing"),
        ("when", "timestamp[us]", "date", 0, 150, ""),
    ]
    assert list(encoder.describe()[0]) == ["name", "type", "kind", "missing", "distinct", "why"]
    assert encoder.notices == (
        "column 'id' is left out: 150 different values in 150 rows look like a key; categorical=['id'] keeps it",
        "column 'same' is left out: one value only",
        "column 'none' is left out: every value is missing",
    )
    assert encoder.columns == {"x": "number", "gap": "number", "carrier": "category", "when": "date"}
    assert encoder.number_names == (
        "x", "gap", "gap:missing", "when:hour_sin", "when:hour_cos", "when:weekday_sin", "when:weekday_cos",
        "when:day_of_year_sin", "when:day_of_year_cos",
    )  # fmt: skip
    assert encoder.code_names == ("carrier", "when:hour", "when:weekday", "when:month")
    assert encoder.code_columns == ("carrier", "when", "when", "when")
    assert encoder.cardinalities == (4, 25, 8, 3)


def test_the_user_says_what_is_a_number_and_what_a_label() -> None:
    table = open_table({"zip": [1, 2, 1, 3], "text": ["1", "2", "30", "4"]})
    encoder = learn(table, categorical=["zip"], numeric=["text"])
    assert encoder.columns == {"zip": "category", "text": "number"}
    assert encoder.encode(table).codes[:, 0].tolist() == [1, 2, 1, 3]


def test_a_model_reads_a_csv_file_as_it_was_trained_whatever_its_first_block_looks_like(tmp_path: Path) -> None:
    frame = small().drop(["id", "none", "same"])
    encoder = learn(frame, drop=["y"])
    rows = pd.DataFrame(frame.arrow.to_pydict())
    rows.to_csv(tmp_path / "t.csv", index=False, date_format="%Y-%m-%d %H:%M:%S")
    table = next(read_batches(tmp_path / "t.csv", schema_like=encoder.schema, columns=list(encoder.columns)))
    got, expected = encoder.encode(table), encoder.encode(frame)
    assert np.array_equal(got.codes, expected.codes)
    assert np.array_equal(got.numbers, expected.numbers)
    (tmp_path / "gap.csv").write_text("x,gap,carrier,when\n,,,\n")
    blank = encoder.encode(next(read_batches(tmp_path / "gap.csv", schema_like=encoder.schema)))
    assert blank.numbers.tolist() == [[0, 0, 1, 0, 0, 0, 0, 0, 0]]
    assert blank.codes.tolist() == [[0, 0, 0, 0]]


def test_bad_tables_are_one_sentence(tmp_path: Path) -> None:
    encoder = learn(small(), drop=["y"])
    table = small()
    with pytest.raises(DataError) as caught:
        encoder.encode(table.drop(["carrier"]))
    assert str(caught.value) == (
        "the data frame: column 'carrier' is missing, the model was trained with it; add it (it may be empty)"
    )
    renamed = open_table(table.arrow.rename_columns(["carier" if n == "carrier" else n for n in table.names]))
    with pytest.raises(DataError) as caught:
        encoder.encode(renamed)
    assert str(caught.value) == (
        "the data frame: column 'carrier' is missing, the model was trained with it; did you mean 'carier', then rename it"
    )
    with pytest.raises(DataError, match="there is no column 'carier'; did you mean 'carrier'?"):
        learn(table, drop=["carier"])
    with pytest.raises(PlanError, match="must name different columns, got 'x' in both"):
        learn(table, numeric=["x"], categorical=["x"])
    nested = open_table(pa.table({"x": [1, 2], "deep": [[1], [2]]}))
    with pytest.raises(DataError) as caught:
        learn(nested)
    assert str(caught.value) == (
        "the data frame, column 'deep': nested values (list<item: int64>) are no table column; leave it out: drop=['deep']"
    )
    assert learn(nested, drop=["deep"]).columns == {"x": "number"}
    with pytest.raises(DataError, match=r"no input column is left to learn from \('x': one value only\)"):
        learn(open_table({"x": [1, 1], "y": [1, 2]}), drop=["y"])
    with pytest.raises(DataError, match="at least one training row"):
        learn(table, np.array([], dtype=np.int64))
    with pytest.raises(DataError, match="row 3, column 'x': inf is not finite"):
        learn(open_table({"x": [1.0, 2.0, np.inf]}))
    with pytest.raises(SavedFileError, match="the encoder has format version 99, this mbgd reads 1"):
        check_encoder({**encoder.to_json(), "version": 99}, "encoder")
