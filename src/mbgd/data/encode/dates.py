"""Encode a column of dates: hour, weekday, month and day of the year as waves and codes; absolute time is left out.

A wave, sine and cosine, says how near two times lie; a code has what is peculiar to a day, such as a holiday, or to an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mbgd.data.bad_cells import NOT_A_DATE
from mbgd.data.order import IntArray
from mbgd.data.table import Table
from mbgd.data.text import is_text
from mbgd.data.timestamps import read_timestamps
from mbgd.errors import DataError

DAY, HOUR = 86_400, 3_600  # seconds
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FEW_DAYS = 200_000
PERIODS = {"hour": 24.0, "weekday": 7.0, "day_of_year": 365.25}
SECONDS = {"hour": DAY, "weekday": 7 * DAY, "day_of_year": 365.25 * DAY}
CODED = ("hour", "weekday", "month", "day_of_year")
OF_THE_YEAR = ("month", "day_of_year")
ROWS_A_CODE = 4  # on average, below which a code learns its few rows by heart
SEEN = 0.95  # share of a period that training rows must span where later rows are to be predicted


@dataclass(frozen=True)
class DateColumn:
    """For each part p of period P: sin and cos of 2 pi p / P, both 0 where the time is missing. `zone` is the clock read.

    `codes` names parts once more, each with the values among the training rows in rising order: code k is the k-th of them, 0 a
    value that is missing or was not seen. Months count from 1, all others from 0.
    """

    name: str
    parts: tuple[str, ...]
    flag: bool  # missing values were seen among the training rows
    zone: str | None
    codes: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        waves = tuple(f"{self.name}:{part}_{wave}" for part in self.parts for wave in ("sin", "cos"))
        return waves + ((f"{self.name}:missing",) if self.flag else ())

    def encode(self, table: Table) -> list[NDArray[np.float32]]:
        """One array (n_rows,) for each of `outputs`."""
        seconds, missing = as_seconds(table, self.name, zone=self.zone)
        columns = []
        for part in self.parts:
            index = _calendar(seconds, part)
            columns += [wave[index] for wave in _waves(part)]
        if missing.any():
            columns = [np.where(missing, np.float32(0), column) for column in columns]
        return columns + ([missing.astype(np.float32)] if self.flag else [])

    def encode_codes(self, table: Table) -> list[IntArray]:
        """One array (n_rows,) for each of `codes`."""
        if not self.codes:
            return []
        seconds, missing = as_seconds(table, self.name, zone=self.zone)
        return [np.where(missing, 0, _codes(seconds, part, values)) for part, values in self.codes]

    def to_json(self) -> dict[str, Any]:
        codes = {"codes": {part: list(values) for part, values in self.codes}} if self.codes else {}
        return {"name": self.name, "parts": list(self.parts), "flag": self.flag, "zone": self.zone, **codes}

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> DateColumn:
        codes = tuple((part, tuple(values)) for part, values in saved.get("codes", {}).items())
        return DateColumn(saved["name"], tuple(saved["parts"]), bool(saved["flag"]), saved["zone"], codes)


@dataclass(frozen=True)
class DateSummary:
    """What the training rows say of a column of dates: the part or None, exact counts, and a reason for the user."""

    part: DateColumn | None
    missing: int
    distinct: int
    why: str = ""


def learn_date(table: Table, name: str, *, training_rows: IntArray, later: bool = False) -> DateSummary:
    """Keeps those calendar parts that vary among the training rows; where `later` rows are to be predicted, those alone
    that have come round once: of ten months nobody learns what the other two are like."""
    zone = getattr(table.column(name).type, "tz", None)
    seconds, missing = as_seconds(table, name, zone=zone)
    seconds, missing = seconds[training_rows], missing[training_rows]
    seen, n_missing = seconds[~missing], int(missing.sum())
    if not len(seen):
        return DateSummary(None, n_missing, 0, "every value is missing")
    parts: list[str] = []
    new: list[str] = []
    span = int(seen.max()) - int(seen.min())
    for part in PERIODS:
        index = _calendar(seen, part)
        if (index != index[0]).any():
            (new if later and span < SEEN * SECONDS[part] else parts).append(part)
    distinct = int(pc.count_distinct(pa.array(seen)).as_py())
    unseen = f"{' and '.join(new)} not used, for the training rows span less than a whole round of it"
    why = unseen.replace("_", " ") if new else ""
    if not parts and not n_missing:
        return DateSummary(None, 0, distinct, why or "hour, weekday and day of the year are the same in all rows")
    coded = CODED if not later else OF_THE_YEAR if "day_of_year" in parts else ()
    codes = tuple((part, values) for part in coded if (values := _values(seen, part)))
    return DateSummary(DateColumn(name, tuple(parts), n_missing > 0, zone, codes), n_missing, distinct, why)


def _values(seen: IntArray, part: str) -> tuple[int, ...]:
    """Those of the training rows that have a code each: none where all are one, or where too few rows have the same."""
    values = np.unique(_place(seen, part)).tolist()
    return tuple(values) if 1 < len(values) <= len(seen) / ROWS_A_CODE else ()


def _codes(seconds: IntArray, part: str, values: tuple[int, ...]) -> IntArray:
    """(n_rows,) the place of each among `values`, from 1 on; 0 for any other."""
    code_of = np.zeros(max(values) + 1, np.int64)
    code_of[list(values)] = np.arange(1, len(values) + 1)
    place = _place(seconds, part)
    return np.where(place < len(code_of), code_of[np.minimum(place, len(code_of) - 1)], 0)


def _place(seconds: IntArray, part: str) -> IntArray:
    """As `_calendar`, but hours of the day in place of seconds."""
    found = _calendar(seconds, part)
    return found // HOUR if part == "hour" else found


def as_seconds(table: Table, name: str, *, zone: str | None) -> tuple[IntArray, NDArray[np.bool_]]:
    """(seconds since 1970 on the clock of `zone`, missing), each (n_rows,); a time without a zone is taken as local.

    Raises DataError, with the row, for text that is no date.
    """
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if is_text(column.type):
        column = _parsed(column)
        if is_text(column.type):
            return _each(table, name, column, zone=zone)
    if pa.types.is_null(column.type):
        return np.zeros(table.n_rows, dtype=np.int64), np.ones(table.n_rows, dtype=bool)
    missing = np.asarray(column.is_null().to_numpy(), dtype=bool)
    if pa.types.is_date(column.type):
        days = column.cast(pa.date32()).cast(pa.int32())
        return days.cast(pa.int64()).fill_null(0).to_numpy() * DAY, missing
    if not pa.types.is_timestamp(column.type):
        raise DataError(
            f"{table.name}, column {name!r}: must hold dates as in training, got {column.type}; convert it to dates"
        )
    if column.type.tz is not None:
        column = _local(column, zone=zone or column.type.tz, name=name)
    ticks = column.cast(pa.int64()).fill_null(0).to_numpy()
    return np.floor_divide(ticks, _PER_SECOND[column.type.unit]), missing


def _calendar(seconds: IntArray, part: str) -> IntArray:
    """Second of the day, day of the week (Monday 0), month (January 1) or day of the year (1 January 0)."""
    days = seconds // DAY
    if part == "hour":
        return seconds - days * DAY
    if part == "weekday":
        return (days + 3) % 7  # 1 January 1970 was a Thursday
    first, last, of_days = int(days.min(initial=0)), int(days.max(initial=0)), _OF_DAYS[part]
    if last - first > _FEW_DAYS:
        return of_days(days)
    return of_days(np.arange(first, last + 1))[days - first]  # calendar arithmetic is slow: once a day, not a row


def _day_of_year(days: IntArray) -> IntArray:
    dates = days.astype("datetime64[D]")
    return np.asarray(dates - dates.astype("datetime64[Y]").astype("datetime64[D]"), dtype=np.int64)


def _month(days: IntArray) -> IntArray:
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12 + 1


_OF_DAYS = {"day_of_year": _day_of_year, "month": _month}


@cache
def _waves(part: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(sin, cos) of each value that a part can take: sines are taken of few values, once."""
    steps = {"hour": np.arange(DAY) / HOUR, "weekday": np.arange(7.0), "day_of_year": np.arange(366.0)}[part]
    angle = 2 * np.pi * steps / PERIODS[part]
    return np.sin(angle).astype(np.float32), np.cos(angle).astype(np.float32)


def _local(column: pa.ChunkedArray, *, zone: str, name: str) -> pa.ChunkedArray:
    if zone in ("UTC", "+00:00", "Etc/UTC"):
        return column.cast(pa.timestamp(column.type.unit))
    try:
        return pc.local_timestamp(column.cast(pa.timestamp(column.type.unit, zone)))
    except pa.ArrowInvalid:
        raise DataError(
            f"column {name!r}: the time zone {zone!r} is not known on this machine; install tzdata, or convert to UTC"
        ) from None


def _parsed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """As times, where all are written the usual way; else as it is."""
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    return column


def _each(table: Table, name: str, column: pa.ChunkedArray, *, zone: str | None) -> tuple[IntArray, NDArray[np.bool_]]:
    """As `as_seconds`, each text by itself: with a zone, on the clock of `zone` or else in UTC; without one, local."""
    missing = np.asarray(column.is_null().to_numpy(), dtype=bool)
    times = read_timestamps(column.fill_null("1970-01-01").combine_chunks())
    if not times.known.all():
        row = int(np.argmin(times.known))
        raise DataError(
            f"{table.where(row)}, column {name!r}: {column[row].as_py()!r} {NOT_A_DATE}; {table.cells.instead(name)}"
        )
    ticks = times.ticks
    if times.zoned.any() and zone is not None:
        utc = pa.chunked_array([pa.array(ticks, pa.int64()).cast(pa.timestamp("us", "UTC"))])
        ticks = np.where(times.zoned, _local(utc, zone=zone, name=name).cast(pa.int64()).to_numpy(), ticks)
    return np.floor_divide(ticks, _PER_SECOND["us"]), missing
