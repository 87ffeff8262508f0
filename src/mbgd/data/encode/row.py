"""Encode one row of plain values by what an encoder has learned, in microseconds and without Arrow.

F numbers
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from mbgd.data.cells import BLANKS, number, saved_words
from mbgd.data.encode.saved import FURTHEST
from mbgd.data.encode.spelling import Spelling

_NUMBERS = frozenset({float, int, bool, np.float64, np.float32, np.int64, np.int32, np.int16, np.int8, np.bool_})
_INT64 = 1 << 63
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)?)?", re.ASCII)
_EPOCH, _DAY = datetime(1970, 1, 1), 86_400
_UTC = ("UTC", "+00:00", "Etc/UTC")
_EPOCH_DAY = _EPOCH.toordinal()
_SHORT = 1e9  # a whole number below it is spelt by its digits alone, whatever its type
_TURNS = {"hour": 24 * 3600, "weekday": 7.0, "day_of_year": 365.25}  # a period in the units of `_at`


class UnusualValueError(Exception):
    """A value that only the encoder of tables reads, or refuses: a word for a number, an infinity, a decimal."""


@dataclass(frozen=True)
class _Number:
    name: str
    median: float
    scale: float
    flag: bool
    low: float
    high: float

    def put(self, value: Any, into: list[float], codes: list[int]) -> None:
        """z and the flag, as `NumberColumn` has them; plain floats, since arrays of a few numbers cost more."""
        x = _number(value)
        missing = math.isnan(x)
        if self.scale:
            z = 0.0 if missing else math.asinh((x - self.median) / self.scale)
            into.append(min(max(z, self.low), self.high) if not missing else 0.0)
        if self.flag:
            into.append(1.0 if missing else 0.0)

    @staticmethod
    def of(part: Mapping[str, Any]) -> _Number:
        edges = part.get("edges") or (-FURTHEST, FURTHEST)
        return _Number(part["name"], part["median"], part["scale"], part["flag"], edges[0], edges[-1])


@dataclass(frozen=True)
class _Date:
    name: str
    parts: tuple[str, ...]
    flag: bool
    zone: str | None
    code_of: Mapping[str, Mapping[int, int]]

    def put(self, value: Any, into: list[float], codes: list[int]) -> None:
        """Sine and cosine of each part, the flag, and the codes, as `DateColumn` has them."""
        at = _days_and_seconds(value, self.zone)
        for part in self.parts:
            if at is None:
                into += (0.0, 0.0)
                continue
            angle = 2 * math.pi * _at(*at, part) / _TURNS[part]
            into += (math.sin(angle), math.cos(angle))
        if self.flag:
            into.append(1.0 if at is None else 0.0)
        codes += [0 if at is None else code.get(_place(*at, part), 0) for part, code in self.code_of.items()]

    @staticmethod
    def of(part: Mapping[str, Any]) -> _Date:
        codes = {name: {v: k for k, v in enumerate(values, 1)} for name, values in part.get("codes", {}).items()}
        return _Date(part["name"], tuple(part["parts"]), part["flag"], part["zone"], codes)


@dataclass(frozen=True)
class _Category:
    name: str
    spelling: Spelling
    missing: frozenset[str]

    def code(self, value: Any) -> int:
        """0 for what is missing, and for what was never seen unless such share codes."""
        text = value if type(value) is str else _spelt(value)
        if text is None or (text := text.strip(BLANKS)) in self.missing:
            return 0
        return self.spelling.code(text)

    @staticmethod
    def of(part: Mapping[str, Any], missing: frozenset[str]) -> _Category:
        truth, shared = part["type"] == "bool", part.get("shared", 0)
        return _Category(part["name"], Spelling(part["labels"], truth=truth, shared=shared), missing)


class RowEncoder:
    """`Encoder.encode` of one row, from the JSON of an encoder; the same numbers to rounding."""

    def __init__(self, saved: Mapping[str, Any]) -> None:
        self._numbers: list[_Number | _Date] = [
            _Number.of(part) if part["kind"] == "number" else _Date.of(part)
            for part in saved["parts"]
            if part["kind"] in ("number", "date")
        ]
        categories = [part for part in saved["parts"] if part["kind"] == "category"]
        missing = saved_words(saved.get("missing"), (label for part in categories for label in part["labels"]))
        self._words = frozenset(missing)
        self._categories = [_Category.of(part, self._words) for part in categories]
        self._missing = frozenset(float(word) for word in missing if number(word) is not None)

    def __call__(self, row: Mapping[str, Any]) -> tuple[NDArray[np.float32], list[int]]:
        """(numbers float32 (F,), codes). Raises UnusualValueError, and KeyError for an absent column."""
        numbers: list[float] = []
        of_dates: list[int] = []
        for column in self._numbers:
            value = row[column.name]
            if type(value) is str:
                value = None if (text := value.strip(BLANKS)) in self._words else text
            if self._missing and _value(value) in self._missing:
                value = None
            column.put(value, numbers, of_dates)
        codes = [column.code(row[column.name]) for column in self._categories]
        return np.array(numbers, np.float32), codes + of_dates


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if type(value) is str:
        value = number(value)
    if type(value) not in _NUMBERS or (type(value) is int and not -_INT64 <= value < _INT64):
        raise UnusualValueError
    found = float(value)
    if math.isinf(found):
        raise UnusualValueError
    return found


def _value(value: Any) -> Any:
    """A number, also of a text; None for what is none."""
    return number(value) if type(value) is str else value if type(value) in _NUMBERS else None


def _spelt(value: Any) -> str | None:
    """A label as Arrow spells it; None where it is missing."""
    if value is None:
        return None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if type(value) not in _NUMBERS:
        raise UnusualValueError
    if math.isnan(value):
        return None
    if not -_SHORT < value < _SHORT or value != int(value) or (value == 0 and math.copysign(1.0, value) < 0):
        raise UnusualValueError
    return str(int(value))


def _days_and_seconds(value: Any, zone: str | None) -> tuple[int, int] | None:
    """(days since 1970, seconds of the day) on the clock of `zone`, or else on that which the value was written by; None
    where it is missing."""
    if value is None:
        return None
    if type(value) is str and _DATE.fullmatch(value):
        value = _parsed(value)
    if isinstance(value, datetime):
        if hasattr(value, "to_pydatetime"):  # a pandas Timestamp, or NaT, which is no time
            if value != value:  # noqa: PLR0124
                return None
            value = value.to_pydatetime(warn=False)
        since = (value if value.tzinfo is None else _on_clock(value, zone)) - _EPOCH
        return since.days, since.seconds
    if type(value) is date:
        return value.toordinal() - _EPOCH_DAY, 0
    raise UnusualValueError


def _parsed(text: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
        return value if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnusualValueError from None


def _on_clock(value: datetime, zone: str | None) -> datetime:
    """The time that the clock of a zone shows then."""
    try:
        if zone is not None:
            value = value.astimezone(UTC if zone in _UTC else ZoneInfo(zone))
        return value.replace(tzinfo=None)
    except (KeyError, ValueError, OSError, OverflowError):  # a zone that is not known here, or is no name
        raise UnusualValueError from None


def _at(days: int, seconds: int, part: str) -> int:
    """Second of the day, day of the week (Monday 0) or day of the year (1 January 0)."""
    if part == "hour":
        return seconds
    if part == "weekday":
        return (days + 3) % 7  # 1 January 1970 was a Thursday
    return date.fromordinal(days + _EPOCH_DAY).timetuple().tm_yday - 1


def _place(days: int, seconds: int, part: str) -> int:
    """As `_at`, but hours in place of seconds; and the month, January 1."""
    if part == "month":
        return date.fromordinal(days + _EPOCH_DAY).month
    return seconds // 3600 if part == "hour" else _at(days, seconds, part)
