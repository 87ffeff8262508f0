"""Several columns of numbers that are predicted at once in, one target made of them out; of one column, that column's own.

n rows · T targets
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.data.encode.numbers import FloatArray
from mbgd.data.encode.target import Label, Target, Task, has_target, learn_target
from mbgd.data.order import IntArray
from mbgd.data.table import Table, check_column
from mbgd.errors import PlanError


@dataclass(frozen=True)
class Targets:
    """What `Target` is of one number, of T of them side by side: values (n, T), each with a scale and a range of its own."""

    each: tuple[Target, ...]
    task: Task = "regression"
    classes: tuple[Label, ...] = ()

    @property
    def name(self) -> str:
        return ", ".join(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.each)

    @property
    def center(self) -> FloatArray:
        return np.array([one.center for one in self.each])

    @property
    def scale(self) -> FloatArray:
        return np.array([one.scale for one in self.each])

    @property
    def low(self) -> FloatArray:
        return np.array([one.low for one in self.each])

    @property
    def high(self) -> FloatArray:
        return np.array([one.high for one in self.each])

    def encode(self, table: Table) -> FloatArray:
        """float64 (n, T), NaN where missing. Raises DataError, with row and column, for a value that is not finite."""
        return np.stack([one.encode(table).astype(np.float64) for one in self.each], axis=1)

    def fit_scale(self, y: FloatArray, training_rows: IntArray) -> Targets:
        return replace(self, each=tuple(one.fit_scale(y_n, training_rows) for one, y_n in apart(self, y)))

    def widened(self, y: FloatArray, training_rows: IntArray) -> Targets:
        return replace(self, each=tuple(one.widened(y_n, training_rows) for one, y_n in apart(self, y)))

    def standardise(self, y: FloatArray) -> NDArray[np.float32]:
        return np.stack([one.standardise(y_n) for one, y_n in apart(self, y)], axis=1)

    def restore(self, outputs: NDArray[Any]) -> FloatArray:
        return np.stack([one.restore(of_one) for one, of_one in apart(self, outputs)], axis=1)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "task": self.task, "several": [one.to_json() for one in self.each]}


def apart(target: Target | Targets, y: NDArray[Any]) -> Iterator[tuple[Target, NDArray[Any]]]:
    """Each target with its own column of values (n, T), or the one with all."""
    if isinstance(target, Target):
        yield target, y
        return
    for place, one in enumerate(target.each):
        yield one, y[:, place]


def learn_targets(
    table: Table, columns: Sequence[str], *, task: str | None = None, gaps: Collection[str] = ()
) -> Target | Targets:
    """`learn_target` of one column; of several, which have to be numbers. Raises PlanError where one has classes."""
    if len(columns) == 1:
        return learn_target(table, columns[0], task=task, gaps=columns[0] in gaps)
    if task == "classification":
        raise PlanError(
            "several targets must be numbers, got task='classification'; train a model for each, or leave it out"
        )
    each = tuple(learn_target(table, column, task=task) for column in columns)
    for one in each:
        if one.classes:
            raise PlanError(
                f"several targets must be numbers, got the classes of {one.name!r}; train a model of its own for it, "
                "or give task='regression' for whole numbers"
            )
    return Targets(each)


def have_targets(table: Table, columns: Sequence[str]) -> NDArray[np.bool_]:
    """True where the row has a value in each of the columns."""
    for column in columns:
        check_column(table, column)
    found: NDArray[np.bool_] = np.logical_and.reduce([has_target(table, column) for column in columns])
    return found


def target_from_json(saved: Mapping[str, Any]) -> Target | Targets:
    """`to_json` of either undone."""
    if "several" in saved:
        return Targets(tuple(Target.from_json(one) for one in saved["several"]))
    return Target.from_json(saved)
