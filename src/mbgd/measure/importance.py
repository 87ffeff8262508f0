"""Rows and a loss of each in, what the loss rises by when one column is shuffled out, with an interval: permutation importance.

N rows · R repeats
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np

from mbgd.data.order import IntArray
from mbgd.measure.exchange import Array, Inputs
from mbgd.seeds import Purpose, counter


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its 95 % interval; NaN where there are too few rows to tell."""

    estimate: float
    low: float
    high: float


def circles(n_rows: int, *, repeats: int, seed: int) -> IntArray:
    """(R, N) the row from which each row gets its value: the one behind it in a circle of chance, so never itself."""
    donors_RN = np.empty((repeats, n_rows), np.int64)
    for repeat in range(repeats):
        circle = np.argsort(counter(seed, Purpose.SAMPLE, 0, repeat).random_raw(n_rows), kind="stable")
        donors_RN[repeat, circle] = np.roll(circle, -1)
    return donors_RN


def rises(
    loss_of: Callable[[Inputs], Array], inputs: Inputs, *, column: int, donors_RN: IntArray, losses_N: Array
) -> Array:
    """(R, N) loss of each row with the column of its donor, less its loss as it is, `losses_N`."""
    shuffled = (inputs.exchanged(column, inputs.take(donors_N)) for donors_N in donors_RN)
    return np.stack([loss_of(there) - losses_N for there in shuffled])


def interval(rises_RN: Array, donors_RN: IntArray, *, unit_N: Array | Sequence[float] | None = None) -> Interval:
    """The mean rise, over that of `unit_N` where it is given, and its 95 % interval over other rows of the same kind.

    With h(i, j) the rise of row i when row j gives the value, the mean over pairs is a U-statistic (Hoeffding 1948), whose
    variance is that of h1 + h2 over N: what a row says as the one that receives and as the one that gives. Its mean over the
    repeats of h(itself, its donor) + h(its receiver, itself) is that, and something of its partners, the more the fewer
    repeats there are: intervals are rather too wide than too narrow. The unit is measured on the same rows, so its share in
    each is taken off, to first order.
    """
    n_rows = rises_RN.shape[1]
    mean, unit = float(rises_RN.mean()), 1.0
    receivers_RN = np.argsort(donors_RN, axis=1)  # a permutation's argsort is its inverse
    given_RN = np.take_along_axis(rises_RN, receivers_RN, axis=1)
    said_N = (rises_RN + given_RN).mean(axis=0)
    if unit_N is not None:
        unit = float(np.mean(unit_N))
        if not unit > 0:
            return Interval(nan, nan, nan)
        said_N = said_N - mean / unit * np.asarray(unit_N)
    half = _quantile(n_rows - 1) * float(said_N.std(ddof=1)) / sqrt(n_rows) / unit
    return Interval(mean / unit, mean / unit - half, mean / unit + half)


def _quantile(freedom: int) -> float:
    """Of Student's t, 97.5 %."""
    from scipy.special import stdtrit  # a tenth of a second to load

    return float(stdtrit(freedom, 0.975))
