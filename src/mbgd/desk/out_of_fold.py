"""What each row was predicted to be by the models not trained on it in, columns and a Parquet file of them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mbgd.desk.sets import Sets
from mbgd.desk.table import TableRows
from mbgd.store import writing

OUT_OF_FOLD = "out_of_fold.parquet"


def out_of_fold(rows: TableRows, folds: Sequence[Sets], means: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Columns by name, in rising order of the rows, each row of the folds once.

    `row` counts from 0 in the table as it was given, rows without a target included; `fold` from 1; `target` and
    `prediction` are numbers or labels, with a `probability_<label>` for each class. means: by row number, as `Ensemble`
    gives them.
    """
    held = np.concatenate([sets.validation for sets in folds])
    fold = np.repeat(np.arange(1, len(folds) + 1), [len(sets.validation) for sets in folds])
    order = np.argsort(held)
    held, taken = held[order], rows.places[0].taken
    columns: dict[str, NDArray[Any]] = {"row": held if taken is None else taken[held], "fold": fold[order]}
    y, said = rows.y[held], means[held]
    if not rows.target.classes:
        return columns | {"target": y, "prediction": said}
    classes = np.array(rows.target.classes)
    shares = np.stack([1.0 - said, said], axis=1) if said.ndim == 1 else said
    columns |= {"target": classes[y], "prediction": classes[shares.argmax(axis=1)]}
    return columns | {f"probability_{label}": shares[:, k] for k, label in enumerate(rows.target.classes)}


def write_out_of_fold(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Whole or not at all. Raises StorageError."""
    table = pa.table({name: pa.array(np.ascontiguousarray(values)) for name, values in columns.items()})
    with writing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
