"""An index that was stored with a table is no input, by whatever file or frame it comes; a column without a name may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from mbgd.data.encode.encoder import Encoder, learn_encoder
from mbgd.data.table import open_table
from mbgd.errors import as_options

N = 30
STORED: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    "parquet": lambda frame, folder: (frame.to_parquet(folder / "t.parquet"), folder / "t.parquet")[1],
    "feather": lambda frame, folder: (feather.write_feather(pa.Table.from_pandas(frame), folder / "t.feather"),
                                      folder / "t.feather")[1],
    "arrow in memory": lambda frame, folder: pa.Table.from_pandas(frame),
    "narwhals": lambda frame, folder: nw.from_native(pa.Table.from_pandas(frame)),
    "record batch": lambda frame, folder: pa.RecordBatch.from_pandas(frame),
    "parquet by polars": lambda frame, folder: pl.from_arrow(pa.Table.from_pandas(frame)),
}  # fmt: skip


def frame(index: Any = None) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"x": rng.normal(size=N), "z": rng.normal(size=N)}, index=index)


def learned(data: Any, **how: Any) -> Encoder:
    table = open_table(data)
    return learn_encoder(table, training_rows=np.arange(table.n_rows), **how)


def why(encoder: Encoder) -> dict[str, str]:
    return {fact.name: fact.why for fact in encoder.facts if fact.kind == "left out"}


INDICES: dict[str, Any] = {
    "shuffled": np.random.default_rng(1).permutation(N),
    "repeated": np.arange(N) % 7,
    "text": [f"r{k}" for k in range(N)],
    "dates": pd.date_range("2024-01-01", periods=N, name="day"),
    "named": pd.Index(np.arange(N) * 3, name="id"),
    "two levels": pd.MultiIndex.from_arrays([np.arange(N) % 3, np.arange(N)], names=["group", None]),
    "counted": None,
    "counted from 5": pd.RangeIndex(5, 5 + N),
}


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("index", INDICES)
def test_what_pandas_stores_of_an_index_is_no_input(tmp_path: Path, index: str, stored: str) -> None:
    if stored == "parquet by polars" and index in ("dates", "named", "two levels"):
        return  # polars keeps the column and forgets what it was: a column like any other
    given = frame(INDICES[index])
    encoder = learned(STORED[stored](given, tmp_path))
    assert set(encoder.columns) == {"x", "z"} == set(learned(given).columns)
    levels = [name for name in encoder.describe() if name["kind"] == "left out"]
    assert len(levels) == (0 if "counted" in index else given.index.nlevels)
    assert all(reason.startswith("it is the index of a pandas frame") for reason in why(encoder).values())


def test_an_index_that_is_asked_for_is_an_input_and_may_split_the_rows(tmp_path: Path) -> None:
    path = STORED["parquet"](frame(pd.Index(np.arange(N), name="id")), tmp_path)
    assert set(learned(path, numeric=["id"]).columns) == {"x", "z", "id"}
    assert open_table(path).column("id").to_pylist() == list(range(N))


def test_a_frame_in_memory_says_that_a_named_index_is_left_out() -> None:
    said = "the index 'id' of the data frame is no input; reset_index() makes it one"
    assert open_table(frame(pd.Index(np.arange(N), name="id"))).notices == (said,)
    assert open_table(frame(np.arange(N)[::-1])).notices == ()
    assert open_table(pl.DataFrame({"x": [1]})).notices == ()


def test_metadata_that_is_not_of_pandas_is_passed_over(tmp_path: Path) -> None:
    for metadata in (
        {b"pandas": b"{"},
        {b"pandas": b"[1]"},
        {b"pandas": b'{"index_columns": 3}'},
        {b"pandas": b'{"index_columns": ["gone"]}'},
        {},
    ):
        pq.write_table(
            pa.table({"x": [1.0, 2.0], "id": [1.5, 7.0]}).replace_schema_metadata(metadata), tmp_path / "t.parquet"
        )
        assert set(learned(tmp_path / "t.parquet").columns) == {"x", "id"}


COUNTS: dict[str, tuple[list[Any], bool]] = {
    "from 0": (list(range(N)), True),
    "from 1": (list(range(1, N + 1)), True),
    "of several tables, one below the other": ([*range(20), *range(10)], True),
    "of several tables, from 1": ([*range(1, 16), *range(1, 16)], True),
    "in another order": (list(range(N))[::-1], True),
    "of rows drawn from more": (list(np.random.default_rng(0).permutation(500)[:N]), True),
    "truth values": ([0, 1] * 15, False),
    "truth values, seldom 1": ([0, 0, 1] * 10, False),
    "numbers that come again": ([k // 2 for k in range(N)], False),
    "whole numbers, some below 0": (list(range(-3, N - 3)), False),
    "fractions": ([k + 0.5 for k in range(N)], False),
    "a gap": ([None, *range(1, N)], False),
    "labels": (["a", "b", "c"] * 10, False),
}


@pytest.mark.parametrize("name", ["", " ", "Unnamed: 0", "Unnamed: 0.1", "...1"])
@pytest.mark.parametrize("values", COUNTS)
def test_a_first_column_without_a_name_is_left_out_where_it_numbers_the_rows(
    tmp_path: Path, values: str, name: str
) -> None:
    numbers, index = COUNTS[values]
    given = pd.DataFrame({name: numbers, **frame()})
    given.to_csv(tmp_path / "t.csv", index=False)
    for data in (tmp_path / "t.csv", given):
        encoder = learned(data)
        assert (name not in encoder.columns) == index, data
        said = [notice for notice in encoder.notices if notice.startswith(f"column {name!r}")]
        assert len(said) == 1
        assert (
            "left out: it has no name and numbers the rows" if index else ": it has no name and is an input"
        ) in said[0]
        if index:
            assert name in learned(data, numeric=[name]).columns
        assert set(learned(data, drop=[name]).columns) == {"x", "z"}


def test_what_pandas_writes_with_its_index_is_the_frame_again(tmp_path: Path) -> None:
    """Also written, read and written again, which puts two counts in front."""
    frame().to_csv(tmp_path / "1.csv")
    pd.read_csv(tmp_path / "1.csv").to_csv(tmp_path / "2.csv")
    pd.read_csv(tmp_path / "2.csv").to_csv(tmp_path / "3.csv")
    for name in ("1.csv", "2.csv", "3.csv"):
        assert set(learned(tmp_path / name).columns) == {"x", "z"}
    assert set(learned(pd.read_csv(tmp_path / "3.csv")).columns) == {"x", "z"}


def test_a_name_in_front_or_a_count_elsewhere_is_an_input(tmp_path: Path) -> None:
    assert "id" in learned(pd.DataFrame({"id": range(N), **frame()})).columns
    assert "Unnamed: 1" in learned(pd.DataFrame({"x": frame()["x"], "Unnamed: 1": range(N)})).columns


def test_a_note_on_a_column_without_a_name_offers_what_its_door_has(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1.5, 2, 4], "y": [1, 2, 3]}).to_csv(tmp_path / "t.csv")
    why = open_table(tmp_path / "t.csv").unused[""]
    assert why.endswith("; numeric=[''] keeps it")
    assert as_options(why).endswith("; --numeric '' keeps it")
    assert (
        as_options("drop=['my col'], delimiter=';', split='time:at'")
        == "--drop 'my col', --delimiter ';', --split time:at"
    )
    assert as_options("columns=['a', 'b', 'c'], header=False") == "--columns a,b,c, --no-header"
