"""Metrics as weighted sums in float64, chunk by chunk, wherever the chunks are cut.

B rows of a chunk · C classes · T outputs
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, nan, prod
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbgd.data.powers import NOTHING, Powers, powers, scaled
from mbgd.errors import PlanError, did_you_mean
from mbgd.measure.quantiles import Quantiles
from mbgd.measure.threshold import Threshold

Array = NDArray[np.float64]
METRICS = {
    "loss": False,
    "r2": True,
    "rmse": False,
    "mae": False,
    "accuracy": True,
    "balanced_accuracy": True,
    "log_loss": False,
    "roc_auc": True,
    "pinball": False,
}
"""Every score by name, and whether greater is better."""

OF_KIND = {
    "regression": ("rmse", "r2", "mae"),
    "quantiles": ("pinball",),
    "binary": ("log_loss", "accuracy", "balanced_accuracy", "roc_auc"),
    "multiclass": ("log_loss", "accuracy", "balanced_accuracy", "roc_auc"),
    "custom": ("loss",),
}
"""The scores of a kind of task; the first is the default. `loss` goes with every kind."""

MAX_RANKED_CLASSES = 32  # an area under the curve keeps and sorts every probability: beyond this it is left out


class Scorer(Protocol):
    """Takes chunks in any split, and gives the scores of all rows added so far; a score that is not defined is NaN."""

    def add(self, prediction: ArrayLike, y: ArrayLike, w: ArrayLike | None = None) -> None: ...

    def result(self) -> dict[str, float]: ...


def default_metric(kind: str) -> str:
    return OF_KIND[kind][0]


def check_metric(name: str, kind: str, *, ranked: bool = True) -> str:
    """`name`, if it can be computed for this kind of task; raises PlanError with the nearest that can. Without `ranked` there
    is no area under a curve, as of the positions of a row."""
    possible = ("loss", *OF_KIND[kind]) if kind != "custom" else OF_KIND[kind]
    possible = possible if ranked else tuple(other for other in possible if other != "roc_auc")
    if name not in possible:
        hint = did_you_mean(name, possible) if name not in METRICS else "; that one is for another kind of task"
        raise PlanError(f"metric must be one of {', '.join(possible)} for {kind} losses, got {name!r}{hint}")
    return name


def scorer(
    kind: str,
    n_classes: int = 2,
    *,
    levels: tuple[float, ...] = (),
    threshold: Threshold | None = None,
    names: tuple[str, ...] = (),
    ranked: bool = True,
) -> Scorer:
    """The scores of a kind of task, as scikit-learn defines them, with row weights.

    regression   prediction and y (B,) or (B, T), averaged over outputs: r2, rmse, mae; with `names` of them each one's own, too
    quantiles    quantiles (B, Q) of rising `levels`, y (B,): pinball, and coverage and mean_width of symmetric pairs
    binary       probability of class 1 (B,) or (B, 2), y 0 or 1 (a probability between counts as a share of a row)
    multiclass   probabilities (B, C), y class numbers, or the share (B, C) of each class in a row; roc_auc is the mean over
                 classes of one against the rest, which takes every row: it is left out without `ranked`

    The class that is found is the likeliest, or the one by a `threshold`, whose own score is then given as well.
    """
    if kind == "regression":
        return _Regression(names=names)
    if kind == "quantiles":
        return Quantiles(levels)
    return _Classes(n_classes, threshold, ranked) if kind in ("binary", "multiclass") else _Nothing()


class _Nothing:
    """A custom loss says nothing of what its outputs mean."""

    def add(self, prediction: ArrayLike, y: ArrayLike, w: ArrayLike | None = None) -> None:
        pass

    def result(self) -> dict[str, float]:
        return {}


@dataclass
class _Regression:
    """The spread of y is merged chunk by chunk around its running mean (Chan, Golub and LeVeque 1979), since
    sum y^2 - (sum y)^2 / n would lose every digit where the mean is large. Every sum but the weight has shape (T,).

    Sums are of y / 2^power and of errors / 2^error_power, so that no square overflows or underflows.
    """

    names: tuple[str, ...] = ()
    weight: float = 0.0
    power: Powers = field(default_factory=lambda: np.full(1, NOTHING))
    error_power: Powers = field(default_factory=lambda: np.full(1, NOTHING))
    low: Array = field(default_factory=lambda: np.full(1, inf))
    high: Array = field(default_factory=lambda: np.full(1, -inf))
    mean: Array = field(default_factory=lambda: np.zeros(1))
    spread: Array = field(default_factory=lambda: np.zeros(1))  # sum w (y - mean)^2
    squares: Array = field(default_factory=lambda: np.zeros(1))  # sum w (y - prediction)^2
    sizes: Array = field(default_factory=lambda: np.zeros(1))  # sum w |y - prediction|

    def add(self, prediction: ArrayLike, y: ArrayLike, w: ArrayLike | None = None) -> None:
        y_BT, prediction_BT = _columns(y), _columns(prediction)
        w_B = _weights(w, len(y_BT))
        weight = float(w_B.sum())
        if weight == 0:
            return
        if not w_B.all():  # whatever stands in rows without weight
            counts = w_B != 0
            y_BT, prediction_BT = (np.where(counts[:, None], part, part[counts][:1]) for part in (y_BT, prediction_BT))
        self._add_spread(y_BT, w_B, weight)
        self._add_errors(y_BT, prediction_BT, w_B)
        self.weight += weight

    def _add_spread(self, y_BT: Array, w_B: Array, weight: float) -> None:
        power = np.maximum(self.power, powers(y_BT))
        shrunk, self.power = self.power - power, power
        self.low, self.high = np.minimum(self.low, y_BT.min(axis=0)), np.maximum(self.high, y_BT.max(axis=0))
        y_BT = scaled(y_BT, -power)
        mean_T = w_B @ y_BT / weight
        spread_T = w_B @ np.square(y_BT - mean_T)
        both = self.weight + weight
        before_T = scaled(self.mean, shrunk)
        apart_T = mean_T - before_T
        self.spread = scaled(self.spread, 2 * shrunk) + spread_T + np.square(apart_T) * (self.weight * weight / both)
        self.mean = before_T + apart_T * (weight / both)

    def _add_errors(self, y_BT: Array, prediction_BT: Array, w_B: Array) -> None:
        whole = np.maximum(
            0, np.maximum(powers(y_BT), powers(prediction_BT))
        )  # a difference of large ones may overflow
        error_BT = scaled(y_BT, -whole) - scaled(prediction_BT, -whole)
        own = powers(error_BT)
        power = np.maximum(self.error_power, np.where(own == NOTHING, NOTHING, whole + own))
        shrunk, self.error_power = self.error_power - power, power
        error_BT = scaled(error_BT, whole - power)
        self.squares = scaled(self.squares, 2 * shrunk) + w_B @ np.square(error_BT)
        self.sizes = scaled(self.sizes, shrunk) + w_B @ np.abs(error_BT)

    def result(self) -> dict[str, float]:
        if self.weight == 0:
            return dict.fromkeys(OF_KIND["regression"], nan)
        # y without spread: 1 if met exactly, else 0, as in scikit-learn
        unexplained_T = np.where(self.squares > 0, 1.0, 0.0)
        vary_T = (self.high > self.low) & (self.spread > 0)
        np.divide(self.squares, self.spread, out=unexplained_T, where=vary_T)
        with np.errstate(over="ignore", under="ignore"):  # infinite where it is beyond the largest number
            unexplained_T = scaled(unexplained_T, np.where(vary_T, 2 * (self.error_power - self.power), 0))
            rmse_T = scaled(np.sqrt(self.squares / self.weight), self.error_power)
            mae_T = scaled(self.sizes / self.weight, self.error_power)
        found = {"rmse": float(rmse_T.mean()), "r2": float(1 - unexplained_T.mean()), "mae": float(mae_T.mean())}
        for name, rmse, unexplained, mae in zip(self.names, rmse_T, unexplained_T, mae_T, strict=len(self.names) > 0):
            found |= {f"rmse_{name}": float(rmse), f"r2_{name}": float(1 - unexplained), f"mae_{name}": float(mae)}
        return found


@dataclass
class _Classes:
    n_classes: int
    threshold: Threshold | None = None
    ranked: bool = True
    surprise: float = 0.0  # sum w -log p(y)
    kept: list[tuple[Array, Array, Array]] = field(default_factory=list)  # probabilities, y, weights: to be ranked

    def __post_init__(self) -> None:
        self.weight, self.hit = np.zeros(self.n_classes), np.zeros(self.n_classes)  # by true class; of those, found

    def add(self, prediction: ArrayLike, y: ArrayLike, w: ArrayLike | None = None) -> None:
        p_BC, tiny = _probabilities(prediction)
        y_B, w_B = np.asarray(y, np.float64), _weights(w, len(p_BC))
        y_B = y_B if y_B.shape == p_BC.shape else y_B.reshape(-1)
        found_B = p_BC.argmax(1) if self.threshold is None else self.threshold.found(p_BC)
        for c in range(self.n_classes):
            w_of_c_B = w_B * _share(y_B, c, self.n_classes)
            self.weight[c] += w_of_c_B.sum()
            self.hit[c] += w_of_c_B[found_B == c].sum()
            self.surprise -= float(w_of_c_B @ np.log(np.clip(p_BC[:, c], tiny, 1 - tiny)))
        if self.ranked and self.n_classes <= MAX_RANKED_CLASSES:
            self.kept.append((p_BC[:, 1:] if self.n_classes == 2 else p_BC, y_B, w_B))

    def result(self) -> dict[str, float]:
        weight = float(self.weight.sum())
        if weight == 0:
            return {name: nan for name in OF_KIND["multiclass"] if self.ranked or name != "roc_auc"}
        there = self.weight > 0
        return {
            "log_loss": self.surprise / weight,
            "accuracy": float(self.hit.sum()) / weight,
            "balanced_accuracy": float((self.hit[there] / self.weight[there]).mean()),
            **({"roc_auc": self._area()} if self.ranked else {}),
            **({} if self.threshold is None else self._by_threshold(self.threshold)),
        }

    def _by_threshold(self, threshold: Threshold) -> dict[str, float]:
        there = (self.weight > 0).all()
        return {threshold.metric: threshold.score(self.weight, self.hit) if there else nan}

    def _area(self) -> float:
        there = np.flatnonzero(self.weight > 0).tolist()
        if len(there) < 2 or not self.kept:
            return nan
        p_NK, y_N, w_N = (np.concatenate(parts) for parts in zip(*self.kept, strict=True))
        if self.n_classes == 2:
            one_N = _share(y_N, 1, 2)
            return area_under_roc(p_NK[:, 0], one_N * w_N, (1 - one_N) * w_N)
        shares = [_share(y_N, c, self.n_classes) for c in there]
        areas = [area_under_roc(p_NK[:, c], w_N * of, w_N * (1 - of)) for c, of in zip(there, shares, strict=True)]
        return float(np.mean(areas))


def area_under_roc(score_N: Array, positive_N: Array, negative_N: Array) -> float:
    """The weighted share of (positive, negative) pairs in which the positive has the higher score; a tie counts half.

    Each row has a weight as a positive and one as a negative. NaN if a score is.
    """
    if np.isnan(score_N).any():
        return nan
    by_score = np.argsort(score_N)
    score_N = score_N[by_score]
    starts = np.flatnonzero(np.append(True, score_N[1:] != score_N[:-1]))  # of each group of equal scores
    positive, negative = (np.add.reduceat(w[by_score], starts) for w in (positive_N, negative_N))
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum()))


def _columns(values: ArrayLike) -> Array:
    array = np.asarray(values, np.float64)
    return array.reshape(len(array), prod(array.shape[1:]))


def _weights(w: ArrayLike | None, n_rows: int) -> Array:
    return np.ones(n_rows) if w is None else np.asarray(w, np.float64).reshape(n_rows)


def _probabilities(prediction: ArrayLike) -> tuple[Array, float]:
    """(B, C) in float64, and the step next to 1 in the precision in which they came: no log of 0 (as in scikit-learn)."""
    given = np.asarray(prediction)
    tiny = float(np.finfo(given.dtype if given.dtype.kind == "f" else np.float64).eps)
    p: Array = np.asarray(given, np.float64)
    if p.ndim == 1 or p.shape[1] == 1:
        p_B = p.reshape(-1)
        p = np.stack([1 - p_B, p_B], 1)
    return p, tiny


def _share(y_B: Array, c: int, n_classes: int) -> Array:
    """How much of each row belongs to class c: all or nothing, or what the probabilities of a row say, of two classes that of
    class 1."""
    if y_B.ndim == 2:
        return y_B[:, c]
    share_B: Array = (y_B == c).astype(np.float64) if n_classes != 2 else y_B if c == 1 else 1 - y_B
    return share_B
