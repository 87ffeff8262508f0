"""Read text as timestamps, cell by cell: with or without a zone, up to 9 digits of a second, one-digit months.

n texts
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mbgd.data.order import IntArray

_TIME = r"(?P<h>[0-9]{1,2})(?::(?P<min>[0-9]{2})(?::(?P<s>[0-9]{2})(?:\.(?P<f>[0-9]{1,9}))?)?)?"
_ZONE = r"(?: ?(?P<zone>Z|z|UTC|GMT|(?P<sign>[+-])(?P<zh>[0-9]{2}):?(?P<zm>[0-9]{2})?))?"
_DASHED = rf"^(?P<y>[0-9]{{4}})-(?P<m>[0-9]{{1,2}})-(?P<d>[0-9]{{1,2}})(?:(?:T| +){_TIME}{_ZONE})?$"
_COMPACT = (
    r"^(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})T(?P<h>[0-9]{2})(?:(?P<min>[0-9]{2})"
    rf"(?:(?P<s>[0-9]{{2}})(?:\.(?P<f>[0-9]{{1,9}}))?)?)?{_ZONE}$"
)
BEGINS_LIKE_A_DATE = r"^(?:[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[T ]|$)|[0-9]{8}T[0-9]{2})"
_MICRO = 1_000_000


@dataclass(frozen=True)
class Timestamps:
    """Microseconds since 1970, each (n,): of UTC where the text has a zone, else of whatever clock was meant; `known` is
    False for a text that is no such time."""

    ticks: IntArray
    zoned: NDArray[np.bool_]
    known: NDArray[np.bool_]

    def column(self) -> pa.Array:
        """As timestamps: in UTC where any of them has a zone, a time without one being taken for UTC."""
        kind = pa.timestamp("us", "UTC" if self.zoned.any() else None)
        return pa.array(self.ticks, pa.int64(), mask=~self.known).cast(kind)


def read_timestamps(texts: pa.Array) -> Timestamps:
    """The time that each text is: '2024-01-31', '2024-1-3 9:15:00.1234567 UTC', '20240131T0915+02:00'; null is none."""
    dashed, compact = (pc.extract_regex(texts, pattern) for pattern in (_DASHED, _COMPACT))
    others = {part.name: values for part, values in zip(compact.type, compact.flatten(), strict=True)}
    found = {
        part.name: pc.coalesce(values, others[part.name])
        for part, values in zip(dashed.type, dashed.flatten(), strict=True)
    }
    known = np.asarray(pc.or_(dashed.is_valid(), compact.is_valid()).to_numpy(zero_copy_only=False), dtype=bool)
    year, month, day, hour, minute, second = (whole_numbers(found[name]) for name in ("y", "m", "d", "h", "min", "s"))
    start = _month_starts(year, month)
    lasts = _month_starts(year, month + 1) - start
    known &= (year > 0) & (month > 0) & (month < 13) & (day > 0) & (day <= lasts)
    known &= (hour < 24) & (minute < 60) & (second < 60)
    fraction = fractions_of(found["f"])
    away = whole_numbers(found["zh"]) * 60 + whole_numbers(found["zm"])
    known &= (away < 24 * 60) & (whole_numbers(found["zm"]) < 60)
    behind = np.asarray(pc.equal(pc.fill_null(found["sign"], "+"), "-").to_numpy(zero_copy_only=False), dtype=bool)
    minutes = ((start + day - 1) * 24 + hour) * 60 + minute - np.where(behind, -away, away)
    ticks = (minutes * 60 + second) * _MICRO + fraction
    zoned = np.asarray(pc.not_equal(pc.fill_null(found["zone"], ""), "").to_numpy(zero_copy_only=False), dtype=bool)
    return Timestamps(np.where(known, ticks, 0), zoned & known, known)


def whole_numbers(texts: pa.Array) -> IntArray:
    """Digits as numbers; 0 where there are none."""
    there = pc.if_else(pc.equal(pc.fill_null(texts, ""), ""), "0", texts)
    return np.asarray(there.cast(pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)


def fractions_of(digits: pa.Array) -> IntArray:
    """The digits of a second behind its point as microseconds; 0 where there are none."""
    return whole_numbers(pc.utf8_rpad(pc.utf8_slice_codeunits(pc.fill_null(digits, ""), 0, 6), 6, "0"))


def _month_starts(year: IntArray, month: IntArray) -> IntArray:
    """Days from 1970 to the first of the month, which may be the 13th."""
    months: IntArray = (year - 1970) * 12 + month - 1
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
