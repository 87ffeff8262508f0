"""Tables: every way of giving rows reads the same rows, and every bad file is one sentence with its place."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather

from mbgd.data import csv_file
from mbgd.data.cells import NA_WORDS
from mbgd.data.files import Dialect
from mbgd.data.table import Table, check_column, open_table, read_batches
from mbgd.errors import DataError, PlanError, StorageError

COLUMNS = {
    "n": [1, 2, None, 4, 5],
    "x": [0.5, None, 2.5, -1.0, 1e-3],
    "s": ["a", "b,c", None, 'd "e"', "two\nlines"],
}


def content(table: Table) -> dict[str, list[Any]]:
    return {name: table.column(name).to_pylist() for name in table.names}


def csv_bytes(columns: dict[str, list[Any]], sep: str = ",") -> bytes:
    return (
        pd.DataFrame({k: pd.Series(v, dtype=object) for k, v in columns.items()}).to_csv(index=False, sep=sep).encode()
    )


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def arrow_stream(path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, pa.table(COLUMNS).schema) as out:
        out.write_table(pa.table(COLUMNS))


WRITERS: dict[str, Callable[[Path], object]] = {
    "t.csv": lambda p: p.write_bytes(csv_bytes(COLUMNS)),
    "t.csv.gz": lambda p: p.write_bytes(gzip.compress(csv_bytes(COLUMNS))),
    "t.tsv": lambda p: p.write_bytes(csv_bytes(COLUMNS, "\t")),
    "T.CSV": lambda p: p.write_bytes(b"\xef\xbb\xbf" + csv_bytes(COLUMNS)),  # upper case, byte order mark
    "t.parquet": lambda p: pq.write_table(pa.table(COLUMNS), p),
    "t.feather": lambda p: feather.write_feather(pa.table(COLUMNS), p),
    "stream.arrow": arrow_stream,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_each_format_gives_the_same_rows_at_once_and_in_pieces(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    table = open_table(tmp_path / name)
    assert content(table) == COLUMNS
    assert table.files == (tmp_path / name,)
    pieces = list(read_batches(tmp_path / name, rows=2))
    assert [piece.n_rows for piece in pieces] == [2, 2, 1]
    assert {key: sum((content(p)[key] for p in pieces), []) for key in COLUMNS} == COLUMNS
    first = 2 if "csv" in name.lower() or "tsv" in name else 1  # the header is row 1 of a text file
    for number in range(5):
        expected = f"{tmp_path / name}: row {number + first}"
        assert table.where(number) == expected == pieces[number // 2].where(number % 2)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"n": [1, 2], "s": ["a", None]}, index=[7, 9]),
        pd.DataFrame({"n": [1, 2], "s": pd.Categorical(["a", None])}),
        pl.DataFrame({"n": [1, 2], "s": ["a", None]}),
        pl.DataFrame({"n": [1, 2], "s": ["a", None]}).lazy(),
        pa.table({"n": [1, 2], "s": ["a", None]}),
        pa.record_batch({"n": [1, 2], "s": ["a", None]}),
        {"n": np.array([1, 2], dtype=">i4"), "s": np.array(["a", None], dtype=object)},
    ],
    ids=["pandas", "categorical", "polars", "lazy", "arrow", "batch", "mapping, big-endian"],
)
def test_frames_and_mappings_give_their_rows_without_an_index(frame: Any) -> None:
    table = open_table(frame)
    assert content(table) == {"n": [1, 2], "s": ["a", None]}
    assert table.files == ()
    assert table.where(1) == "the data frame: row 2"
    assert [p.where(0) for p in read_batches(frame, rows=1)] == ["the data frame: row 1", "the data frame: row 2"]


def test_folders_globs_and_lists_join_files_in_order_and_keep_each_rows_place(tmp_path: Path) -> None:
    for number, name in enumerate(["b.csv", "a.csv", "deep/c.csv", ".hidden.csv", "_SUCCESS.csv"]):
        write(tmp_path / name, f"n,s\n{number},x\n{number}.5,y\n")
    write(tmp_path / "README.md", "not a table")
    assert open_table(tmp_path).column("n").to_pylist() == [1, 1.5, 0, 0.5, 2, 2.5]
    assert open_table(f"{tmp_path}/*.csv").column("n").to_pylist() == [4, 4.5, 1, 1.5, 0, 0.5]  # as a shell reads it
    both = open_table([tmp_path / "b.csv", tmp_path / "a.csv"])
    assert both.column("n").to_pylist() == [0, 0.5, 1, 1.5]
    assert both.where(2) == f"{tmp_path / 'a.csv'}: row 2"
    assert both.take(np.array([3, 1])).where(0) == f"{tmp_path / 'a.csv'}: row 3"
    assert both.take(np.array([3, 1])).take(np.array([1])).where(0) == f"{tmp_path / 'b.csv'}: row 3"
    assert [p.where(1) for p in read_batches(tmp_path)][-1] == f"{tmp_path / 'deep' / 'c.csv'}: row 3"


def test_types_of_several_files_meet_where_numbers_stay_numbers(tmp_path: Path) -> None:
    one = {"a": pa.array([1], pa.int32()), "b": pa.array([None]), "c": pa.array(["u"]).dictionary_encode()}
    two = {"c": pa.array(["v"], pa.large_string()), "b": pa.array(["w"]), "a": pa.array([0.5], pa.float32())}
    pq.write_table(pa.table(one), tmp_path / "1.parquet")
    pq.write_table(pa.table(two), tmp_path / "2.parquet")
    table = open_table(tmp_path)
    assert content(table) == {"a": [1.0, 0.5], "b": [None, "w"], "c": ["u", "v"]}
    assert table.column("a").type == pa.float64()


def test_only_the_columns_asked_for_are_read_in_that_order(tmp_path: Path) -> None:
    for name, writer in WRITERS.items():
        writer(tmp_path / name)
        assert open_table(tmp_path / name, columns=["s", "n"]).names == ("s", "n")
        assert next(read_batches(tmp_path / name, columns=["s", "n"])).names == ("s", "n")


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6)


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), delimiter=st.sampled_from([",", ";", "\t", "|"]))
def test_any_text_written_by_pandas_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    pd.DataFrame(rows, columns=["a", "b"]).to_csv(path, index=False, sep=delimiter, quoting=1)
    table = open_table(path, dialect=Dialect(delimiter), categorical=["a", "b"])
    around = " \t\n\r\v\f\u00a0\u2007\u202f\ufeff"
    expected = [tuple(None if (c := cell.strip(around)) in NA_WORDS else c for cell in row) for row in rows]
    assert list(zip(table.column("a").to_pylist(), table.column("b").to_pylist(), strict=True)) == expected


def test_types_are_forced_where_the_user_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "zip,count\n007,1\n010,2\n")
    assert content(open_table(path, categorical=["zip"], numeric=["count"])) == {
        "zip": ["007", "010"],
        "count": [1.0, 2.0],
    }
    like = pa.schema([("zip", pa.string()), ("other", pa.int64())])
    assert content(next(read_batches(path, schema_like=like)))["zip"] == ["007", "010"]


def test_numbers_after_the_first_block_may_have_fractions_and_an_empty_start_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_file, "BLOCK", 64)
    rows = [f"{n},{n},\n" for n in range(30)]
    path = write(tmp_path / "t.csv", "a,b,c\n" + "".join(rows) + "3,0.5,word\n")
    table = open_table(path)
    assert table.column("b").to_pylist() == [*range(30), 0.5]
    assert table.column("a").type == pa.int64()
    assert table.column("c").to_pylist() == [None] * 30 + ["word"]


def test_an_inch_sign_inside_a_cell_is_no_open_quote(tmp_path: Path) -> None:
    assert content(open_table(write(tmp_path / "t.csv", 'a,b\n1,5" pipe\n2,x\n')))["b"] == ['5" pipe', "x"]


GOOD = "a,b\n" + "1,2\n" * 5
MESSAGES = [
    ("empty", b"", "t.csv: the file is empty (0 bytes); a table needs a header and at least one row"),
    ("blank lines", "\n\n", "t.csv: the file is empty; a table needs a header and at least one row"),
    ("header only", "a,b\n", "t.csv: there are no rows; a table needs at least one"),
    ("header without end", "a,b", "t.csv: there are no rows; a table needs at least one"),
    ("short", GOOD + "3\n", "t.csv: row 7: 1 cell, the header has 2; quote a cell that holds the delimiter, or correct the row"),
    ("long", GOOD + "3,4,5\n",
     "t.csv: row 7: 3 cells, the header has 2; quote a cell that holds the delimiter, or correct the row"),
    ("double", "a,b,a\n1,2,3\n",
     "t.csv: row 1: the column 'a' stands twice in the header; rename one of them, or, if the file has no header: header=False"),
    ("row 2", "a,b\nx,1\n" + "2,3\n" * 9,
     "t.csv: row 2, column 'a': 'x' is not a number; correct the cell, or read the column as text: categorical=['a']"),
    ("latin-1", b"a,b\n1,caf\xe9\n",
     "t.csv: row 2, column 'b': the bytes are not UTF-8 text; convert it, for example: iconv -f ISO-8859-1 -t UTF-8 t.csv"),
    ("latin-1 header", b"a,\xe9\n1,2\n",
     "t.csv: row 1, column 2: the bytes are not UTF-8 text; convert it, for example: iconv -f ISO-8859-1 -t UTF-8 t.csv"),
    ("NUL", b"a,b\n1,x\0y\n", "t.csv: row 2, column 'b': a NUL byte stands here; remove it, or convert the file to UTF-8 text"),
    ("UTF-16", "a,b\n1,2\n".encode("utf-16"),
     "t.csv: the text is UTF-16, it must be UTF-8; convert it, for example: iconv -f UTF-16 -t UTF-8 t.csv"),
    ("open quote", 'a,b\n1,2\n1,"2\n3,4\n', 't.csv: row 3: a quote (") opens here and is never closed; close it'),
    ("delimiter", "a;b\n1;2\n", "t.csv: row 1: one column only, 'a;b'; is the delimiter ';'? delimiter=';'"),
    ("delimiter, ragged", "a;b,c;d\n1;2;3\n", "t.csv: row 2: 1 cell, the header has 2; is the delimiter ';'? delimiter=';'"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), [m[1:] for m in MESSAGES], ids=[m[0] for m in MESSAGES])
def test_a_bad_csv_file_is_one_sentence(tmp_path: Path, data: bytes | str, message: str) -> None:
    path = write(tmp_path / "t.csv", data)
    for read in (open_table, lambda p: list(read_batches(p))):
        if read is not open_table and "is not a number" in message:
            continue  # in pieces the types come from the model, which knows what the column was
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(caught.value) == f"{tmp_path}/{message}"


def test_a_word_in_the_millionth_row_of_numbers_is_named(tmp_path: Path) -> None:
    bad = "1,5"
    path = write(tmp_path / "t.csv", "a,b\n" + '1,"2"\n' * 999_998 + f'1,"{bad}"\n')
    with pytest.raises(DataError) as caught:
        open_table(path)
    assert str(caught.value) == (
        f"{path}: row 1000000, column 'b': {bad!r} is not a number written like -1234.5, without separators, currency, "
        "percent signs or brackets; correct the cell, or read the column as text: categorical=['b']"
    )


def test_the_row_of_a_later_bad_cell_counts_records_not_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "BLOCK", 64)
    path = write(tmp_path / "t.csv", "a,b,t\n" + '1,"two\nlines",2020-01-01\n\n' * 20 + "x,y,2020-01-01\n")
    for read in (open_table, lambda p: list(read_batches(p)), lambda p: open_table(p, columns=["b", "a"])):
        with pytest.raises(DataError, match=re.escape(f"{path}: row 22, column 'a': 'x' is not a number")):
            read(path)
    path = write(tmp_path / "t.csv", "a,b,t\n" + "1,2,2020-01-01\n" * 20 + "1,2,soon\n")
    with pytest.raises(DataError, match=re.escape("row 22, column 't': 'soon' is not a date such as 2013-01-31 or")):
        open_table(path)
    with pytest.raises(DataError, match=re.escape("row 22, column 't': 'soon' is not a date; correct the cell")):
        list(read_batches(path, numeric=["a"]))


def test_a_forced_number_that_is_none_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b\n1,x\n2,y\n")
    with pytest.raises(DataError, match=re.escape(f"{path}: row 2, column 'b': 'x' is not a number")):
        open_table(path, numeric=["b"])


def test_few_numbers_among_words_are_words(tmp_path: Path) -> None:
    doors = ["2", "3", "4", "5more"]  # three quarters are numbers: a real column of labels
    assert (
        open_table(write(tmp_path / "t.csv", "doors\n" + "\n".join(doors) + "\n")).column("doors").to_pylist() == doors
    )


def test_damaged_gzip_is_one_sentence(tmp_path: Path) -> None:
    whole = gzip.compress(("a,b\n" + "1,2\n" * 1000).encode())
    for data in (whole[:30], whole[:20] + b"\xff\xff" + whole[22:]):
        path = write(tmp_path / "t.csv.gz", data)
        with pytest.raises(
            DataError, match=r"t\.csv\.gz: the gzip data is damaged or cut off \(.*\); copy the file again"
        ):
            open_table(path)


def parquet_bytes(tmp_path: Path) -> bytes:
    path = tmp_path / "good.parquet"
    rng = np.random.default_rng(0)
    table = pa.table({"a": rng.normal(size=500), "b": ["x", "y"] * 250})
    pq.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False)
    return path.read_bytes()


def test_a_damaged_parquet_file_is_one_sentence(tmp_path: Path) -> None:
    good = parquet_bytes(tmp_path)
    cases = [
        (b"", "the file is empty (0 bytes)"),
        (
            b"hello, I am text, not a table",
            "not a Parquet file (it does not begin with PAR1); rename it to its true format",
        ),
        (good[: len(good) // 2], "the Parquet file is cut off after "),
        (b"PAR1", "the Parquet file is cut off after 4 bytes (its end is missing); copy it again"),
        (good[:2000] + bytes([good[2000] ^ 1]) + good[2001:], "the Parquet file is damaged ("),  # one bit of a value
        (good[:-9] + b"\xff" * 1 + good[-8:], "the Parquet file is damaged ("),  # the footer's end
    ]
    for data, said in cases:
        path = write(tmp_path / "bad.parquet", data)
        with pytest.raises(DataError) as caught:
            open_table(path)
        assert str(caught.value).startswith(f"{path}: {said}"), str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_damaged_arrow_file_is_one_sentence(tmp_path: Path) -> None:
    WRITERS["t.feather"](tmp_path / "t.feather")
    good = (tmp_path / "t.feather").read_bytes()
    for data, said in (
        (good[: len(good) // 2], "the Arrow file is damaged ("),
        (b"hello, I am text", "not an Arrow file (it does not begin with ARROW1); rename it to its true format"),
        (b"FEA1" + bytes(60), "Feather version 1 is not read; write it again with pyarrow.feather or as Parquet"),
    ):
        path = write(tmp_path / "t.arrow", data)
        with pytest.raises(DataError) as caught:
            open_table(path)
        assert str(caught.value).startswith(f"{path}: {said}"), str(caught.value)


def test_an_arrow_offset_beyond_the_text_is_found_before_it_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "t.feather"
    feather.write_feather(pa.table({"s": ["abc", "def"]}), path, compression="uncompressed")
    ends = np.array([0, 3, 6], dtype="<i4").tobytes()
    assert path.read_bytes().count(ends) == 1
    write(path, path.read_bytes().replace(ends, np.array([0, 3, 60000], dtype="<i4").tobytes()))
    for read in (open_table, lambda p: list(read_batches(p))):
        with pytest.raises(DataError, match="the Arrow file is damaged"):
            read(path)


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_flipped_bytes_never_escape_as_anything_but_an_announced_error(tmp_path: Path, suffix: str) -> None:
    good = parquet_bytes(tmp_path)
    if suffix == "feather":
        feather.write_feather(pq.read_table(tmp_path / "good.parquet"), tmp_path / "good.feather")
        good = (tmp_path / "good.feather").read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        data = bytearray(good)
        for at in rng.integers(0, len(good), size=3):
            data[at] = rng.integers(256)
        path = write(tmp_path / f"bad.{suffix}", bytes(data))
        try:
            list(read_batches(path))
            open_table(path)
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017  a benign flip need not be an error at all


def test_files_that_disagree_are_named_both(tmp_path: Path) -> None:
    a, b, c = (tmp_path / f"{n}.csv" for n in "abc")
    write(a, "x,y\n1,2\n")
    write(b, "y,x\n3,4\n")
    assert content(open_table(tmp_path)) == {"x": [1, 4], "y": [2, 3]}
    write(c, "x\n5\n")
    with pytest.raises(DataError) as caught:
        open_table(tmp_path)
    assert str(caught.value) == f"{c}: column 'y' is missing, {a} has it; all files of one table need the same"
    assert open_table(tmp_path, columns=["x"]).column("x").to_pylist() == [1, 4, 5]
    write(c, "x,y,z\n5,6,7\n")
    with pytest.raises(DataError) as caught:
        list(read_batches(tmp_path))
    assert str(caught.value) == f"{a}: column 'z' is missing, {c} has it; all files of one table need the same"
    write(c, "x,y\nred,6\n")
    with pytest.raises(DataError) as caught:
        open_table(tmp_path)
    assert str(caught.value) == (
        f"{c}: column 'x' is large_string, in {a} it is int64; give both the same type, or drop the column: drop=['x']"
    )


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "flights.csv", GOOD)
    write(tmp_path / "mixed" / "a.csv", GOOD)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "mixed" / "a.parquet")
    write(tmp_path / "t.xlsx", "x")
    known = ".csv, .csv.gz, .tsv, .parquet, .arrow or .feather"
    for named, message in [
        ("nowhere.csv", "nowhere.csv: no such file or folder"),
        ("fligths.csv", "fligths.csv: no such file or folder; did you mean 'flights.csv'?"),
        ("empty", f"empty: the folder holds no table; a table ends in {known}"),
        ("*.nix", "*.nix: the glob matches no file; quote it and try it with `ls`"),
        ("t.xlsx", f"t.xlsx: the suffix '.xlsx' names no table format; a table ends in {known}"),
    ]:
        with pytest.raises(DataError) as caught:
            open_table(tmp_path / named)
        assert str(caught.value) == f"{tmp_path}/{message}"
    with pytest.raises(DataError, match=r"mixed: the folder mixes formats \(csv, parquet\)"):
        open_table(tmp_path / "mixed")
    with pytest.raises(DataError, match="data must name at least one file, got an empty list"):
        open_table([])
    with pytest.raises(DataError, match="data must be a file, a folder, .* got builtins.int"):
        open_table(5)


def test_a_file_that_may_not_be_read_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t.csv", GOOD)
    opened = Path.open

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:  # root may read everything, so the refusal is played
        if self == path:
            raise PermissionError(13, os.strerror(13), str(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageError) as caught:
        open_table(path)
    assert str(caught.value) == f"{path}: permission to read was denied; `chmod u+r` or another user may help"


def test_bad_frames_are_one_sentence() -> None:
    for data, message in [
        (
            pd.DataFrame([[1, 2]], columns=["a", "a"]),
            "the column 'a' stands twice in the data frame; rename one of them",
        ),
        ({"a": np.arange(3), "b": [1, 2]}, "columns must have one length, got 3 values in 'a' and 2 in 'b'"),
        ({"a": np.ones((2, 2))}, "column 'a' must have one dimension, got shape (2, 2); give a column each"),
        ({"a": np.ones(2) * 1j}, "column 'a' must be real, got complex128; give its real and imaginary part"),
        ({}, "data must hold at least one column, got an empty mapping; give name -> values"),
        (pd.DataFrame({"a": []}), "the data frame: there are no rows; a table needs at least one"),
    ]:
        with pytest.raises(DataError) as caught:
            open_table(data)
        assert str(caught.value) == message
    for data in (pd.DataFrame({"a": [1, {}]}), {"a": np.array(["x", {}], dtype=object)}, {"a": ["x", object()]}):
        with pytest.raises(DataError, match="column 'a' must hold values of one type .* convert it, or drop it"):
            open_table(data)
    half = np.array(["x", "y\ud800z"], dtype=object)
    for data in ({"a": half}, {"a": half.tolist()}, pd.DataFrame({"a": pd.Series(half, dtype=object)})):
        with pytest.raises(DataError, match=r"column 'a' must hold text that UTF-8 can write, got '\\ud800'; read it"):
            open_table(data)


def test_an_absent_column_is_named_with_its_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "arr_delay,carrier\n1,x\n")
    table = open_table(path)
    check_column(table, "carrier")
    for ask in (
        lambda: check_column(table, "arr_dely"),
        lambda: open_table(path, columns=["arr_dely"]),
        lambda: open_table(path, categorical=["arr_dely"]),
        lambda: table.only(["arr_dely"]),
    ):
        with pytest.raises(DataError) as caught:
            ask()
        assert str(caught.value) == f"{path}: there is no column 'arr_dely'; did you mean 'arr_delay'?"
    with pytest.raises(DataError, match="there is no column 'zzz'; it has arr_delay, carrier"):
        check_column(table, "zzz")
    assert table.only(["arr_delay"]).names == ("arr_delay",)


def test_wrong_arguments_are_plan_errors(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", GOOD)
    with pytest.raises(PlanError, match="delimiter must be one character, got ';;'"):
        open_table(path, dialect=Dialect(";;"))
    with pytest.raises(PlanError, match="must name different columns, got 'a' in both"):
        open_table(path, numeric=["a"], categorical=["a"])


def test_pieces_of_a_long_csv_are_read_as_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "BLOCK", 1 << 12)
    path = write(tmp_path / "t.csv", "a\n" + "1\n" * 200_000)
    read: list[int] = []
    original = csv_file._Watched.read
    monkeypatch.setattr(csv_file._Watched, "read", lambda self, n=-1: read.append(n) or original(self, n))
    pieces = read_batches(path, rows=100)
    assert next(pieces).n_rows == 100
    # 400,000 bytes in all; a reader that keeps its promise has taken the first blocks and read a few ahead
    assert len(read) * (1 << 12) < 300_000
    pieces.close()  # type: ignore[attr-defined]
