"""A column of dates or timestamps in, sine and cosine of hour, weekday and day of year out; absolute time is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mbgd.data.encode.numbers import is_text
from mbgd.data.order import IntArray
from mbgd.data.table import Table
from mbgd.errors import DataError

DAY, HOUR = 86_400, 3_600  # seconds
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FEW_DAYS = 200_000
PERIODS = {"hour": 24.0, "weekday": 7.0, "day_of_year": 365.25}
SECONDS = {"hour": DAY, "weekday": 7 * DAY, "day_of_year": 365.25 * DAY}
SEEN = 0.95  # share of a period that training rows must span where later rows are to be predicted


@dataclass(frozen=True)
class DateColumn:
    """For each part p of period P: sin and cos of 2 pi p / P, both 0 where the time is missing. `zone` is the clock read."""

    name: str
    parts: tuple[str, ...]
    flag: bool  # missing values were seen among the training rows
    zone: str | None

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

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "parts": list(self.parts), "flag": self.flag, "zone": self.zone}

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> DateColumn:
        return DateColumn(saved["name"], tuple(saved["parts"]), bool(saved["flag"]), saved["zone"])


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
    return DateSummary(DateColumn(name, tuple(parts), n_missing > 0, zone), n_missing, distinct, why)


def as_seconds(table: Table, name: str, *, zone: str | None) -> tuple[IntArray, NDArray[np.bool_]]:
    """(seconds since 1970 on the clock of `zone`, missing), each (n_rows,); a time without a zone is taken as local.

    Raises DataError, with the row, for text that is no date.
    """
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if is_text(column.type):
        column = _parsed(table, name, column)
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
    """Second of the day, day of the week (Monday 0) or day of the year (1 January 0), an index into `_waves`."""
    days = seconds // DAY
    if part == "hour":
        return seconds - days * DAY
    if part == "weekday":
        return (days + 3) % 7  # 1 January 1970 was a Thursday
    first, last = int(days.min(initial=0)), int(days.max(initial=0))
    if last - first > _FEW_DAYS:
        return _day_of_year(days)
    return _day_of_year(np.arange(first, last + 1))[days - first]  # calendar arithmetic is slow: once a day, not a row


def _day_of_year(days: IntArray) -> IntArray:
    dates = days.astype("datetime64[D]")
    return np.asarray(dates - dates.astype("datetime64[Y]").astype("datetime64[D]"), dtype=np.int64)


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


def _parsed(table: Table, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    for row, token in enumerate(column.to_pylist()):
        try:
            pa.array([token]).cast(pa.timestamp("us"))
        except pa.ArrowInvalid:
            raise DataError(
                f"{table.where(row)}, column {name!r}: {token!r} is not a date; write it as 2013-01-31 or 2013-01-31 17:05:00"
            ) from None
    raise AssertionError("each text is a date, all together are none")
