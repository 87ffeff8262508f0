"""Columns that are the time in other words: against years, months and running numbers made by hand, and what is not such."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

import mbgd
from mbgd.data.encode.dates import learn_date
from mbgd.data.encode.encoder import learn_encoder
from mbgd.data.encode.later import tells_time
from mbgd.data.table import Table, open_table
from mbgd.errors import DataError

N = 4_000
CHANCE = np.random.default_rng(0)
TIMES = np.sort(CHANCE.integers(0, 900 * 86_400, N))  # seconds of two and a half years
STAMPS = np.datetime64("2013-01-01") + TIMES.astype("timedelta64[s]")
YEAR = STAMPS.astype("datetime64[Y]").astype(int) + 1970.0
MONTH = STAMPS.astype("datetime64[M]").astype(int) % 12 + 1.0
WALK = np.cumsum(CHANCE.normal(size=N) + 0.2)  # yesterday's price: it trends, and moves both ways


def with_gaps(values: np.ndarray) -> np.ndarray:
    return np.where(CHANCE.random(N) < 0.2, np.nan, values)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (YEAR, True),
        (with_gaps(YEAR), True),
        (-np.arange(N, dtype=float), True),
        (np.where(np.arange(N) == 7, 1e9, np.arange(N, dtype=float)), True),  # one cell is wrong
        (MONTH, False),  # over more than a year it comes round
        (WALK, False),
        (CHANCE.normal(size=N), False),
        (np.ones(N), False),
        (np.full(N, np.nan), False),
    ],
)
def test_what_never_turns_back_tells_the_time(values: np.ndarray, told: bool) -> None:
    assert tells_time(values, TIMES) == told
    order = CHANCE.permutation(N)
    assert tells_time(values[order], TIMES[order]) == told


def test_few_times_do_not_make_a_column_of_chance_tell_the_time() -> None:
    years = np.repeat([2011, 2012, 2013], N // 3)
    rising = CHANCE.normal(size=len(years)) + 0.1 * years
    assert [rising[years == y].mean() for y in (2011, 2012, 2013)] == sorted(
        rising[years == y].mean() for y in (2011, 2012, 2013)
    )
    assert not tells_time(rising, years)
    assert tells_time(years.astype(float), years)


def flown(days: int) -> Table:
    hours = pd.date_range("2013-01-01", periods=days * 8, freq="3h")
    month = hours.month.to_numpy()
    return open_table(pd.DataFrame({"when": hours, "month": month, "x": np.sin(np.arange(len(hours)))}))


def learnt(table: Table, **more: object) -> dict[str, tuple[str, str]]:
    times = np.arange(table.n_rows)
    encoder = learn_encoder(table, training_rows=np.arange(table.n_rows), times=times, **more)  # type: ignore[arg-type]
    return {fact.name: (fact.kind, fact.why) for fact in encoder.facts}


def test_a_month_is_left_out_until_it_has_come_round_and_kept_where_it_is_asked_for() -> None:
    kind, why = learnt(flown(300))["month"]
    assert (kind, why) == (
        "left out",
        "it is the time in other words, and later rows lie beyond all that was seen; numeric=['month'] keeps it",
    )
    assert learnt(flown(300), numeric=("month",))["month"] == ("number", "")
    assert learnt(flown(300), categorical=("month",))["month"] == ("category", "")
    assert learnt(flown(500))["month"] == ("number", "")
    assert learnt(flown(300))["x"] == ("number", "")


def test_a_day_of_the_year_is_left_out_until_it_has_come_round() -> None:
    why = "day of year not used, for the training rows span less than a whole round of it"
    for days, parts, said in ((300, ("hour", "weekday"), why), (364, ("hour", "weekday", "day_of_year"), "")):
        table = flown(days)
        summary = learn_date(table, "when", training_rows=np.arange(table.n_rows), later=True)
        assert summary.part is not None
        assert (summary.part.parts, summary.why) == (parts, said)
        everything = learn_date(table, "when", training_rows=np.arange(table.n_rows))
        assert everything.part is not None
        assert everything.part.parts == ("hour", "weekday", "day_of_year")


def test_days_and_months_have_codes_once_they_have_come_round_hours_and_weekdays_never() -> None:
    for days, coded in ((300, ()), (364, ("month", "day_of_year"))):
        table = flown(days)
        summary = learn_date(table, "when", training_rows=np.arange(table.n_rows), later=True)
        assert summary.part is not None
        assert tuple(part for part, _ in summary.part.codes) == coded


def test_a_split_by_time_leaves_out_the_time_and_a_random_one_does_not() -> None:
    n = 600
    when = [datetime.datetime(2013, 1, 1) + datetime.timedelta(hours=12 * k) for k in range(n)]
    frame = pd.DataFrame({"when": when, "run": np.arange(n), "x": CHANCE.normal(size=n)})
    frame["y"] = frame["x"] + 0.01 * frame["run"]
    known = {"epochs": 1, "hidden_layer_sizes": (4,), "seed": 0}
    later = mbgd.fit_table(frame, "y", split="time:when", **known)  # type: ignore[arg-type]
    drawn = mbgd.fit_table(frame, "y", **known)  # type: ignore[arg-type]
    assert "run" not in later.predictor.encoder.columns
    assert {"run", "x", "when"} <= set(drawn.predictor.encoder.columns)
    assert any(notice.startswith("column 'run' is left out") for notice in later.notices)


def test_where_nothing_but_the_time_is_there_the_error_says_so() -> None:
    n = 200
    frame = pd.DataFrame({"run": np.arange(n), "y": CHANCE.normal(size=n)})
    with pytest.raises(DataError, match="no input column is left to learn from .'run': it is the time in other words"):
        mbgd.fit_table(frame, "y", split="time:run")
