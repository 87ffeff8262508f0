"""What a run leaves: the model with its scores and history, asked for predictions or saved as one file."""

from __future__ import annotations

import os
from copy import copy
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mbgd.desk.ensemble import Predicting
from mbgd.desk.plan import Plan
from mbgd.desk.run_html import run_html
from mbgd.desk.shown import shown_names
from mbgd.errors import plain
from mbgd.loop.stop import Ending
from mbgd.measure.calibrate import Calibration
from mbgd.measure.conformal import Covered, Widening, covered
from mbgd.measure.threshold import Threshold
from mbgd.record.history import History

SOME = 100  # items of a list that is looked through


def _kind(value: Any) -> Any:
    """The function or class itself, else the class of an object; of a partial that of what it calls."""
    value = value.func if isinstance(value, partial) else value
    return value if isinstance(value, type | FunctionType | BuiltinFunctionType) else type(value)


def _is_local(value: Any, *, depth: int = 8) -> bool:
    """Whether it is a function inside another, which a pickle cannot find again, or holds one."""
    if depth == 0 or value is None or isinstance(value, str | int | float | Tensor | np.ndarray):
        return False
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return "<" in value.__qualname__
    if isinstance(value, list | tuple | dict):
        parts: Any = value.values() if isinstance(value, dict) else value[:SOME]
    else:
        try:
            parts = value.__reduce_ex__(4)
        except Exception:  # what an object that no pickle holds raises is its own
            return True
    return not isinstance(parts, str) and any(_is_local(part, depth=depth - 1) for part in parts)


def _with(plan: Plan, knobs: dict[str, Any]) -> Plan:
    """A plan with other values, which are not checked."""
    changed = copy(plan)
    vars(changed).update(knobs)
    return changed


@dataclass(frozen=True)
class Run:
    """A finished training. `scores` maps a set of rows ('validation', 'test', ...) to its metrics."""

    predictor: Predicting
    plan: Plan
    history: History
    ending: Ending
    scores: dict[str, dict[str, float]]
    resolved: dict[str, Any]
    seconds: float
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    calibration: Calibration | None = None  # of a table's classes, by its validation rows; as are the next two
    widening: Widening | None = None  # of a table's quantiles; for several models the mean of theirs
    threshold: Threshold | None = None  # of a table's two classes; for folds by the rows out of fold
    models: tuple[dict[str, Any], ...] = ()  # of several models, the summary of each
    first: Predicting | None = None  # of one of several with a second training: the model before it
    out_of_fold: dict[str, NDArray[Any]] | None = None  # of folds: columns row, fold, target, prediction, ...
    folder: Path | None = None
    notices: tuple[str, ...] = field(default=())

    @property
    def model(self) -> nn.Module:
        """The trained module."""
        return self.predictor.model

    @property
    def engine(self) -> str:
        """What made the updates."""
        return str(self.resolved["engine"])

    @property
    def engine_reason(self) -> str:
        """Why it was that one, in a sentence."""
        return str(self.resolved["engine_reason"])

    @property
    def steps_done(self) -> int:
        return int(self.resolved["steps_done"])

    @property
    def coverage(self) -> tuple[Covered, ...]:
        """How many test rows lie within each interval of quantiles; none where rows have weights, or none are held out."""
        rows = self.resolved.get("test_rows", 0)
        if (
            not rows or self.plan.weight or not self.plan.quantiles or "test" not in self.scores
        ):  # one of several has none
            return ()
        return covered(self.plan.quantiles, self.scores["test"], rows=rows)

    def predict(self, data: Any) -> NDArray[Any]:
        """Means or class labels, shape (n,), in the order of the rows of `data`: a frame or file for a table, else inputs. Of a
        module that returns a tuple or dict the same of arrays."""
        return self.predictor.predict(data)

    def predict_proba(self, data: Any) -> NDArray[np.float64]:
        """Probabilities, shape (n, C), of the classes in `predictor.classes`."""
        return self.predictor.predict_proba(data)

    def predict_quantiles(self, data: Any) -> NDArray[np.float64]:
        """Quantiles, shape (n, Q), in the order of `quantiles=`; pairs of them are widened by the validation rows."""
        return self.predictor.predict_quantiles(data)

    def predict_one(self, row: Any) -> Any:
        """The prediction for one row, in microseconds: a mapping of column to value, or a sequence of numbers."""
        return self.predictor.predict_one(row)

    def predict_proba_one(self, row: Any) -> NDArray[np.float64]:
        """`predict_proba` of one row, (C,)."""
        return self.predictor.predict_proba_one(row)

    def predict_quantiles_one(self, row: Any) -> NDArray[np.float64]:
        """`predict_quantiles` of one row, (Q,)."""
        return self.predictor.predict_quantiles_one(row)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the one-file model; `mbgd.load` reads it."""
        return self.predictor.save(path)

    def __getstate__(self) -> dict[str, Any]:
        """Pickled and copied whole, but for knobs that no pickle can hold, as a function inside another, or a scheduler with
        one: these become their names, as in plan.json."""
        knobs = vars(self.plan).items()
        local = {name: {"object": _kind(value).__qualname__} for name, value in knobs if _is_local(value)}
        return vars(self) | ({"plan": _with(self.plan, local)} if local else {})

    def summary(self) -> dict[str, Any]:
        """The facts of the run as JSON: what the command prints and result.json holds."""
        return {
            "ending": self.ending.reason.name.lower(),
            "why": str(self.ending),
            "facts": self.ending.facts,
            "steps": self.steps_done,
            "epochs": self.resolved["epochs_done"],
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.resolved["rows_seen"] / self.seconds, 1) if self.seconds else None,
            "engine": self.engine,
            "engine_reason": self.engine_reason,
            **next((self.scores[rows] for rows in ("test", "out_of_fold", "validation") if rows in self.scores), {}),
            "scores": self.scores,
            "baselines": self.baselines,
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "widening": None if self.widening is None else self.widening.to_json(),
            "coverage": [asdict(pair) for pair in self.coverage],
            "threshold": None if self.threshold is None else asdict(self.threshold),
            "notices": list(self.notices),
            **({"models": list(self.models)} if self.models else {}),
        }

    def __repr__(self) -> str:
        shown = "".join(
            f"\n  {rows}: " + "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
            for rows, scores in self.scores.items()
        )
        shown = plain(shown, lines=True)
        return f"Run({self.steps_done} steps in {self.seconds:.1f} s; {self.ending}{shown})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        target, of_table = ", ".join(self.plan.targets), self.predictor.target is not None
        scored = dict.fromkeys(name for scores in self.scores.values() for name in scores)
        names = shown_names(self.predictor) if of_table else tuple(scored)
        return run_html(
            self.summary(), target=target, names=names, folder="" if self.folder is None else str(self.folder)
        )
