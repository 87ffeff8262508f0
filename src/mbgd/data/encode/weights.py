"""A weight column or class codes in, one weight a row out."""

from __future__ import annotations

import numpy as np

from mbgd.data.encode.numbers import FloatArray, as_floats, check_finite
from mbgd.data.order import IntArray
from mbgd.data.table import Table
from mbgd.errors import DataError, PlanError


def row_weights(table: Table, column: str) -> FloatArray:
    """The weights (n_rows,) of a column; DataError, with the row, for one that is missing, negative or infinite."""
    w = as_floats(table, column)
    check_finite(w, table=table, name=column)
    bad = np.flatnonzero(~(w >= 0))  # NaN is not >= 0
    if len(bad):
        given = "none" if np.isnan(w[bad[0]]) else f"{w[bad[0]]:g}"
        raise DataError(
            f"{table.where(bad[0])}, column {column!r}: a weight must be 0 or more, got {given}; 0 leaves the row out"
        )
    if not w.any():
        raise DataError(
            f"{table.name}, column {column!r}: the weights sum to 0; give at least one row a weight above 0"
        )
    return w


def class_weights(codes: IntArray, how: str = "balanced", *, training_rows: IntArray | None = None) -> FloatArray:
    """n / (K n_c) for a row of class c, n_c of n training rows and K classes: every class weighs the same in total.

    Rows with code -1 (no label), and of classes without a training row, weigh 0.
    """
    if how != "balanced":
        raise PlanError(f"class_weight must be 'balanced', got {how!r}; for other weights give a weight column")
    known = codes if training_rows is None else codes[training_rows]
    counts = np.bincount(known[known >= 0], minlength=int(codes.max(initial=0)) + 1)
    with np.errstate(divide="ignore"):
        of_class = np.where(counts > 0, counts.sum() / (np.count_nonzero(counts) * counts), 0.0)
    return np.asarray(np.where(codes >= 0, of_class[codes], 0.0), dtype=np.float64)
