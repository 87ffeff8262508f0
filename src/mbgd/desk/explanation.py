"""An explanation of a model as JSON and as a table with the contributions to each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mbgd.data.encode.target import Label
from mbgd.errors import PlanError, plain
from mbgd.measure.exchange import Array
from mbgd.measure.importance import Interval

Value = float | str | None  # of a column; None where it is missing, or a label that was never seen


@dataclass(frozen=True)
class Importance:
    """What the model loses where one column is shuffled: in its loss, and for numbers as a share of the target's variance."""

    column: str
    kind: str
    loss: Interval
    r2: Interval | None


@dataclass(frozen=True)
class Dependence:
    """The mean prediction of some rows with one column set to each of `values`."""

    column: str
    kind: str
    values: tuple[Value, ...]
    means: Array  # (G,) means or probabilities of the second class; (G, C) of each of more classes


@dataclass(frozen=True)
class RowContributions:
    """For the first rows of the data: prediction = base + the sum of contributions.

    `explained` says what a prediction is: a number of the target, or the probability of one of two classes, or of the
    class in `found`, the one that the row is predicted to have.
    """

    rows: tuple[int, ...]  # of the data, as its messages count them
    base: Array  # (n,)
    predictions: Array  # (n,)
    columns: dict[str, Array]  # each (n,)
    found: tuple[Label, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def to_table(self) -> pa.Table:
        """One row each: class where there are more than two, prediction, base, and a column for each input."""
        own: dict[str, Any] = {"class": pa.array(self.found)} if self.found else {}
        own |= {"prediction": self.predictions, "base": self.base}
        if twice := [name for name in own if name in self.columns]:
            raise PlanError(f"a file of contributions has a column {twice[0]} of its own, as the data has; use --json")
        return pa.table({**own, **self.columns})


@dataclass(frozen=True, repr=False)
class Explanation:
    """What `explain` found. `explained` names what is predicted;"""

    target: str
    explained: str
    classes: tuple[Label, ...]
    rows: int  # of the data
    measured_rows: int  # that importance is of
    dependence_rows: int
    background_rows: int
    repeats: int
    against: str  # 'target', or 'predictions' where the data has no target
    scores: dict[str, float]  # of the measured rows as they are
    importance: tuple[Importance, ...]  # the greatest first
    dependence: tuple[Dependence, ...]
    contributions: RowContributions
    notices: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON can say it, but for numbers that are not finite."""
        return {
            "target": self.target,
            "explained": self.explained,
            "classes": list(self.classes),
            "rows": self.rows,
            "measured_rows": self.measured_rows,
            "dependence_rows": self.dependence_rows,
            "background_rows": self.background_rows,
            "repeats": self.repeats,
            "against": self.against,
            "scores": self.scores,
            "importance": [self._importance(found) for found in self.importance],
            "dependence": [
                {"column": d.column, "kind": d.kind, "values": list(d.values), "means": d.means.tolist()}
                for d in self.dependence
            ],
            "contributions": [_row(self.contributions, row) for row in range(len(self.contributions))],
            "notices": list(self.notices),
        }

    def __repr__(self) -> str:
        ends = [(one.column, one.loss if one.r2 is None else one.r2) for one in self.importance]
        lost = "log_loss rises by" if self.classes else "r2 falls by"
        shown = "".join(f"\n  {plain(name)}: {of.estimate:.4g} ({of.low:.4g} to {of.high:.4g})" for name, of in ends)
        return f"Explanation({plain(self.explained)}; {lost}{shown})"

    def _importance(self, found: Importance) -> dict[str, Any]:
        loss = "log_loss" if self.classes else "mse"
        ends = {loss: _ends(found.loss)} | ({} if found.r2 is None else {"r2": _ends(found.r2)})
        return {"column": found.column, "kind": found.kind, **ends}


def _ends(found: Interval) -> dict[str, float]:
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def _row(found: RowContributions, row: int) -> dict[str, Any]:
    named = {"class": found.found[row]} if found.found else {}
    return {
        "row": found.rows[row],
        **named,
        "prediction": float(found.predictions[row]),
        "base": float(found.base[row]),
        "columns": {name: float(values[row]) for name, values in found.columns.items()},
    }
