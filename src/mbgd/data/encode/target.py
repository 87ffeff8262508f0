"""Encode the target: its task, classes and scale are learned, and its values are given as a loss takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mbgd.data.bad_cells import are_measures
from mbgd.data.concat import is_number
from mbgd.data.encode.categories import plain_name
from mbgd.data.encode.numbers import FloatArray, as_floats, check_finite
from mbgd.data.encode.saved import TASKS, WIDEST
from mbgd.data.encode.spelling import Spelling
from mbgd.data.order import IntArray
from mbgd.data.powers import deviation
from mbgd.data.table import Table
from mbgd.data.text import is_text
from mbgd.errors import DataError, PlanError, argument, did_you_mean, option

Task = Literal["regression", "classification"]
Label = str | int | bool
TOO_WIDE = "is too large for a target; give it in larger units"
FEW = 20  # distinct whole numbers up to which a target is read as class labels


@dataclass(frozen=True)
class Target:
    """What is predicted: a number, centred and scaled by the training rows, or one of `classes` in rising order.

    `low` and `high` are the least and the greatest training target: no prediction lies outside of them.
    """

    name: str
    task: Task
    classes: tuple[Label, ...] = ()
    center: float = 0.0
    scale: float = 1.0
    low: float = -inf
    high: float = inf

    @property
    def names(self) -> tuple[str, ...]:
        """The columns it is read from: this one."""
        return (self.name,)

    def encode(self, table: Table) -> FloatArray | IntArray:
        """Regression: float64 with NaN where missing; classification: the class number, -1 where missing.

        Raises DataError, with the row, for a value that is not finite or a label that is not among the classes.
        """
        if self.task == "classification":
            return self._codes(table)
        y = as_floats(table, self.name)
        check_finite(y, table=table, name=self.name)
        return y

    def fit_scale(self, y: FloatArray, training_rows: IntArray) -> Target:
        """With mean, standard deviation (divisor n) and range of the training rows; a constant target keeps scale 1."""
        if self.task == "classification":
            return self
        seen = y[training_rows]
        seen = seen[~np.isnan(seen)]
        if not len(seen):
            raise DataError(f"target {self.name!r} needs at least one training row with a value, got none")
        low, high = float(seen.min()), float(seen.max())
        return replace(self, center=float(seen.mean()), scale=deviation(seen) or 1.0, low=low, high=high)

    def widened(self, y: FloatArray, training_rows: IntArray) -> Target:
        """With a range that holds these training rows, too: of a model that is trained further. No range stays none."""
        seen = y[training_rows]
        return replace(self, low=min(self.low, float(seen.min())), high=max(self.high, float(seen.max())))

    def standardise(self, y: FloatArray) -> NDArray[np.float32]:
        """(y - center) / scale, what a network learns; unweighted."""
        return ((y - self.center) / self.scale).astype(np.float32)

    def restore(self, outputs: NDArray[Any]) -> FloatArray:
        """The inverse of `standardise`, in float64, clamped to the range of the training rows."""
        means: FloatArray = outputs.astype(np.float64) * self.scale + self.center
        return np.clip(means, self.low, self.high)

    def to_json(self) -> dict[str, Any]:
        ends = {"low": self.low, "high": self.high}
        return {"name": self.name, "task": self.task, "classes": list(self.classes), "center": self.center,
                "scale": self.scale, **{name: end if isfinite(end) else None for name, end in ends.items()}}  # fmt: skip

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> Target:
        """`to_json` undone; without an end, as before there were such, predictions are unbounded on that side."""
        classes = tuple(saved["classes"])
        low, high = saved.get("low"), saved.get("high")
        return Target(
            saved["name"],
            saved["task"],
            classes,
            center=float(saved["center"]),
            scale=float(saved["scale"]),
            low=-inf if low is None else float(low),
            high=inf if high is None else float(high),
        )

    def _codes(self, table: Table) -> IntArray:
        values, index = _labels(table, self.name)
        truth = all(isinstance(label, bool) for label in self.classes)
        spelling = Spelling([_text(label) for label in self.classes], truth=truth)
        # another file may spell them as numbers, text or truth values: '1', 1.0, True
        codes = [code - 1 if (code := spelling.known(_text(value))) else -2 for value in values]
        code_of = np.array([*codes, -1], dtype=np.int64)[index]
        unseen = np.flatnonzero(code_of == -2)
        if len(unseen):
            label = values[index[unseen[0]]]
            listed = ", ".join(repr(c) for c in self.classes[:8]) + (", ..." if len(self.classes) > 8 else "")
            raise DataError(
                f"{table.where(unseen[0])}, column {self.name!r}: the label {label!r} is none of the classes "
                f"({listed}); correct it, leave the cell empty, or train again with it"
            )
        return code_of


def learn_target(table: Table, column: str, *, task: str | None = None, gaps: bool = False) -> Target:
    """The task of a column and its classes, from all rows that have a target; `gaps` says that others had none.

    Classification for text, truth values, categories, and at most 20 different whole numbers, which are floats where there
    are gaps, unless `task` says otherwise. Raises DataError for one class only, a fraction as class label, text that is no
    number, an infinite value, no value at all.
    """
    if task is not None and task not in TASKS:
        raise PlanError(f"task must be regression or classification, got {task!r}{did_you_mean(task, TASKS)}")
    kind = _value_type(table.column(column).type)
    if not has_target(table, column).any():
        raise DataError(
            f"{table.name}, column {column!r}: every target is missing; name another column as the target"
            f"{_or_as_label(table, column)}"
        )
    if not (is_text(kind) or pa.types.is_boolean(kind) or is_number(kind)):
        raise DataError(
            f"{table.name}, column {column!r}: a target must be numbers or labels, got {kind}; convert it first"
        )
    if (task or _task_of(table, column, gaps=gaps)) == "regression":
        target = Target(column, "regression")
        _check_numbers(table, column, y=target.encode(table))  # what is no finite number is named now
        return target
    values, index = _labels(table, column)
    _check_labels(table, column, values=values, index=index)
    if task is None and len(values) > FEW and are_measures([value for value in values if isinstance(value, str)]):
        raise DataError(
            f"{table.name}, column {column!r}: its values look like numbers with units, such as {values[0]!r}; write the "
            f"numbers alone, or predict labels: {option('task', 'classification')}"
        )
    if len(values) > FEW and len(values) == int((index < len(values)).sum()):
        raise DataError(
            f"{table.name}, column {column!r}: each of its {len(values):,} labels stands once, as in a key; name another target"
        )
    if len(values) < 2:
        raise DataError(
            f"{table.name}, column {column!r}: classification needs at least two classes, got {values[0]!r} alone; "
            f"add rows of another class, or name another target{_or_as_label(table, column)}"
        )
    return Target(column, "classification", tuple(sorted(values)))


def _or_as_label(table: Table, name: str) -> str:
    """The remedy where the most frequent word for missing in a target may be a label; nothing where there is no such."""
    words = table.words.get(name, {})
    if not words:
        return ""
    word = max(words, key=lambda one: words[one])
    kept = option("keep_default_na", "False")
    return f"; {word!r} stands in {words[word]:,} rows and is read as missing: if it is a label, {kept} keeps it"


def task_said(table: Table, target: Target, *, asked: bool) -> str:
    """The task and its reason in one line, such as 'the task for churn is classification: 2 labels of text'."""
    kind, what = table.column(target.name).type, ""
    if not target.classes:
        distinct = int(pc.count_distinct(table.column(target.name)).as_py())
        what = f"a number with {distinct:,} different values"
    elif pa.types.is_boolean(_value_type(kind)):
        what = "true or false"
    elif all(isinstance(label, str) for label in target.classes):
        what = f"{len(target.classes):,} labels of text"
    else:
        what = f"{len(target.classes):,} different whole numbers"
        other = argument("task", "regression")
        what += "" if asked or pa.types.is_dictionary(kind) else f", which {other} predicts as a number"
    return f"the task for {target.name} is {target.task}{', as asked' if asked else ''}: {what}"


def _check_numbers(table: Table, name: str, *, y: NDArray[Any]) -> None:
    """Raises DataError for a number whose square is none, and where all are one number."""
    there = y[~np.isnan(y)]
    if (wide := too_wide(y)) is not None:
        raise DataError(f"{table.where(wide[0])}, column {name!r}: {y[wide]:g} {TOO_WIDE}")
    if there.min() == there.max():
        raise DataError(
            f"{table.name}, column {name!r}: every target is {there[0]:g}, there is nothing to learn; name another column"
        )


def too_wide(y: NDArray[Any]) -> tuple[int, ...] | None:
    """The place of the first number whose square is none, or None where there is no such."""
    wide = np.argwhere(np.abs(y) > WIDEST)
    return tuple(wide[0].tolist()) if len(wide) else None


def has_target(table: Table, column: str) -> NDArray[np.bool_]:
    """True where the row has a target: not null and not NaN."""
    return ~np.asarray(pc.is_null(table.column(column), nan_is_null=True).to_numpy(), dtype=bool)


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _task_of(table: Table, name: str, *, gaps: bool) -> Task:
    values = table.column(name)
    kind = values.type
    if pa.types.is_dictionary(kind) or is_text(kind) or pa.types.is_boolean(kind):
        return "classification"
    if pa.types.is_floating(kind) and gaps:  # pandas has no other type for whole numbers with gaps
        distinct = pc.unique(values.cast(pa.float64())).drop_null().to_numpy(zero_copy_only=False)
        distinct = distinct[~np.isnan(distinct)]
        return "classification" if 1 < len(distinct) <= FEW and (distinct == np.round(distinct)).all() else "regression"
    few = pa.types.is_integer(kind) and pc.count_distinct(values).as_py() <= FEW
    return "classification" if few else "regression"


def _labels(table: Table, name: str) -> tuple[list[Label], IntArray]:
    """(distinct labels, index into them a row); a missing label has the index len(labels)."""
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    encoded = column.dictionary_encode()
    array = encoded.combine_chunks() if encoded.num_chunks != 1 else encoded.chunk(0)
    index = array.indices.cast(pa.int64()).fill_null(len(array.dictionary))
    values = [int(v) if isinstance(v, float) and v.is_integer() else v for v in array.dictionary.to_pylist()]
    return values, np.asarray(index.to_numpy(zero_copy_only=False), dtype=np.int64)


def _check_labels(table: Table, name: str, *, values: list[Label], index: IntArray) -> None:
    for number, value in enumerate(values):
        if not isinstance(value, str | int):
            row = int(np.flatnonzero(index == number)[0])
            raise DataError(
                f"{table.where(row)}, column {name!r}: a class label must be text, true or false, or a whole number, "
                f"got {value!r} ({plain_name(table.column(name).type)}); {option('task', 'regression')} predicts numbers"
            )


def _text(label: object) -> str:
    """As a label of a column of categories is spelt."""
    return str(label).lower() if isinstance(label, bool) else str(label)
