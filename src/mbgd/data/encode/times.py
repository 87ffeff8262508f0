"""A column to predict for that was one of times in training, read as numbers: the same numbers from text and any unit."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mbgd.data.clocks import read_clocks
from mbgd.data.text import is_text
from mbgd.data.timestamps import read_timestamps

TIMES = ("time", "duration", "date")
"""How the names of Arrow's types of times begin."""


def as_times(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """The column in the unit of `kind`, the type that it had in training, where its type is of times; of text each time of
    day and duration as its seconds, each date as a number in that unit, and all else as it stands."""
    held = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    dated = kind.startswith(("timestamp", "date"))
    if not is_text(held):
        of_dates = pa.types.is_timestamp(held) or pa.types.is_date(held)
        return column.cast(_unit(kind), safe=False) if dated and of_dates else column
    texts = column.cast(pa.large_string())
    cells = texts.combine_chunks() if texts.num_chunks != 1 else texts.chunk(0)
    if dated:
        moments = read_timestamps(cells)
        ticks = pa.array(moments.ticks, pa.int64(), mask=~moments.known).cast(pa.timestamp("us"))
        ticks = ticks.cast(_unit(kind), safe=False)
        numbers = ticks.cast(pa.int32() if pa.types.is_date32(ticks.type) else pa.int64())
    else:
        clocks = read_clocks(cells)
        numbers = pc.divide(pa.array(clocks.ticks.astype(np.float64), mask=~clocks.known), 1e6)
    return pa.chunked_array([pc.coalesce(numbers.cast(pa.large_string()), cells)])


def _unit(kind: str) -> pa.DataType:
    found = re.match(r"timestamp\[(\w+)", kind)
    return pa.timestamp(found[1]) if found is not None else pa.date64() if "64" in kind else pa.date32()
