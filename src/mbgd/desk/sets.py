"""Which rows teach what: a table and a plan in, the row numbers that train, that stop, and that only score out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mbgd.data.folds import folds_of_groups, folds_of_rows
from mbgd.data.order import IntArray
from mbgd.data.split import hold_out, hold_out_groups, hold_out_latest
from mbgd.data.table import Table, check_column
from mbgd.desk.plan import Plan
from mbgd.errors import DataError, PlanError, did_you_mean
from mbgd.seeds import Purpose

KINDS = ("random", "time", "group", "column")
_WORDS = {"train": 0, "training": 0, "validation": 1, "valid": 1, "val": 1, "test": 2}


@dataclass(frozen=True)
class Sets:
    """Row numbers in rising order, disjoint; `training` alone reaches encoder, scales and gradients."""

    training: IntArray
    validation: IntArray
    test: IntArray


def split_column(plan: Plan) -> str | None:
    """The column that a split goes by, or None. Raises PlanError for a word that is no split."""
    kind, _, column = plan.split.partition(":")
    if kind not in KINDS or (kind == "random") != (not column):
        demand = "random, time:COLUMN, group:COLUMN or column:COLUMN"
        raise PlanError(f"split must be {demand}, got {plan.split!r}{did_you_mean(kind, KINDS)}")
    return column or None


def split(table: Table, plan: Plan, *, labels: IntArray | None) -> Sets:
    """Test rows first, then validation rows from the rest; `labels`, shape (n_rows,), keeps the shares within each class."""
    everything = np.arange(table.n_rows, dtype=np.int64)
    column = split_column(plan)
    if column is not None:
        check_column(table, column)
    if plan.split.startswith("column:"):
        return _marked(table, str(column))
    rest, test = _hold(table, plan, plan.test, rows=everything, labels=labels, purpose=Purpose.TEST_ROWS)
    training, validation = _hold(
        table, plan, plan.validation, rows=rest, labels=labels, purpose=Purpose.VALIDATION_ROWS
    )
    if not len(training):
        raise DataError(
            f"{table.name}: a training set needs at least one row, got none of {table.n_rows}; hold out less"
        )
    return Sets(training, validation, test)


def folded(table: Table, plan: Plan, sets: Sets, *, labels: IntArray | None) -> tuple[Sets, ...]:
    """The sets of each of `plan.folds` models: its fold of the training rows takes the place of validation rows."""
    kind, _, column = plan.split.partition(":")
    if plan.folds is None:
        return (sets,)
    rows = sets.training
    if kind == "group":
        fold = folds_of_groups(_groups(table, column)[rows], plan.folds, seed=plan.seed)
    else:
        within = None if labels is None else labels[rows]
        fold = folds_of_rows(rows, plan.folds, seed=plan.seed, labels=within)
    return tuple(Sets(rows[fold != k], rows[fold == k], sets.test) for k in range(plan.folds))


def _hold(
    table: Table, plan: Plan, share: object, *, rows: IntArray, labels: IntArray | None, purpose: Purpose
) -> tuple[IntArray, IntArray]:
    """(kept, held out) of `rows`; a file or nothing in place of a share holds out none of them."""
    if not isinstance(share, float):
        return rows, rows[:0]
    kind, _, column = plan.split.partition(":")
    if kind == "time":
        kept, held = hold_out_latest(_times(table, column)[rows], share)
    elif kind == "group":
        kept, held = hold_out_groups(_groups(table, column)[rows], share, seed=plan.seed, purpose=purpose)
    else:
        within = None if labels is None else labels[rows]
        kept, held = hold_out(len(rows), share, seed=plan.seed, purpose=purpose, labels=within)
    return rows[kept], rows[held]


def times_of(table: Table, plan: Plan) -> IntArray | None:
    """The time of each row, shape (n_rows,), where the split is by time; else None."""
    kind, _, column = plan.split.partition(":")
    return _times(table, column) if kind == "time" else None


def _times(table: Table, column: str) -> IntArray:
    """Nanoseconds or whatever whole or real number the column counts in, shape (n_rows,)."""
    values = table.column(column)
    if values.null_count:
        row = int(np.flatnonzero(np.asarray(pc.is_null(values)))[0])
        raise DataError(
            f"{table.where(row)}, column {column!r}: a split by time needs a time in every row, got none; fill it"
        )
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        try:
            values = values.cast(pa.timestamp("us"))
        except pa.ArrowInvalid:
            raise _no_time(table, column, values) from None
    elif pa.types.is_interval(kind) or not (
        pa.types.is_temporal(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    ):
        raise DataError(f"{table.name}, column {column!r}: a split by time needs times or numbers, got {kind}")
    times = np.asarray(values.to_numpy())
    return times.astype(np.int64) if times.dtype.kind in "mM" else times


def _no_time(table: Table, column: str, values: pa.ChunkedArray) -> DataError:
    row, text = next((row, text) for row, text in enumerate(values.to_pylist()) if not _is_time(text))
    where = f"{table.where(row)}, column {column!r}"
    return DataError(f"{where}: a split by time needs times or numbers, got {text!r}; write it as 2024-01-31 23:59")


def _is_time(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return False
    return True


def _groups(table: Table, column: str) -> IntArray:
    """A number for each group: a hash of its name, so that membership does not depend on which others there are."""
    values = table.column(column)
    if pa.types.is_dictionary(values.type):  # whose missing values are in no dictionary
        values = values.cast(values.type.value_type)
    try:
        encoded = values.dictionary_encode(null_encoding="encode").combine_chunks()
    except pa.ArrowNotImplementedError:  # lists, and types that an extension of Arrow brings
        demand = "a split by group needs numbers, text or times"
        raise DataError(f"{table.name}, column {column!r}: {demand}, got {values.type}; convert it first") from None
    array = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    names = [str(name) for name in array.dictionary.to_pylist()]
    codes = np.array([_name_hash(name) for name in names], dtype=np.int64)
    groups: IntArray = codes[array.indices.to_numpy(zero_copy_only=False)]
    return groups


def _name_hash(name: str) -> int:
    """FNV-1a over UTF-8, 63 bits: the same in every process, as Python's own hash is not."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & ((1 << 64) - 1)
    return value >> 1


def _marked(table: Table, column: str) -> Sets:
    words = [str(word).strip().lower() for word in table.column(column).to_pylist()]
    unknown = [row for row, word in enumerate(words) if word not in _WORDS]
    if unknown:
        where = f"{table.where(unknown[0])}, column {column!r}"
        raise DataError(f"{where}: a set must be train, validation or test, got {words[unknown[0]]!r}; correct it")
    marks = np.array([_WORDS[word] for word in words])
    if not (marks == 0).any():
        raise DataError(
            f"{table.name}, column {column!r}: at least one row must say train, got none; mark the training rows"
        )
    training, validation, test = (np.flatnonzero(marks == mark).astype(np.int64) for mark in range(3))
    return Sets(training, validation, test)
