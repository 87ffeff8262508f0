"""A row of plain values is encoded as a table of that one row is: the same numbers and codes, or the same refusal."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbgd.data.encode.encoder import Encoder, learn_encoder
from mbgd.data.encode.row import RowEncoder, UnusualValueError
from mbgd.data.table import open_table

N = 120
CHANCE = np.random.default_rng(4)
TRAINING = pa.table(
    {
        "wide": pa.array(np.sinh(CHANCE.normal(size=N) * 9)),
        "gaps": pa.array(np.where(np.arange(N) % 7 == 2, np.nan, CHANCE.normal(size=N).round(2)), from_pandas=True),
        "flag alone": pa.array([3.0 if i % 5 else None for i in range(N)]),
        "whole": pa.array(np.arange(N) % 6),
        "label": pa.array([("a", "b", "", "é")[i % 4] for i in range(N)]),
        "spelt": pa.array([str(i % 9) for i in range(N)]).dictionary_encode(),
        "truth": pa.array([i % 3 == 0 for i in range(N)]),
        "when": pa.array([datetime(2023, 1, 1) + timedelta(hours=71 * i) if i % 11 else None for i in range(N)]),
        "day": pa.array([date(1999, 12, 1) + timedelta(days=5 * i) for i in range(N)]),
        "zoned": pa.array([datetime(2023, 1, 1, tzinfo=UTC) + timedelta(hours=7 * i) for i in range(N)],
                          pa.timestamp("us", "Europe/Berlin")),
    }
)  # fmt: skip
ENCODER = learn_encoder(open_table(TRAINING), training_rows=np.arange(N), categorical=("whole",))
ROW = RowEncoder(ENCODER.to_json())
PLAIN: dict[str, Any] = {
    "wide": 1.0, "gaps": -0.3, "flag alone": 3.0, "whole": 4, "label": "b", "spelt": "7", "truth": True,
    "when": datetime(2024, 2, 29, 13, 5), "day": date(2001, 5, 6), "zoned": datetime(2024, 7, 1, 23, 59, 59),
}  # fmt: skip

numbers = st.one_of(
    st.none(), st.just(float("nan")), st.floats(allow_infinity=False), st.integers(-(2**63), 2**63 - 1), st.booleans(),
    st.floats(allow_infinity=False, width=32).map(np.float32), st.integers(-100, 100).map(np.int64), st.just(np.True_),
    st.floats(-1e9, 1e9).map(repr), st.sampled_from([" 1.5", "+2", "NA", " ", "-.5e3\n", "007"]),
)  # fmt: skip
labels = st.one_of(
    st.none(), st.sampled_from(["a", "b", "", "é", "A", "7", "true", "True", "0", "1", "false", "never", np.str_("a")]),
    st.sampled_from([" a", "NA", "7.0", "07", "1.0", "+3", "\ufeffb", "4.", "0.0", "FALSE "]),
    st.booleans(), st.integers(-3, 10), st.integers(-3, 10).map(float), st.integers(0, 9).map(np.int64), st.text(max_size=3),
    st.just(float("nan")), st.just(np.False_),
)  # fmt: skip
moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))
ZONES = [UTC, timezone(timedelta(hours=-3, minutes=-30)), ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin")]
zoned = st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1), timezones=st.sampled_from(ZONES))
dates = st.one_of(
    st.none(), st.just(pd.NaT), moments, zoned, zoned.map(pd.Timestamp), moments.map(pd.Timestamp),
    zoned.map(lambda at: at.replace(tzinfo=ZONES[1]).isoformat(timespec="seconds")),
    zoned.map(lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ")), st.dates(), moments.map(lambda at: at.isoformat(timespec="seconds")),
    moments.map(lambda at: at.isoformat(" ", timespec="seconds")), st.dates().map(str),
)  # fmt: skip
OF_KIND = {"number": numbers, "category": labels, "date": dates}
rows = st.fixed_dictionaries({name: OF_KIND[kind] for name, kind in ENCODER.columns.items()})


def by_table(row: dict[str, Any], encoder: Encoder = ENCODER) -> tuple[list[float], list[int]]:
    """The long way: a table of one row."""
    table = open_table({name: [value] for name, value in row.items()}, schema_like=encoder.schema, cells=encoder.cells)
    encoded = encoder.encode(table)
    return encoded.numbers[0].tolist(), encoded.codes[0].tolist()


def test_every_kind_of_column_is_among_those_learned() -> None:
    assert set(ENCODER.columns.values()) == {"number", "category", "date"}
    assert set(ENCODER.columns) == set(PLAIN)
    assert "flag alone" not in ENCODER.number_names
    assert "flag alone:missing" in ENCODER.number_names


@given(rows)
def test_a_row_is_encoded_as_a_table_of_that_row(row: dict[str, Any]) -> None:
    found, codes = ROW(row)
    expected, expected_codes = by_table(row)
    assert found.dtype == np.float32
    assert codes == expected_codes
    # asinh, sine and cosine of two libraries may differ in the last bit of a float64, and so in that of a float32
    assert found.tolist() == pytest.approx(expected, rel=2e-7, abs=1e-7)


@pytest.mark.parametrize("spelt", ["True", "TRUE", "true", "1", 1, True, np.True_, 1.0, "False", "0", 0, False, "yes"])
def test_truth_is_read_however_it_is_spelt(spelt: Any) -> None:
    codes = ROW(PLAIN | {"truth": spelt})[1]
    assert codes == by_table(PLAIN | {"truth": spelt})[1]
    assert (codes[ENCODER.code_names.index("truth")] == 0) == (spelt == "yes")


def test_all_values_missing_are_zeros_flags_and_code_0() -> None:
    found, codes = ROW(dict.fromkeys(PLAIN))
    flags = [name.endswith(":missing") for name in ENCODER.number_names]
    assert found.tolist() == [float(flag) for flag in flags]
    assert sum(flags) == 3  # gaps, flag alone, when: those that had gaps in training
    assert codes == [0] * len(ENCODER.cardinalities)
    assert len(codes) > 4  # of dates, too


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("wide", "3,5"), ("wide", "inf"), ("wide", "True"),
        ("wide", float("inf")), ("wide", -np.inf), ("wide", Decimal("1.5")), ("wide", 2**63),
        ("flag alone", float("inf")), ("wide", [1.0]), ("label", Decimal("1.5")), ("label", 1.5), ("label", -0.0),
        ("label", 1e10), ("label", float("inf")), ("label", date(2020, 1, 1)),
        ("when", np.datetime64("2024-01-01")), ("when", "noon"),
        ("when", "2024-02-30"), ("when", "2024-01-01T12:00:00.5"), ("when", 17), ("gaps", pd.NA), ("gaps", np.float16(1)),
    ],
)  # fmt: skip
def test_what_only_a_table_reads_or_refuses_is_left_to_it(column: str, value: Any) -> None:
    with pytest.raises(UnusualValueError):
        ROW(PLAIN | {column: value})


def test_an_absent_column_is_a_key_error_and_others_are_ignored() -> None:
    with pytest.raises(KeyError, match="when"):
        ROW({name: value for name, value in PLAIN.items() if name != "when"})
    assert ROW(PLAIN | {"other": object()})[1] == ROW(PLAIN)[1]


def test_a_number_without_edges_is_unbounded() -> None:
    """Encoders of the first files know no edges."""
    saved = ENCODER.to_json()
    for part in saved["parts"]:
        part.pop("edges", None)
    first = Encoder.from_json(saved)
    for wide in (1e308, -1e308, 1e30, 5.0):
        row = PLAIN | {"wide": wide}
        assert RowEncoder(saved)(row)[0].tolist() == pytest.approx(by_table(row, first)[0], rel=2e-7, abs=1e-7)
