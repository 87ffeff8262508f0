"""Quantiles, targets and weights in, chunk by chunk; pinball loss, coverage and width of their intervals out.

B rows of a chunk · Q levels
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbgd.measure.conformal import pairs_of, score_names

Array = NDArray[np.float64]


@dataclass
class Quantiles:
    """A `Scorer`; `coverage` and `mean_width` are those of the widest pair of symmetric levels, others carry theirs.

    pinball: the mean over rows and levels t of t (y - q) where y lies above, else (1 - t) (q - y), in units of y.
    """

    levels: tuple[float, ...]
    weight: float = 0.0
    loss: float = 0.0
    held: Array = field(init=False)  # sum w over rows within, one a pair
    width: Array = field(init=False)

    def __post_init__(self) -> None:
        self._pairs = pairs_of(self.levels)
        self.held, self.width = np.zeros(len(self._pairs)), np.zeros(len(self._pairs))

    def add(self, prediction: ArrayLike, y: ArrayLike, w: ArrayLike | None = None) -> None:
        q_BQ, y_B = np.asarray(prediction, np.float64), np.asarray(y, np.float64).reshape(-1)
        w_B = np.ones(len(y_B)) if w is None else np.asarray(w, np.float64).reshape(-1)
        level_Q, above_BQ = np.array(self.levels), y_B[:, None] - q_BQ
        self.weight += float(w_B.sum())
        self.loss += float(w_B @ np.where(above_BQ > 0, level_Q * above_BQ, (level_Q - 1) * above_BQ).mean(1))
        for p, (low, high) in enumerate(self._pairs):
            self.held[p] += w_B @ ((q_BQ[:, low] <= y_B) & (y_B <= q_BQ[:, high]))
            self.width[p] += w_B @ (q_BQ[:, high] - q_BQ[:, low])

    def result(self) -> dict[str, float]:
        total = self.weight or nan
        found = {"pinball": self.loss / total}
        for p, (coverage, width) in enumerate(score_names(self.levels)):
            found |= {coverage: self.held[p] / total, width: self.width[p] / total}
        return {name: float(value) for name, value in found.items()}


def constant_quantiles(y: ArrayLike, levels: tuple[float, ...], w: ArrayLike | None = None) -> Array:
    """The least y with at least that share of the weight at or below it, one a level."""
    y_N = np.asarray(y, np.float64)
    order = np.argsort(y_N, kind="stable")
    share_N = np.cumsum(np.ones(len(y_N)) if w is None else np.asarray(w, np.float64)[order])
    places = np.searchsorted(share_N, np.array(levels) * share_N[-1] * (1 - 1e-12))
    found: Array = y_N[order][np.minimum(places, len(y_N) - 1)]
    return found


def middle(levels: tuple[float, ...], quantiles_NQ: Array) -> Array:
    """One prediction a row: the median where it is among the levels, else the middle one, or between the two middle ones."""
    halves = [q for q, level in enumerate(levels) if abs(level - 0.5) < 1e-9]
    found: Array = quantiles_NQ[:, halves[0]] if halves else np.median(quantiles_NQ, axis=1)
    return found
