"""Columns of pandas and polars that Arrow has no plain type for: read as their times or texts, or refused in one sentence."""

from __future__ import annotations

import datetime
import re
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mbgd.data.encode.categories import as_texts
from mbgd.data.encode.numbers import as_floats
from mbgd.data.encode.target import learn_target
from mbgd.data.table import open_table
from mbgd.errors import DataError, MBGDError

N = 8
X = np.array([0.0, 1.5, np.nan, 3.0, 4.5, 6.0, 7.5, 9.0])
MONTHS = pd.period_range("2024-11", periods=N, freq="M")
CUT = pd.cut(X, [0, 3, 9.5], include_lowest=True)
# how a text of an interval is written, by hand: closed on the right, the lowest made to hold its end
BY_HAND = ["(-0.001, 3.0]", "(-0.001, 3.0]", None, "(-0.001, 3.0]", *["(3.0, 9.5]"] * 4]
BEGUN = [pd.Timestamp(year, month, 1) for year, month in [(2024, 11), (2024, 12), *((2025, m) for m in range(1, 7))]]


def doors(values: Any) -> list[Any]:
    """A column as a frame's, as a Series, an array and a list of a mapping, and as a column of objects."""
    series = pd.Series(values)
    loose = series.astype(object)
    return [
        pd.DataFrame({"c": series}),
        {"c": series},
        {"c": values},
        {"c": loose.tolist()},
        pd.DataFrame({"c": loose}),
    ]


@pytest.mark.parametrize(
    "values", [CUT, CUT.astype(object), pd.arrays.IntervalArray(CUT)], ids=["cut", "objects", "array"]
)
def test_intervals_are_read_as_their_text(values: Any) -> None:
    assert (
        pd.Series(CUT).astype(object).map(str, na_action="ignore").tolist()[:2] == BY_HAND[:2]
    )  # as pandas writes them
    for frame in doors(values):
        table = open_table(frame)
        assert table.column("c").to_pylist() == BY_HAND
        assert as_texts(table, "c").to_pylist() == BY_HAND


def test_periods_are_read_as_the_time_when_they_begin() -> None:
    for frame in doors(MONTHS):
        assert open_table(frame).column("c").to_pylist() == BEGUN
    gap = pd.Series([MONTHS[0], pd.NaT, MONTHS[2]], dtype="period[M]")
    assert open_table({"c": gap}).column("c").to_pylist() == [BEGUN[0], None, BEGUN[2]]
    quarters = pd.PeriodIndex(["2024Q1", "2024Q4"], freq="Q")
    assert open_table({"c": quarters}).column("c").to_pylist() == [
        pd.Timestamp("2024-01-01"),
        pd.Timestamp("2024-10-01"),
    ]


def test_periods_as_categories_have_one_text_at_every_door() -> None:
    """Else a model would not know again what it was trained on."""
    texts = [f"{time:%Y-%m-%d} 00:00:00.000000" for time in BEGUN]
    for frame in (*doors(pd.Categorical(MONTHS)), *doors(MONTHS)):
        assert as_texts(open_table(frame), "c").to_pylist() == texts


@pytest.mark.parametrize(
    ("labels", "texts"),
    [
        ([(1, 2), (3, "a")], ["(1, 2)", "(3, 'a')"]),
        ([1, "a"], ["1", "a"]),
        ([1.0, "1.5"], ["1", "1.5"]),  # as a whole number reads in a column of its own
        ([True, "a"], ["true", "a"]),
        ([10**30, 3], [str(10**30), "3"]),
        ([uuid.UUID(int=1), uuid.UUID(int=2)], [f"00000000-0000-0000-0000-00000000000{k}" for k in (1, 2)]),
    ],
    ids=["tuples", "mixed", "a float", "a truth value", "wide", "uuid"],
)
def test_any_other_labels_are_read_as_their_text(labels: list[Any], texts: list[str]) -> None:
    categories = pd.Index(pd.Series(labels, dtype=object), tupleize_cols=False)
    column = pd.Categorical.from_codes([1, 0, -1, 1], categories=categories)
    for frame in (pd.DataFrame({"c": column}), {"c": column}):
        assert as_texts(open_table(frame), "c").to_pylist() == [texts[1], texts[0], None, texts[1]]


def test_two_labels_of_one_text_are_one() -> None:
    column = pd.Categorical.from_codes([0, 1, 2], categories=pd.Index([1, "1", "a"], dtype=object))
    assert as_texts(open_table(pd.DataFrame({"c": column})), "c").to_pylist() == ["1", "1", "a"]


def test_labels_of_one_type_stay_what_they_are() -> None:
    for values, kind in ((["a", "b"], "string"), ([1, 2], "int64"), ([0.5, 1.5], "double"), ([True, False], "bool")):
        read = open_table(pd.DataFrame({"c": pd.Categorical(values)})).column("c").type
        assert str(read.value_type).removeprefix("large_") == kind


REFUSED: list[tuple[Any, str]] = [
    (
        pd.arrays.SparseArray(X, fill_value=0.0),
        "column 'c' must be dense, got Sparse[float64, 0.0]; give its values with .sparse.to_dense()",
    ),
    (
        X + 1j,
        "column 'c' must be real, got complex128; give its real and imaginary part",
    ),
    (
        np.array([10**30] * N, dtype=object),
        f"column 'c' must hold whole numbers of at most 64 bits, got {10**30}; give them as floats, with .astype(float), "
        "or as labels, with .astype('category')",
    ),
    (
        np.array([1, -(10**400)] * 4, dtype=object),
        "column 'c' must hold whole numbers of at most 64 bits, got one of 1329 bits; give them as floats, with "
        ".astype(float), or as labels, with .astype('category')",
    ),
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=["sparse", "complex", "wide", "very wide"])
def test_what_has_no_place_in_a_table_is_told_the_remedy(values: Any, message: str) -> None:
    for frame in (pd.DataFrame({"c": values}), {"c": values}, {"c": pd.Series(values)}):
        with pytest.raises(DataError) as caught:
            open_table(frame)
        assert str(caught.value) == message


def test_the_remedies_are_remedies() -> None:
    sparse, wide = pd.Series(REFUSED[0][0]), pd.Series(REFUSED[2][0])
    assert open_table({"c": sparse.sparse.to_dense()}).column("c").to_pylist()[1] == 1.5
    assert open_table({"c": wide.astype(float)}).column("c").to_pylist() == [1e30] * N
    assert open_table({"c": wide.astype("category")}).column("c").to_pylist() == [str(10**30)] * N
    parts = REFUSED[1][0]
    assert open_table({"re": parts.real, "im": parts.imag}).column("im").to_pylist() == [1.0] * N


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="a long double is a double on this machine")
def test_long_doubles_and_wide_numbers_of_polars_are_told_the_remedy() -> None:
    long = X.astype(np.longdouble)
    for frame in (pd.DataFrame({"c": long}), {"c": long}):
        with pytest.raises(DataError, match=r"'c' must hold numbers of at most 64 bits, got float\d+; convert it with"):
            open_table(frame)
    wide = pl.Series([10**20] * N, dtype=pl.Int128)
    for frame in (pl.DataFrame({"c": wide}), {"c": wide}):
        with pytest.raises(
            DataError, match=r"'c' must hold numbers of at most 64 bits, got Int128; .* \.cast\(float\)"
        ):
            open_table(frame)
    assert open_table(pl.DataFrame({"c": wide.cast(float)})).column("c").to_pylist() == [1e20] * N


ODD: dict[str, Any] = {
    "uuid": [uuid.UUID(int=k) for k in range(N)],
    "sets": [{k} for k in range(N)],
    "objects": [object()] * N,
    "complex objects": [1j] * N,
    "bytes": [b"\xff"] * N,
    "matrices": [np.eye(2)] * N,
    "decimals without end": [Decimal(10) ** 100] * N,
    "periods of two lengths": [pd.Period("2024", "M"), pd.Period("2024", "Y")] * 4,
    "intervals and text": [pd.Interval(0, 1), "a"] * 4,
    "structs": pa.array([{"a": 1}] * N),
    "pieces of a calendar": pa.array([(1, 2, 3)] * N, pa.month_day_nano_interval()),
    "Arrow's own extension": pa.array([uuid.UUID(int=k) for k in range(N)]),
}


@pytest.mark.parametrize("kind", ODD)
def test_nothing_else_ends_in_an_error_of_another_library(kind: str) -> None:
    """Whatever asks for numbers, labels or a target of it."""
    values = ODD[kind]
    column = pd.Series(values, dtype=object) if isinstance(values, list) else values
    for frame in ({"c": values}, {"c": column}, pd.DataFrame({"c": column}) if column is not values else {"c": values}):
        try:
            table = open_table(frame)
        except MBGDError as error:
            assert re.match(r"column 'c' must hold values of one type that Arrow has \(.*\); convert it", str(error))  # noqa: PT017
            continue
        for ask in (as_floats, as_texts, learn_target):
            with pytest.raises(DataError, match="^the data frame, column 'c': "):
                ask(table, "c")


MIXED: dict[str, list[Any]] = {
    "numbers beside text": [3, "4", 5.5, np.int64(7), None, np.float64("nan"), pd.NA],
    "labels": ["a", 3, True, 2.5, np.str_("b"), None],
    "truth values beside numbers": [1, True, 0, np.bool_(False), pd.NaT, "false"],
    "days beside times and text": [datetime.date(2024, 1, 31), pd.Timestamp("2024-02-01 09:15"), "2024-03-01", None],
    "decimals beside floats": [Decimal("1.25"), 2.5, 3, np.float32(0.5)],
    "times of day beside text": [datetime.time(9, 15), "10:20:00"],
    "a word among numbers": [1, 2, 3, 4, 5, "oops"],
}


@pytest.mark.parametrize("kind", MIXED)
def test_values_of_several_plain_types_are_what_a_csv_file_has_of_them(kind: str, tmp_path: Path) -> None:
    column = pd.Series(MIXED[kind], dtype=object)
    pd.DataFrame({"c": column, "i": range(len(column))}).to_csv(tmp_path / "t.csv", index=False)
    meant: Any
    try:
        meant = open_table(tmp_path / "t.csv").column("c").to_pylist()
    except MBGDError as error:
        meant = str(error).partition("column")[2]
    for data in ({"c": MIXED[kind]}, {"c": column}, {"c": column.to_numpy()}, pd.DataFrame({"c": column})):
        try:
            assert open_table(data).column("c").to_pylist() == meant
        except MBGDError as error:
            assert str(error).partition("column")[2] == meant  # noqa: PT017
