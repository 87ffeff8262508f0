"""Number columns: robust score softened by asinh, against numpy's own quantiles; missing, infinite and extreme values."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbgd.data.encode.numbers import NumberColumn, as_floats, learn_number
from mbgd.data.table import open_table
from mbgd.errors import DataError


def learned(values: Any, rows: Any = None) -> Any:
    table = open_table({"x": values})
    return table, learn_number(table, "x", training_rows=np.arange(table.n_rows) if rows is None else np.asarray(rows))


FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)
CELLS = st.lists(st.one_of(st.none(), FINITE), min_size=1, max_size=30)


@given(values=st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6, allow_subnormal=False)), min_size=4, max_size=40))
def test_values_are_the_asinh_of_the_robust_score(values: list[float | None]) -> None:
    table, summary = learned(pa.array(values, pa.float64()))
    seen = np.array([v for v in values if v is not None])
    assert summary.missing == len(values) - len(seen)
    assert summary.distinct == len(np.unique(seen))
    if summary.part is None or not summary.part.scale:
        assert summary.distinct <= 1 or np.ptp(seen) < 1e-300
        return
    low, median, high = np.quantile(seen, [0.25, 0.5, 0.75])
    width = high - low if high > low else (seen.max() - seen.min()) / 2
    # both sides interpolate between the same two order statistics: they differ by a few units in the last place of the
    # largest value, which is all there is of the difference where the quartiles nearly meet
    slack = 8 * np.finfo(float).eps * np.abs(seen).max()
    assert abs(summary.part.median - median) <= slack
    assert abs(summary.part.scale - width) <= 2 * slack or high - low <= 2 * slack
    z = summary.part.encode(table)[0]
    for got, value in zip(z, values, strict=True):
        # sinh undoes asinh; float32 holds seven digits of z, and sinh turns an error e of z into a relative error e
        x = summary.part.median if value is None else value
        expected = (x - summary.part.median) / summary.part.scale
        assert np.sinh(np.float64(got)) == pytest.approx(expected, rel=4e-6, abs=1e-6)


@given(values=CELLS)
def test_finite_in_is_finite_out_and_order_is_kept(values: list[float | None]) -> None:
    table, summary = learned(pa.array(values, pa.float64()))
    if summary.part is None:
        return
    columns = summary.part.encode(table)
    assert all(np.isfinite(column).all() and column.dtype == np.float32 for column in columns)
    assert len(columns) == len(summary.part.outputs)
    if summary.part.scale:
        present = [i for i, v in enumerate(values) if v is not None]
        order = sorted(present, key=lambda i: values[i])  # type: ignore[arg-type, return-value]
        assert (np.diff(columns[0][order]) >= 0).all()


@given(values=CELLS)
def test_the_learned_part_survives_json(values: list[float | None]) -> None:
    import json

    part = learned(pa.array(values, pa.float64()))[1].part
    if part is not None:
        assert NumberColumn.from_json(json.loads(json.dumps(part.to_json()))) == part


def test_missing_values_become_the_median_and_raise_a_flag_if_training_had_any() -> None:
    table, summary = learned([1.0, None, 3.0, float("nan"), 5.0])
    assert summary.missing == 2  # a NaN is a missing value too
    assert summary.part.outputs == ("x", "x:missing")
    z, flag = summary.part.encode(table)
    assert z.tolist() == pytest.approx([-np.arcsinh(1), 0, 0, 0, np.arcsinh(1)])  # median 3, quartiles 2 and 4
    assert flag.tolist() == [0, 1, 0, 1, 0]
    table, summary = learned([1.0, None, 3.0, None, 5.0], rows=[0, 2, 4])
    assert summary.part.outputs == ("x",)
    assert summary.part.encode(table)[0][[1, 3]].tolist() == [0, 0]


def test_where_the_quartiles_meet_half_the_range_takes_their_place() -> None:
    part = learned([0.0] * 9 + [10.0])[1].part
    assert (part.median, part.scale) == (0.0, 5.0)
    assert learned([7.0] * 4)[1].why == "one value only"
    assert learned(pa.array([None, None], pa.float64()))[1].why == "every value is missing"
    table, summary = learned([7.0, None, 7.0])
    assert summary.part.outputs == ("x:missing",)  # the value tells nothing, that it is missing may
    assert [c.tolist() for c in summary.part.encode(table)] == [[0, 1, 0]]


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_an_infinite_value_is_named_with_its_row(bad: float) -> None:
    values = [1.0, 2.0, bad, 4.0]
    with pytest.raises(DataError) as caught:
        learned(values)
    assert str(caught.value) == (
        f"the data frame: row 3, column 'x': {bad} is not finite; "
        "correct it, leave the cell empty, or drop the column: drop=['x']"
    )
    table, summary = learned(values, rows=[0, 1, 3])  # learned without it, met when encoding
    with pytest.raises(DataError, match="row 3, column 'x'"):
        summary.part.encode(table)


HOUR = datetime.timedelta(hours=1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, None], pa.uint8()), [1, np.nan]),
        (pa.array([2**62, None]), [2.0**62, np.nan]),
        (pa.array([True, None]), [1, np.nan]),
        (pa.array([decimal.Decimal("1.25"), None]), [1.25, np.nan]),
        (pa.array([1.5, None], pa.float16()), [1.5, np.nan]),
        (pa.array([datetime.time(1, 0, 1), None], pa.time32("s")), [3601, np.nan]),
        (pa.array([datetime.time(1, 0, 1), None], pa.time64("ns")), [3601, np.nan]),
        (pa.array([HOUR, None], pa.duration("ms")), [3600, np.nan]),
        (pa.array([" 1.5", "NA"]), [1.5, np.nan]),
        (pa.array(["7", None]).dictionary_encode(), [7, np.nan]),
        (pa.array([None, None]), [np.nan, np.nan]),
    ],
)
def test_every_type_that_counts_is_read_as_a_number(values: pa.Array, expected: list[float]) -> None:
    np.testing.assert_array_equal(as_floats(open_table(pa.table({"x": values})), "x"), expected)


def test_text_that_is_no_number_is_named_with_its_row() -> None:
    with pytest.raises(DataError) as caught:
        as_floats(open_table(pd.DataFrame({"x": ["1", "2", "three"]})), "x")
    assert str(caught.value) == (
        "the data frame: row 3, column 'x': 'three' is not a number; correct the cell, "
        "or read the column as text: categorical=['x']"
    )


def test_a_ratio_beyond_the_largest_float_is_cut_to_its_asinh() -> None:
    table, summary = learned([0.0, 1e-300, 2e-300, 3e-300, 1.7e308, -1.7e308])
    z = summary.part.encode(table)[0]
    assert z[4] == 711  # asinh(1.8e308) = ln(2 * 1.8e308) = 710.5: nothing finite lies above
    assert z[5] == -711


@given(values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=60, max_size=90), beyond=FINITE)
def test_what_training_never_saw_lies_at_its_nearest_end(values: list[float], beyond: float) -> None:
    table, summary = learned(values)
    if summary.part is None:
        return
    z = summary.part.encode(table)[0]
    new = summary.part.encode(open_table({"x": [beyond]}))[0]
    assert z.min() <= new[0] <= z.max()
    assert (z[np.argsort(values)] == np.sort(z)).all()  # order is kept
    assert (z.min(), z.max()) == (summary.part.edges[0], summary.part.edges[-1])


def test_edges_are_quantiles_of_the_training_rows_alone() -> None:
    values = np.random.default_rng(0).normal(size=700)
    values[500:] *= 1000
    _, summary = learned(values, np.arange(500))
    part = summary.part
    expected = np.arcsinh((np.quantile(values[:500], np.arange(33) / 32) - part.median) / part.scale)
    assert np.asarray(part.edges) == pytest.approx(expected, rel=1e-6)


def test_few_values_are_edges_each() -> None:
    _, summary = learned([3.0, 1.0, 2.0, 2.0, None, 1.0])
    part = summary.part
    assert np.asarray(part.edges) == pytest.approx(np.arcsinh((np.array([1.0, 2.0, 3.0]) - part.median) / part.scale))
    assert NumberColumn.from_json({k: v for k, v in part.to_json().items() if k != "edges"}).edges == ()


def test_a_huge_column_has_edges_that_rise() -> None:
    _, summary = learned([-1.7e308, -1e300, 0.0, 1.0, 1e300, 1.7e308])
    assert np.isfinite(summary.part.edges).all()
    assert (np.diff(summary.part.edges) > 0).all()


def test_a_signalling_nan_is_a_missing_value() -> None:
    """Damaged bytes may spell one, and arithmetic warns of it."""
    part = NumberColumn("x", 1.0, 2.0, flag=True)
    signalling = np.array([0x7FF0000000000001, 0x3FF0000000000000], np.uint64).view(np.float64)
    encoded = part.encode(open_table({"x": pa.array(signalling)}))
    assert [column.tolist() for column in encoded] == [[0.0, 0.0], [1.0, 0.0]]
