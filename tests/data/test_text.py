"""Text is what it says, by every door, whatever the order of its rows: expected values are written out by hand."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
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
from mbgd.data.cells import Cells, missing_words
from mbgd.data.table import Table, open_table, read_batches
from mbgd.data.timestamps import read_timestamps
from mbgd.errors import DataError

Texts = list[str | None]


def to_csv(values: Texts, at: Path) -> Path:
    with (at / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["c", "i"], *(["" if v is None else v, i] for i, v in enumerate(values))])
    return at / "t.csv"


def to_parquet(values: Texts, at: Path, *, dictionary: bool = True) -> Path:
    pq.write_table(pa.table({"c": values, "i": range(len(values))}), at / "t.parquet", use_dictionary=dictionary)
    return at / "t.parquet"


def to_feather(values: Texts, at: Path) -> Path:
    feather.write_feather(pa.table({"c": values, "i": range(len(values))}), at / "t.feather")
    return at / "t.feather"


DOORS: dict[str, Callable[[Texts, Path], Any]] = {
    "CSV": to_csv,
    "Parquet": to_parquet,
    "Parquet, plain": lambda v, at: to_parquet(v, at, dictionary=False),
    "Arrow": to_feather,
    "pandas": lambda v, at: pd.DataFrame({"c": pd.Series(v, dtype=object)}),
    "pandas, string": lambda v, at: pd.DataFrame({"c": pd.Series(v, dtype="string")}),
    "polars": lambda v, at: pl.DataFrame({"c": v}),
    "pyarrow": lambda v, at: pa.table({"c": pa.chunked_array([v[:3], v[3:]], pa.large_string())}),
    "string views": lambda v, at: pa.table({"c": pa.array(v).cast(pa.string_view())}),
    "objects": lambda v, at: {"c": np.array(v, dtype=object)},
    "list": lambda v, at: {"c": v},
}
MEANT: dict[str, tuple[Texts, list[Any]]] = {
    "whole numbers": (["1", " 2", "-3 ", "NA", "007"], [1, 2, -3, None, 7]),
    "fractions": (["1", "2.5", "+3", ".5", "1e3", "", "None"], [1.0, 2.5, 3.0, 0.5, 1000.0, None, None]),
    "blanks": (["1.5", " ", "\t", "\u00a0", "-2"], [1.5, None, None, None, -2.0]),
    "truth": (["True", "false", "TRUE ", "", "?"], [True, False, True, None, None]),
    "truth and numbers": (["1", "true", "0", "False"], [True, True, False, False]),
    "days": (["2024-01-31", "2024-02-29", None], [date(2024, 1, 31), date(2024, 2, 29), None]),
    "days and times": (["2024-01-31", "2024-01-31 09:15:00"], [datetime(2024, 1, 31), datetime(2024, 1, 31, 9, 15)]),
    "a blank before": ([" 2024-01-31 09:15:00"] * 2, [datetime(2024, 1, 31, 9, 15)] * 2),
    "7 digits": (["2024-01-31 09:15:00.1234567"], [datetime(2024, 1, 31, 9, 15, 0, 123456)]),
    "9 digits, then none": (
        ["2024-01-31 09:15:00.123456789", "2024-01-31 09:15:01"],
        [datetime(2024, 1, 31, 9, 15, 0, 123456), datetime(2024, 1, 31, 9, 15, 1)],
    ),
    "UTC": (["2024-01-31 09:15:00 UTC", "2024-01-31 10:00:00 UTC"],
            [datetime(2024, 1, 31, 9, 15, tzinfo=UTC), datetime(2024, 1, 31, 10, tzinfo=UTC)]),
    "offsets": (["2024-01-31T09:15:00+02:00", "2024-01-31T00:15:00-0130"],
                [datetime(2024, 1, 31, 7, 15, tzinfo=UTC), datetime(2024, 1, 31, 1, 45, tzinfo=UTC)]),
    "a zone here and there": (["2024-01-31 09:15:00", "2024-01-31 09:15:00Z", "2024-01-31 09:15:00.5+01:00"],
                [datetime(2024, 1, 31, 9, 15, tzinfo=UTC)] * 2 + [datetime(2024, 1, 31, 8, 15, 0, 500_000, UTC)]),
    "one digit": (["2024-1-3 9:00:00", "2024-12-13 19:05:07"],
                  [datetime(2024, 1, 3, 9), datetime(2024, 12, 13, 19, 5, 7)]),
    "compact": (["20240131T091500", "20240131T0915Z"][:1] * 2, [datetime(2024, 1, 31, 9, 15)] * 2),
    "times of day": (["09:15", "23:59"], [time(9, 15), time(23, 59)]),
    "times of day, short and long": (["9:15", "23:59:00.5", "9:15 PM", "12:00 a.m.", "12:30 pm", ""],
        [time(9, 15), time(23, 59, 0, 500_000), time(21, 15), time(0, 0), time(12, 30), None]),
    "durations of pandas": (["1 days 02:03:04.500000", "-1 days +23:00:00", "0 days 00:00:00", None],
        [timedelta(1, 7384.5), timedelta(hours=-1), timedelta(0), None]),
    "durations of Python": (["1 day, 2:03:04", "-2 days, 1:00:00", "2:00:00", "3 days"],
        [timedelta(1, 7384), timedelta(-2, 3600), timedelta(hours=2), timedelta(3)]),
    "days alone": (["3 days", "1 days", "3 days"], ["3 days", "1 days", "3 days"]),
    "no times of day": (["9:5", "24:00", "13:00 PM"], ["9:5", "24:00", "13:00 PM"]),
    "labels": ([" a", "b ", "NA", "", "c\u00a0"], ["a", "b", None, None, "c"]),
    "labels with digits": (["1a", "2b", "3c", "4", "id5"], ["1a", "2b", "3c", "4", "id5"]),
    "few numbers among words": (["2", "3", "4", "5more"], ["2", "3", "4", "5more"]),
    "other dates": (["31/01/2020", "01/02/2020"], ["31/01/2020", "01/02/2020"]),
    "hashes": (["1e5f", "0xzz", "12ab"], ["1e5f", "0xzz", "12ab"]),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_text_is_what_it_says_by_every_door(tmp_path: Path, door: str) -> None:
    for case, (texts, meant) in MEANT.items():
        read = open_table(DOORS[door](texts, tmp_path)).column("c")
        shown = [v.to_pydatetime(warn=False) if hasattr(v, "to_pydatetime") else v for v in read.to_pylist()]
        assert shown == meant or shown == pytest.approx(meant), (case, read.type)
        assert [type(v) for v in shown] == [type(v) for v in meant], case


REFUSED = {  # the first bad cell of a column, and its row counted from 1
    "money": (["$1,234.50", "$7", "$1,000"], "$1,234.50", 1),
    "money behind": (["5 \u20ac", "7 \u20ac"], "5 \u20ac", 1),
    "a currency by its code": (["EUR 5", "CHF 7.50"], "EUR 5", 1),
    "Brazil": (["R$ 5,00", "R$ 1.234,50"], "R$ 5,00", 1),
    "percent": (["12.5%", "7 %"], "12.5%", 1),
    "brackets": (["1.50", "2", "(3.25)", "(4)", "(1,000)"], "(3.25)", 3),
    "a minus behind": (["1.50-", "2.00", "3-"], "1.50-", 1),
    "a typographic minus": (["\u22121.50", "2.00", "3"], "\u22121.50", 1),
    "all at once": (["-$5", "($1,000.50)", "12%", "\u22123", "4-"], "-$5", 1),
    "decimal commas": (["1,5", "2,25"], "1,5", 1),
    "thousands": (["1'234", "12\u202f345"], "1'234", 1),
    "India": (["12,34,567.5", "5"], "12,34,567.5", 1),
    "a word among numbers": (["1", "2", "3", "4", "oops"], "oops", 5),
    "a word among dates": (["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "soon"], "soon", 5),
    "a day that never was": (["2024-02-28", "2024-02-30"], "2024-02-30", 2),
    "a month that never was": (["2024-13-01 00:00:00"], "2024-13-01 00:00:00", 1),
    "clocks of twelve hours": (["2024-01-01 9:15 PM"], "2024-01-01 9:15 PM", 1),
}


@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_number_or_date_as_it_stands_is_named_by_every_door(tmp_path: Path, door: str) -> None:
    for case, (texts, token, row) in REFUSED.items():
        with pytest.raises(DataError) as caught:
            open_table(DOORS[door](list(texts), tmp_path))
        place = f"row {row + (door == 'CSV')}, column 'c': {token!r} is not a "
        assert place in str(caught.value), case
        assert str(caught.value).endswith("; correct the cell, or read the column as text: categorical=['c']")
        labels = open_table(DOORS[door](list(texts), tmp_path), categorical=["c"]).column("c").to_pylist()
        assert labels == [text.strip("\u202f ") for text in texts], case  # the remedy is one


@pytest.mark.parametrize(
    "labels",
    [
        ["555-0100", "555-0199"], ["192.168.0.1", "10.0.0.7"], ["18-25", "26-35", "60+"], ["R1", "R2"], ["A5", "C7"],
        ["5 kg", "7 kg"],
        ["3/4", "1/2"], ["2024-01-31-0001", "2024-01-31-0002"], ["1.2.3", "4.5.6"], ["Q1 2024", "Q2 2024"],
    ],
    ids=lambda labels: labels[0],
)  # fmt: skip
def test_labels_that_begin_like_numbers_or_dates_are_labels(tmp_path: Path, labels: Texts) -> None:
    for door in DOORS.values():
        assert open_table(door(labels, tmp_path)).column("c").to_pylist() == labels


def test_categories_are_labels_for_the_user_said_so(tmp_path: Path) -> None:
    texts = ["1", "2", " 2", "NA", "2024-01-31"]
    frame = pd.DataFrame({"c": pd.Categorical(texts)})
    frame.to_parquet(tmp_path / "c.parquet")
    polars = (pl.Series(texts, dtype=pl.Categorical), pl.Series(texts, dtype=pl.Enum(sorted(texts))))
    for data in (frame, tmp_path / "c.parquet", *(pl.DataFrame({"c": c}) for c in polars)):
        assert open_table(data).column("c").to_pylist() == ["1", "2", "2", None, "2024-01-31"]


def test_the_words_for_missing_are_one_list_that_the_user_chooses(tmp_path: Path) -> None:
    texts: Texts = ["NA", "None", "", " ", "-", "a", "-999"]
    for keep, others, left in (
        (True, (), ["-", "a", "-999"]),
        (True, ("-", "-999"), ["a"]),
        (False, ("-",), ["NA", "None", "a", "-999"]),
        (False, (), ["NA", "None", "-", "a", "-999"]),
    ):
        cells = Cells(missing_words(others, keep_default_na=keep))
        for door in DOORS.values():
            found = open_table(door(texts, tmp_path), cells=cells).column("c").to_pylist()
            assert [text for text in found if text is not None] == left


def test_a_number_that_means_missing_does_so_in_any_spelling_and_type(tmp_path: Path) -> None:
    cells = Cells(missing_words(["-999"]))
    numbers: list[Any] = [pd.DataFrame({"c": [1, -999, 3]}), {"c": np.array([1.0, -999.0, 3.0])}]
    texts: Texts = ["1", "-999.0", "3"]
    for data in (*numbers, *(door(texts, tmp_path) for door in DOORS.values())):
        assert open_table(data, cells=cells).column("c").to_pylist() == [1, None, 3]


ODD = ["7", "0.5", "-1e3", "true", "2024-01-31", "2024-01-31 09:15:00", "2024-01-31T09:15:00Z", "2024-01-31 09:15:00+02:00",
       "2024-01-31 09:15:00.1234567", "2024-1-31 9:15:00 UTC", "", " ", "NA", "12:30", "9:15:00.5",
       "oops", "$5", "2024-02-30", "\u22121"]  # fmt: skip


def outcome(data: Any) -> Any:
    """The values by the number of the row, or the sentence without the row and the cell."""
    try:
        table = open_table(data)
    except DataError as error:
        return str(error).split("is not", maxsplit=1)[1]
    values = dict(zip(table.column("i").to_pylist(), table.column("c").to_pylist(), strict=True))
    return str(table.column("c").type).replace("large_", ""), [values[i] for i in sorted(values)]


@settings(max_examples=60)
@given(data=st.data(), most=st.sampled_from(ODD), size=st.integers(0, 25))
def test_no_order_of_rows_changes_what_a_csv_file_holds(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, most: str, size: int
) -> None:
    """With blocks of a few rows, so that any row may be beyond the first."""
    cells = [most] * size + data.draw(st.lists(st.sampled_from(ODD), min_size=1, max_size=6))
    order = data.draw(st.permutations(range(len(cells))))
    at = tmp_path_factory.mktemp("t")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_file, "BLOCK", 64)
        found = []
        for name, rows in (("a.csv", range(len(cells))), ("b.csv", order)):
            (at / name).write_text("c,i\n" + "".join(f"{cells[i]},{i}\n" for i in rows))
            found.append(outcome(at / name))
        frame = outcome(pd.DataFrame({"c": cells, "i": range(len(cells))}))
    assert found[0] == found[1]
    if not isinstance(found[0], str):
        assert frame[1] == found[0][1]


def test_pieces_are_read_as_they_are_asked_for_and_a_cell_of_another_kind_makes_its_column_text_from_there_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_file, "BLOCK", 64)
    path = to_csv([*map(str, range(40)), " ", "True", *map(str, range(40))], tmp_path)
    like, cells = pa.schema([("c", pa.float64())]), Cells(door="model")
    pieces = list(read_batches(path, schema_like=like, rows=5, cells=cells))
    found = [value for piece in pieces for value in piece.column("c").to_pylist()]
    assert [None if value is None else str(value).removesuffix(".0") for value in found] == [
        *map(str, range(40)), None, "True", *map(str, range(40)),
    ]  # fmt: skip
    assert [i for piece in pieces for i in piece.column("i").to_pylist()] == list(range(82))


@given(
    moment=st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
    digits=st.integers(0, 9),
    zone=st.sampled_from(["", "Z", " UTC", "+02:00", "-0330", "+05", " GMT"]),
    short=st.booleans(),
)
def test_a_moment_is_what_python_makes_of_it(moment: datetime, digits: int, zone: str, short: bool) -> None:
    away = {"+02:00": 120, "-0330": -210, "+05": 300}.get(zone, 0)
    fraction = f"{moment.microsecond:06d}123"[:digits]
    if short:
        text = f"{moment.year:04d}-{moment.month}-{moment.day} {moment.hour}:{moment.minute:02d}:{moment.second:02d}"
    else:
        text = f"{moment.year:04d}" + moment.strftime("-%m-%dT%H:%M:%S")
    found = read_timestamps(pa.array([text + ("." + fraction if fraction else "") + zone]))
    micro = int(fraction[:6].ljust(6, "0")) if fraction else 0
    since = moment.replace(microsecond=0) - datetime(1970, 1, 1)
    assert found.ticks.tolist() == [(since.days * 86_400 + since.seconds - away * 60) * 10**6 + micro]
    assert (found.known.tolist(), found.zoned.tolist()) == ([True], [bool(zone)])


@pytest.mark.parametrize(
    "text", ["2024-00-01", "2024-01-00", "2023-02-29", "2024-01-01 24:00", "2024-01-01 00:60", "2024-01-01 1", "0000-01-01",
             "2024-01-01T", "20241301T000000", "2024-01-01 00:00:00+25:00", "24-01-01", "2024-01-01x"],
)  # fmt: skip
def test_no_moment_is_made_of_what_is_none(text: str) -> None:
    assert read_timestamps(pa.array([text])).known.tolist() == [text == "2024-01-01 1"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["true", "false"], ["1", "0"]), (["2024-01-31"], ["2024-02-01 09:15:00", "2024-02-02"]),
        (["2024-01-31 09:15:00"], ["2024-01-31 09:15:00+02:00"]), (["2024-01-31 09:15:00.5"], ["2024-02-01"]),
        (["09:15", ""], ["9:15:00.5"]), (["1 days 00:00:01"], ["2:00:00"]), (["1", "2"], ["3.5"]), ([""], ["2024-01-31"]),
        (["true"], ["2"]),
    ],
    ids=lambda texts: texts[0],
)  # fmt: skip
def test_several_csv_files_are_what_one_file_of_their_rows_is(tmp_path: Path, first: Texts, second: Texts) -> None:
    for name, texts in (("0", first), ("1", second)):
        (tmp_path / name).mkdir()
        to_csv(texts, tmp_path / name)
    found = open_table([next((tmp_path / name).iterdir()) for name in "01"]).column("c")
    meant = open_table({"c": [*first, *second]}).column("c")
    assert (str(found.type).replace("large_", ""), found.to_pylist()) == (
        str(meant.type).replace("large_", ""),
        meant.to_pylist(),
    )


def test_read_table_is_a_table() -> None:
    """What a file of all kinds comes to is kept with the table: which columns were text, and which words were asked about."""
    table: Table = open_table({"c": ["a", "None", "None", "b"], "n": ["1", "2", "NA", "4"], "x": [1.5, 2, 3, 4]})
    assert table.texts == {"c", "n"}
    assert table.words == {"c": {"None": 2}, "n": {"NA": 1}}
