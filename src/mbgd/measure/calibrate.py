"""Temperature scaling: the one temperature that calibrates the class probabilities of held-out rows.

N rows · C classes
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mbgd.errors import PlanError
from mbgd.step.loss import Loss
from mbgd.step.plain import TEMPERATURES

Array = NDArray[np.float64]
LEAST, MOST = TEMPERATURES
HELD_BY = 3.0  # rows that a temperature of 1 weighs
CLOSE = 1e-10  # relative change of the inverse at which its search ends


@dataclass(frozen=True)
class Calibration:
    """Probabilities are those of outputs / temperature; log losses in nats, of the rows that it was measured on."""

    temperature: float
    log_loss_before: float
    log_loss_after: float


def calibrate(outputs: ArrayLike, y: ArrayLike, w: ArrayLike | None = None) -> Calibration | None:
    """The temperature T in [1/20, 20] of least log loss (Guo et al. 2017), or None where no row weighs anything.

    outputs (N,), logits of class 1, or (N, C); y (N,) class numbers. With b = 1/T, least is, convex in b,

        n * weighted mean of log loss(b * outputs, y) + 3 (b - 1 - log b)

    with n = (sum w)^2 / sum w^2, the number of rows where all weigh the same. The second term departs from the source: without
    it few rows, all predicted right, ask for T near 0, which is to be sure of everything. It is least at T = 1, so that
    no other T is chosen that does not lower the log loss of these rows; with many rows it vanishes.
    """
    z_NC, y_N = _logits(outputs), np.asarray(y).reshape(-1).astype(np.int64)
    w_N = np.ones(len(z_NC)) if w is None else np.asarray(w, np.float64).reshape(-1)
    z_NC, y_N, w_N = z_NC[w_N > 0], y_N[w_N > 0], w_N[w_N > 0]
    if not len(z_NC):
        return None
    w_N = w_N / w_N.sum()
    a_NC = z_NC - z_NC[np.arange(len(z_NC)), y_N][:, None]
    inverse = _lowest(a_NC, w_N)
    before, after = _log_loss(a_NC, w_N), _log_loss(inverse * a_NC, w_N)
    return Calibration(1 / inverse, before, after) if after < before else Calibration(1.0, before, before)


def tempered(loss: Loss, temperature: float) -> Loss:
    """A loss whose predictions are those of outputs / temperature; its values, which training descends, are as before."""
    if temperature == 1:
        return loss
    if not LEAST <= temperature <= MOST:
        raise PlanError(f"temperature must lie from {LEAST:g} to {MOST:g}, got {temperature:g}; 1 changes nothing")
    return replace(loss, prediction=lambda output: loss.prediction(output / temperature))


def _logits(outputs: ArrayLike) -> Array:
    z = np.asarray(outputs, np.float64)
    if z.ndim == 1 or z.shape[1] == 1:
        z = np.stack([np.zeros(len(z)), z.reshape(-1)], 1)
    return z


def _lowest(a_NC: Array, w_N: Array) -> float:
    """The b in [1/MOST, 1/LEAST] of least loss: Newton's steps on the slope, and the geometric mean of what is left of the
    interval where one would leave that."""
    low, high, b = 1 / MOST, 1 / LEAST, 1.0
    if _slope(a_NC, w_N, low)[0] >= 0:
        return low
    if _slope(a_NC, w_N, high)[0] <= 0:
        return high
    while high - low > CLOSE * low:
        slope, curvature = _slope(a_NC, w_N, b)
        low, high = (low, b) if slope > 0 else (b, high)
        step = slope / curvature
        if abs(step) <= CLOSE * b:
            break
        b = b - step if low < b - step < high else sqrt(low * high)
    return b


def _slope(a_NC: Array, w_N: Array, b: float) -> tuple[float, float]:
    """First and second derivative by b. Those of log sum_c exp(b a_c) are mean and variance of a under softmax(b a)."""
    p_NC = np.exp(b * (a_NC - a_NC.max(1, keepdims=True)))
    p_NC /= p_NC.sum(1, keepdims=True)
    mean_N = (p_NC * a_NC).sum(1)
    variance_N = (p_NC * np.square(a_NC - mean_N[:, None])).sum(1)
    held = HELD_BY * float(w_N @ w_N)  # w sums to 1: this is 3 / n
    return float(w_N @ mean_N) + held * (1 - 1 / b), float(w_N @ variance_N) + held / b**2


def _log_loss(a_NC: Array, w_N: Array) -> float:
    """sum w log sum_c exp(a_c), a the logits less that of the row's own class."""
    most_N = a_NC.max(1)
    return float(w_N @ (most_N + np.log(np.exp(a_NC - most_N[:, None]).sum(1))))
