"""Masked arrays: their values where nothing is masked; else the rows are named and refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.errors import DataError

_ROWS_SHOWN = 8


def as_masked(value: Any) -> Any:
    """A list or tuple that has masked entries as one masked array; anything else as it is."""
    if not isinstance(value, list | tuple) or not any(isinstance(part, np.ma.MaskedArray) for part in value):
        return value
    return np.ma.MaskedArray(
        np.array([np.ma.getdata(part) for part in value]), mask=np.array([np.ma.getmaskarray(part) for part in value])
    )


def unmasked(value: Any, name: str) -> Any:
    """The value, a masked array without its mask; raises DataError where an entry is masked: what lies there is no data."""
    value = as_masked(value)
    if not isinstance(value, np.ma.MaskedArray):
        return value
    rows = np.atleast_1d(np.ma.getmaskarray(value))
    if rows.dtype.names:
        rows = np.array([any(row.tolist()) for row in rows])
    refuse_gaps(rows.reshape(len(rows), -1), name, what="masked ones")
    return value.data


def refuse_gaps(gap: NDArray[Any], name: str, *, what: str = "none") -> None:
    """Raises DataError where a row has a gap, shape (n,) or (n, F)."""
    rows = np.flatnonzero(gap if gap.ndim == 1 else gap.any(axis=1))
    if not len(rows):
        return
    shown = ", ".join(map(str, rows[:_ROWS_SHOWN].tolist())) + (", ..." if len(rows) > _ROWS_SHOWN else "")
    where = f"row{'s' if len(rows) > 1 else ''} {shown} ({len(rows):,} of {len(gap):,})"
    raise DataError(f"{name} must have a value in every row, got {what} in {where}; fill them, or leave those rows out")
