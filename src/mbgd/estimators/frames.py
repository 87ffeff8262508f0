"""Data frames with categories, dates and missing values in, the numbers and codes of a table's network out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mbgd.data.cells import Cells
from mbgd.data.encode.encoder import Encoder, learn_encoder
from mbgd.data.order import IntArray
from mbgd.data.table import Table, open_table


@dataclass(frozen=True)
class Columns:
    """The columns of a frame by name, encoded as `fit_table` encodes them; learned from the training rows."""

    encoder: Encoder

    def inputs(self, table: Table) -> tuple[Any, Any]:
        """(numbers (n, F) float32, codes (n, C) int64)."""
        encoded = self.encoder.encode(table)
        return encoded.numbers, encoded.codes


def is_frame(X: Any) -> bool:
    """Something with named columns: pandas, polars, pyarrow."""
    return hasattr(X, "columns") and (hasattr(X, "to_numpy") or hasattr(X, "to_pandas")) and not callable(X.columns)


def as_table(X: Any, *, like: Columns | None = None) -> Table:
    """A frame as the table road reads it; `like` the columns that were learned, which settle what text is."""
    if like is None:
        return open_table(X, cells=Cells(door="estimator"))
    return open_table(X, schema_like=like.encoder.schema, cells=like.encoder.cells)


def is_plain(table: Table) -> bool:
    """Whether all columns are numbers or truth values without a gap, and none of them text: then it is an array with names."""
    if table.texts:
        return False
    for column in table.arrow.columns:
        kind = column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            return False
        if column.null_count or (pa.types.is_floating(kind) and pc.any(pc.is_nan(column)).as_py()):
            return False
    return True


def learn_columns(table: Table, training: IntArray | None) -> Columns:
    """The encoder of the training rows, or of all. Raises DataError where no column is left."""
    rows = np.arange(table.n_rows, dtype=np.int64) if training is None else training
    return Columns(learn_encoder(table, training_rows=rows))


def with_names(X: Any, names: Any) -> dict[str, Any]:
    """An array in place of the frame: its columns under the names of training."""
    array = np.asarray(X)
    return {str(name): array[:, column].tolist() for column, name in enumerate(names)}
