"""A column of text in, the first cell out that keeps it from being the numbers or dates that it was meant to be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MOSTLY = 0.8  # share of cells from which a column of text was meant to be something else
LOOKED_AT = 100  # cells of the first glance, which is the last one for most columns
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
_SPELT = re.compile(  # 1,5 and 1.234,5 and 1,234.5 and 1 234,5 and 1'234.5
    r"\s*[+-]?(\d+,\d+|\d{1,3}(\.\d{3})+(,\d*)?|\d{1,3}(,\d{3})+(\.\d*)?|\d{1,3}([ \u00a0\u202f']\d{3})+([.,]\d*)?)\s*"
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")

_WRITTEN_OTHERWISE = re.compile(  # 31/1/2020 and 01.31.20 and 2020/01/31 and 31-01-2020, alone or with a time of day
    r"\s*(\d{1,2}([./-])\d{1,2}\2\d{4}|\d\d([./-])\d\d\3\d\d|\d{4}([./])\d{1,2}\4\d{1,2})"
    r"([ T]\d{1,2}:\d\d(:\d\d)?( ?[AaPp][Mm])?)?\s*"
)


@dataclass(frozen=True)
class Slip:
    """`token` is no `kind` as it stands: double, a number spelt with separators (decimal), or timestamp."""

    kind: str
    token: str


def is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def are_dates_otherwise(texts: Sequence[str]) -> bool:
    """Whether four of five of the first texts are dates, but not written as 2020-01-31."""
    head = texts[:LOOKED_AT]
    return sum(_WRITTEN_OTHERWISE.fullmatch(text) is not None for text in head) >= MOSTLY * max(1, len(head))


def first_slip(column: pa.ChunkedArray) -> Slip | None:
    """Where four of five cells are numbers, however spelt, or dates: the first that is none; else None."""
    texts = column.drop_null()
    head = texts.slice(0, LOOKED_AT).to_pylist()
    if not head or 2 * sum(is_number(t) or bool(_SPELT.fullmatch(t) or _DATE.fullmatch(t)) for t in head) < len(head):
        return None
    counts = texts.value_counts()
    values = counts.field("values").to_pylist()
    n_rows = counts.field("counts").to_numpy()
    plain = np.array([is_number(text) for text in values])
    spelt = ~plain & np.array([_SPELT.fullmatch(text) is not None for text in values])  # 1.234 is a number as it is
    if n_rows[plain | spelt].sum() >= MOSTLY * n_rows.sum():
        first = int(np.argmax(spelt)) if n_rows[spelt].sum() > n_rows[~plain & ~spelt].sum() else int(np.argmin(plain))
        return Slip("decimal" if spelt[first] else "double", values[first])
    dates = np.array([_DATE.fullmatch(text) is not None for text in values])
    if n_rows[dates].sum() >= MOSTLY * n_rows.sum():
        return next((Slip("timestamp", text) for text in values if not _is_date(text)), None)
    return None


def _is_date(text: str) -> bool:
    try:
        pc.cast(pa.scalar(text), pa.timestamp("ns"))
    except pa.ArrowInvalid:
        return False
    return True
