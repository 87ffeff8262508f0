"""Write the out-of-fold predictions, each by the models not trained on that row, as a Parquet file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mbgd.desk.ensemble import Predicting, columns_of
from mbgd.desk.sets import Sets
from mbgd.desk.table import TableRows
from mbgd.store import writing


def out_of_fold(
    rows: TableRows, folds: Sequence[Sets], means: NDArray[np.float64], predictor: Predicting
) -> dict[str, NDArray[Any]]:
    """Columns by name, in rising order of the rows, each row of the folds once.

    `row` counts from 0 in the table as it was given, rows without a target included; `fold` from 1; `target` (for several
    `target_<name>` each) is a number or a label; then come the columns of a file of predictions. means: by row number, as
    `predictor`, an `Ensemble`, gives them.
    """
    held = np.concatenate([sets.validation for sets in folds])
    fold = np.repeat(np.arange(1, len(folds) + 1), [len(sets.validation) for sets in folds])
    order = np.argsort(held)
    held, taken = held[order], rows.places[0].taken
    columns: dict[str, NDArray[Any]] = {"row": held if taken is None else taken[held], "fold": fold[order]}
    y, names = rows.y[held], rows.target.names
    if len(names) > 1:
        columns |= {f"target_{name}": np.ascontiguousarray(y_n) for name, y_n in zip(names, y.T, strict=True)}
    else:
        columns["target"] = np.array(rows.target.classes)[y] if rows.target.classes else y
    return columns | columns_of(predictor, means[held])


def write_out_of_fold(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Whole or not at all. Raises StorageError."""
    table = pa.table({name: pa.array(np.ascontiguousarray(values)) for name, values in columns.items()})
    with writing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
