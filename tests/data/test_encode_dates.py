"""Date columns: sine and cosine of calendar parts, against Python's own datetime; zones, missing values, text."""

from __future__ import annotations

import datetime
import json
import math
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbgd.data.encode.dates import DateColumn, learn_date
from mbgd.data.table import Table, open_table
from mbgd.errors import DataError

TIMES = st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30)).map(
    lambda t: t.replace(microsecond=0)
)
ALL = ("hour", "weekday", "day_of_year")


def column(values: Any, kind: pa.DataType | None = None) -> Table:
    return open_table(pa.table({"t": pa.array(values, kind)}))


def everything(table: Table) -> Any:
    return learn_date(table, "t", training_rows=np.arange(table.n_rows))


def expected(time: datetime.datetime | None) -> list[float]:
    if time is None:
        return [0.0] * 6
    hour = time.hour + time.minute / 60 + time.second / 3600
    turns = (hour / 24, time.weekday() / 7, (time.timetuple().tm_yday - 1) / 365.25)
    return [wave(2 * math.pi * turn) for turn in turns for wave in (math.sin, math.cos)]


@given(times=st.lists(st.one_of(st.none(), TIMES), min_size=1, max_size=20), unit=st.sampled_from(["s", "ms", "us"]))
def test_each_part_is_where_the_clock_and_the_calendar_stand(times: list[Any], unit: str) -> None:
    part = DateColumn("t", ALL, flag=False, zone=None)
    got = np.stack(part.encode(column(times, pa.timestamp(unit))), axis=1)
    np.testing.assert_allclose(got, [expected(t) for t in times], atol=2e-7)  # float32 holds 1 to 6e-8; sums of angles


def test_times_are_read_on_the_clock_of_their_zone_and_of_the_training_zone_later() -> None:
    summer = datetime.datetime(2013, 7, 1, 3, 30, tzinfo=datetime.UTC)  # 23:30 of 30 June in New York
    zone = "America/New_York"
    trained = column([summer, summer + datetime.timedelta(hours=5)], pa.timestamp("us", zone))
    part = everything(trained).part
    assert part.zone == zone
    local = expected(summer.astimezone(ZoneInfo(zone)).replace(tzinfo=None))
    later = {
        "same": trained,
        "utc": column([summer], pa.timestamp("ns", "UTC")),
        "text with offset": column(["2013-07-01 03:30:00+00:00"]),
        "naive is local": column([datetime.datetime(2013, 6, 30, 23, 30)]),
        "text": column(["2013-06-30 23:30:00"]),
    }
    for name, table in later.items():
        got = dict(zip(part.outputs, (float(c[0]) for c in part.encode(table)), strict=True))
        wanted = dict(zip([f"t:{p}_{w}" for p in ALL for w in ("sin", "cos")], local, strict=True))
        assert got == pytest.approx({k: wanted[k] for k in got}, abs=2e-7), name


def test_only_parts_that_vary_among_the_training_rows_are_kept() -> None:
    day = datetime.date(2013, 1, 1)
    days = [day + datetime.timedelta(days=n) for n in range(10)]
    assert everything(column(days)).part.parts == ("weekday", "day_of_year")
    assert everything(column(days, pa.date64())).part.parts == ("weekday", "day_of_year")
    weekly = [day + datetime.timedelta(days=7 * n) for n in range(5)]
    assert everything(column(weekly)).part.parts == ("day_of_year",)
    hours = [datetime.datetime(2013, 1, 1, h) for h in range(5)]
    assert everything(column(hours)).part.parts == ("hour",)
    some = learn_date(column([*hours[:2], datetime.datetime(2014, 3, 3)]), "t", training_rows=np.array([0, 1]))
    assert (some.part.parts, some.distinct, some.missing) == (("hour",), 2, 0)


@given(
    times=st.lists(st.one_of(st.none(), TIMES), min_size=1, max_size=20),
    seen=st.sets(st.integers(1, 12), min_size=1),
    unit=st.sampled_from(["s", "ms", "us"]),
)
def test_each_code_is_that_of_its_value(times: list[Any], seen: set[int], unit: str) -> None:
    """Of months and hours from 1 to 12, weekdays from 1 on and the first days of the year, as `datetime` has them."""
    values = tuple(sorted(seen))
    names = ("hour", "weekday", "month", "day_of_year")
    part = DateColumn("t", (), flag=False, zone=None, codes=tuple((name, values) for name in names))
    found = np.stack(part.encode_codes(column(times, pa.timestamp(unit))), axis=1).tolist()
    for time, row in zip(times, found, strict=True):
        there = () if time is None else (time.hour, time.weekday(), time.month, time.timetuple().tm_yday - 1)
        assert row == ([values.index(v) + 1 if v in values else 0 for v in there] if there else [0] * 4)
    assert DateColumn.from_json(json.loads(json.dumps(part.to_json()))) == part


def test_a_value_has_a_code_where_four_rows_share_one_on_average() -> None:
    day = datetime.datetime(2013, 1, 1)
    hours = [day + datetime.timedelta(hours=n) for n in range(24 * 10)]  # 24 rows a day, 10 an hour
    found = dict(everything(column(hours)).part.codes)
    assert found == {"hour": tuple(range(24)), "weekday": tuple(range(7)), "day_of_year": tuple(range(10))}
    days = [day + datetime.timedelta(days=n) for n in range(360)]
    assert dict(everything(column(days)).part.codes) == {"weekday": tuple(range(7)), "month": tuple(range(1, 13))}
    assert everything(column(days[:20])).part.codes == ()
    rows = np.arange(24 * 5)
    assert dict(learn_date(column(hours), "t", training_rows=rows).part.codes)["day_of_year"] == tuple(range(5))


def test_dates_that_tell_nothing_are_left_out() -> None:
    same = everything(column([datetime.date(2013, 1, 1)] * 3))
    assert (same.part, same.why) == (None, "hour, weekday and day of the year are the same in all rows")
    assert everything(column([None, None], pa.date32())).why == "every value is missing"


def test_a_missing_time_is_the_centre_of_the_circle_with_a_flag() -> None:
    table = column([datetime.date(2013, 1, 1), None, datetime.date(2013, 5, 5)])
    summary = everything(table)
    assert summary.missing == 1
    assert summary.part.outputs[-1] == "t:missing"
    columns = np.stack(summary.part.encode(table), axis=1)
    assert columns[1].tolist() == [0, 0, 0, 0, 1]
    assert columns[[0, 2], -1].tolist() == [0, 0]
    assert DateColumn.from_json(json.loads(json.dumps(summary.part.to_json()))) == summary.part


def test_what_is_no_date_later_is_named() -> None:
    part = everything(column([datetime.date(2013, 1, 1), datetime.date(2013, 5, 5)])).part
    with pytest.raises(DataError) as caught:
        part.encode(column(["2013-01-01", "soon"]))
    assert str(caught.value) == (
        "the data frame: row 2, column 't': 'soon' is not a date such as 2013-01-31 or 2013-01-31 17:05:00; correct the "
        "cell, or read the column as text: categorical=['t']"
    )
    with pytest.raises(DataError, match="column 't': must hold dates as in training, got int64; convert it to dates"):
        part.encode(column([1, 2]))
    assert all((c == 0).all() for c in part.encode(column([None, None])))


def test_times_ages_apart_take_no_memory_for_the_days_between() -> None:
    far = column(pa.array([0, 10**15]).cast(pa.timestamp("s")))  # 10^10 days, 80 GB if each had an entry
    assert everything(far).part.encode(far)[0].shape == (2,)
