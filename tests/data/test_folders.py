"""Folders named KEY=VALUE give their columns, as pyarrow's datasets read them, whatever is named of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from pyarrow import feather

from mbgd.data import manifest
from mbgd.data.table import Table, column_names, open_table, read_batches
from mbgd.errors import DataError

WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "parquet": lambda frame, path: frame.to_parquet(path, index=False),
    "feather": lambda frame, path: feather.write_feather(pa.Table.from_pandas(frame, preserve_index=False), path),
}


def rows(n: int = 4, start: int = 0) -> pd.DataFrame:
    at = np.arange(start, start + n)
    return pd.DataFrame({"x": at / 2, "c": np.where(at % 2 == 0, "even", "odd")})


def put(folder: Path, where: str, *, kind: str = "parquet", frame: pd.DataFrame | None = None) -> Path:
    path = folder / where / f"part-0.{kind}"
    path.parent.mkdir(parents=True, exist_ok=True)
    WRITERS[kind](rows() if frame is None else frame, path)
    return path


def values(table: Table, name: str) -> list[Any]:
    return [value.as_py() for value in table.column(name)]


@pytest.mark.parametrize("kind", WRITERS)
def test_the_rows_of_a_folder_are_those_that_pyarrow_reads_of_it(tmp_path: Path, kind: str) -> None:
    for year, month in ((2022, 1), (2022, 12), (2023, 1)):
        put(tmp_path, f"year={year}/month={month}", kind=kind, frame=rows(3, year + month))
    table = open_table(tmp_path)
    theirs = ds.dataset(tmp_path, format=kind, partitioning="hive").to_table().sort_by("x")
    assert table.names == ("x", "c", "year", "month")
    assert table.arrow.sort_by("x").to_pydict() == theirs.to_pydict()
    assert table.column("year").type == pa.int64()
    pieces = list(read_batches(tmp_path, rows=2))
    assert [v for piece in pieces for v in values(piece, "month")] == values(table, "month")
    assert column_names(tmp_path) == table.names
    assert open_table(tmp_path, columns=["month"]).arrow.to_pydict() == {"month": values(table, "month")}
    assert next(read_batches(tmp_path, columns=["year", "x"])).names == ("year", "x")


@pytest.mark.parametrize("named", ["{d}", "{d}/*/*/*", "{d}/year=2023", "{d}/year=*/m=3/part-0.csv",
                                   "{d}/year=2023/m=3/part-0.csv"])  # fmt: skip
def test_whatever_is_named_of_them_the_folders_give_their_columns(
    tmp_path: Path, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "year=2023/m=3", kind="csv")
    assert values(open_table(named.format(d=tmp_path)), "year") == [2023] * 4
    monkeypatch.chdir(tmp_path / "year=2023")
    assert values(open_table("m=3/part-0.csv"), "year") == [2023] * 4  # a run is gone on with from anywhere


def test_values_are_decoded_missing_or_text_where_one_is_no_whole_number(tmp_path: Path) -> None:
    for value in ("a%2Fb", "S%C3%A3o Paulo", "__HIVE_DEFAULT_PARTITION__", "7"):
        put(tmp_path, f"pla%63e={value}/n={'-3' if value == '7' else '__HIVE_DEFAULT_PARTITION__'}", frame=rows(1))
    table = open_table(tmp_path)
    assert set(values(table, "place")) == {"a/b", "São Paulo", None, "7"}
    assert sorted(values(table, "n"), key=str) == [-3, None, None, None]
    assert values(open_table(tmp_path, categorical=["n"]), "n") == [
        v if v is None else str(v) for v in values(table, "n")
    ]
    assert values(open_table(tmp_path / "pla%63e=7", numeric=["place"]), "place") == [7.0]


def test_what_forced_types_do_not_hold_is_one_sentence(tmp_path: Path) -> None:
    path = put(tmp_path, "year=soon")
    with pytest.raises(DataError, match=re.escape(f"{path}: the folder year=soon gives 'soon', which is no double")):
        open_table(tmp_path, numeric=["year"])


def test_a_key_with_an_underscore_in_front_is_a_folder_like_any_other(tmp_path: Path) -> None:
    put(tmp_path, "_year=2023")
    put(tmp_path, "_temporary/0", frame=rows(9))
    assert values(open_table(tmp_path), "_year") == [2023] * 4


def test_folders_that_disagree_are_named(tmp_path: Path) -> None:
    shallow, deep = put(tmp_path, "a=1"), put(tmp_path, "a=2/b=3")
    with pytest.raises(DataError) as caught:
        open_table(tmp_path)
    assert str(caught.value) == (
        f"{shallow}: no folder above it is named b=VALUE, as one above {deep} is; all files of one table need folders of "
        "the same keys"
    )
    with pytest.raises(DataError, match="no folder above it is named b=VALUE"):
        list(read_batches(tmp_path, columns=["x"]))
    twice = put(tmp_path, "z=1/z=2")
    with pytest.raises(DataError, match=re.escape(f"{twice}: 'z' is the key of two folders above the file")):
        open_table(twice)
    both = put(tmp_path, "x=1")
    with pytest.raises(DataError, match=re.escape(f"{both}: the column 'x' stands in the file and in the name of a")):
        open_table(both)


def test_a_folder_that_was_renamed_is_other_data(tmp_path: Path) -> None:
    path = put(tmp_path, "year=2023")
    then = manifest.describe(open_table(path))
    path.parent.rename(tmp_path / "year=2024")
    with pytest.raises(DataError, match=r"the file year=2023/part-0.parquet is now year=2024/part-0.parquet"):
        manifest.check(then, manifest.describe(open_table(tmp_path)))
