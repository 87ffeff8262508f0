"""Choose the probability from which the rarer class is predicted, for one score of held-out rows.

N rows
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Threshold:
    """Class number `positive` is predicted where its probability is at least `probability`, else the other one."""

    metric: str
    positive: int
    probability: float
    before: float  # the score at 0.5, of the rows that it was chosen on
    after: float

    def found(self, p_NC: Array) -> NDArray[np.int64]:
        """Class numbers (N,) from probabilities (N, 2)."""
        return np.where(p_NC[:, self.positive] >= self.probability, self.positive, 1 - self.positive)

    def score(self, weight: Array, hit: Array) -> float:
        """The metric, from the weight of each class and what was found of it."""
        k = self.positive
        return float(SCORES[self.metric](hit[k], weight[k] - hit[k], weight[1 - k] - hit[1 - k], hit[1 - k]))

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> Threshold:
        return Threshold(**{entry.name: saved[entry.name] for entry in fields(Threshold)})


def _f1(true: Any, missed: Any, false: Any, left: Any) -> Any:
    return 2 * true / np.maximum(2 * true + missed + false, np.finfo(np.float64).tiny)


def _balanced_accuracy(true: Any, missed: Any, false: Any, left: Any) -> Any:
    return (true / (true + missed) + left / (left + false)) / 2


SCORES: dict[str, Callable[[Any, Any, Any, Any], Any]] = {"f1": _f1, "balanced_accuracy": _balanced_accuracy}
"""By name, from the weights of rows: positive and found so, positive and missed, negative and found positive, negative and
found so. Neither is defined where one class is absent."""


def best_threshold(
    metric: str, probability: ArrayLike, is_positive: ArrayLike, w: ArrayLike | None = None, *, positive: int = 1
) -> Threshold | None:
    """The cut of the highest score among all that part the rows (N,) differently, or None where one class has no weight.

    A cut between two probabilities lies midway, or at 0.5 where that is between them; of equally good ones the nearest to
    0.5 is taken, then the lower: so the score is never below that of 0.5, and 0.5 is left only for a gain.
    """
    p_N, positive_N = np.asarray(probability, np.float64), np.asarray(is_positive, bool)
    w_N = np.ones(len(p_N)) if w is None else np.asarray(w, np.float64)
    p_N, positive_N, w_N = p_N[w_N > 0], positive_N[w_N > 0], w_N[w_N > 0]
    if not positive_N.any() or positive_N.all():
        return None
    value_D, where_N = np.unique(p_N, return_inverse=True)
    gained_D, false_D = (_from_on(where_N, w_N * side, len(value_D)) for side in (positive_N, ~positive_N))
    cut_D = _cuts(value_D)
    if value_D[-1] < 0.5:  # 0.5 finds nothing there
        cut_D, gained_D, false_D = np.append(cut_D, 0.5), np.append(gained_D, 0.0), np.append(false_D, 0.0)
    score_D = SCORES[metric](gained_D, gained_D[0] - gained_D, false_D, false_D[0] - false_D)
    best = np.lexsort((cut_D, np.abs(cut_D - 0.5), -score_D))[0]
    at_half = int((cut_D < 0.5).sum())  # the first cut from 0.5 on parts the rows as 0.5 does
    return Threshold(metric, positive, float(cut_D[best]), float(score_D[at_half]), float(score_D[best]))


def _from_on(where_N: NDArray[Any], w_N: Array, n: int) -> Array:
    """The weight at each distinct value and above it."""
    found: Array = np.bincount(where_N, w_N, n)[::-1].cumsum()[::-1]
    return found


def _cuts(value_D: Array) -> Array:
    """One cut below each value and above the one before; 0 below the first."""
    before_D = np.append(0.0, value_D[:-1])
    cut_D = before_D + (value_D - before_D) / 2
    cut_D = np.where(cut_D > before_D, cut_D, value_D)  # two values with no number between them
    return np.where((before_D < 0.5) & (value_D >= 0.5), 0.5, cut_D)
