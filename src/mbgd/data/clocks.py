"""Texts of times of day and of durations read as microseconds, cell by cell: 9:15, 09:15:00.5, 9:15 PM, 1 days 02:03:04.

n texts
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mbgd.data.order import IntArray
from mbgd.data.timestamps import fractions_of, whole_numbers

_CLOCK = r"^(?P<h>[0-9]{1,2}):(?P<min>[0-9]{2})(?::(?P<s>[0-9]{2})(?:\.(?P<f>[0-9]{1,9}))?)?(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?$"
_DAYS = (  # as pandas and Python write a timedelta: '-1 days +23:00:00', '1 day, 2:03:04.5'; of less than a day as a clock
    r"^(?P<d>-?[0-9]{1,7}) days?(?:,? \+?(?P<h>[0-9]{1,2}):(?P<min>[0-9]{2}):(?P<s>[0-9]{2})(?:\.(?P<f>[0-9]{1,9}))?)?$"
)
_MICRO = 1_000_000


@dataclass(frozen=True)
class Clocks:
    """Microseconds since midnight, or of a duration, each (n,); `known` is False for a text that is none of them."""

    ticks: IntArray
    known: NDArray[np.bool_]
    has_days: NDArray[np.bool_]
    only_days: NDArray[np.bool_]

    def column(self) -> pa.Array:
        """As durations where any is written with days, else as times of day."""
        ticks = pa.array(self.ticks, pa.int64(), mask=~self.known)
        return ticks.cast(pa.duration("us") if self.has_days.any() else pa.time64("us"))


def read_clocks(texts: pa.Array) -> Clocks:
    """The time of day or duration that each text is; null is none."""
    clock, days = (pc.extract_regex(texts, pattern) for pattern in (_CLOCK, _DAYS))
    of_clock, of_days = (
        {part.name: values for part, values in zip(found.type, found.flatten(), strict=True)} for found in (clock, days)
    )
    has_days = np.asarray(days.is_valid().to_numpy(zero_copy_only=False), dtype=bool)
    known = np.asarray(clock.is_valid().to_numpy(zero_copy_only=False), dtype=bool) | has_days
    found = {name: pc.coalesce(of_clock[name], of_days[name]) for name in ("h", "min", "s", "f")}
    hour, minute, second = (whole_numbers(found[name]) for name in ("h", "min", "s"))
    half = pc.utf8_lower(pc.fill_null(of_clock["half"], ""))
    halved, behind_noon = (_are(pc.not_equal(half, "")), _are(pc.equal(half, "p")))
    known &= (hour < 24) & (minute < 60) & (second < 60) & (~halved | ((hour > 0) & (hour < 13)))
    hour = np.where(halved, hour % 12 + np.where(behind_noon, 12, 0), hour)
    minutes = (whole_numbers(of_days["d"]) * 24 + hour) * 60 + minute
    ticks = (minutes * 60 + second) * _MICRO + fractions_of(found["f"])
    return Clocks(
        np.where(known, ticks, 0), known, has_days, has_days & _are(pc.equal(pc.fill_null(of_days["h"], ""), ""))
    )


def _are(values: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=bool)
