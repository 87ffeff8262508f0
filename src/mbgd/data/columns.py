"""Many rows of numbers in, what their columns come to, or the columns centred and scaled, out: compiled, in one pass.

Rows lie side by side, so many at a time that a loop over them fills whole vectors: one over a row of 28 numbers does not.
n rows · F columns · K rows side by side
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.compiled.kernel import at, kernel

Array = NDArray[np.float64]
Numbers = NDArray[np.floating[Any]]
WIDE = 256  # numbers side by side
BLOCK = 1 << 14  # numbers that stay in a core's own cache from their mean to the squares around it


def mean_and_variance(values: Numbers) -> tuple[Array, Array]:
    """(F,) each, in float64, of C-contiguous (n, F) rows; the variance's divisor is n.

    Squares are taken around the mean of a block of rows, and blocks merged (Chan, Golub and LeVeque 1979).
    """
    n, width = values.shape
    mean, square, count = np.zeros(width), np.zeros(width), 0
    for together, rows in _side_by_side(values):
        found = np.zeros((2, together * width))
        _moments(rows, *found, *np.zeros((2, together * width)))
        each = len(rows) // found[0].size  # rows behind each of the means that lie side by side
        for own, around in zip(*found.reshape(2, together, width), strict=True):
            apart, both = own - mean, count + each
            mean += apart * (each / both)
            square += around + apart**2 * (count * each / both)
            count = both
    return mean, square / n


def ends(values: Numbers) -> tuple[Numbers, Numbers]:
    """(F,) least and greatest, of C-contiguous (n, F) rows of which there is one at the least."""
    width = values.shape[1]
    least, greatest = values[0].copy(), values[0].copy()
    for together, rows in _side_by_side(values):
        low, high = np.tile(least, together), np.tile(greatest, together)
        _ends(rows, low, high)
        least, greatest = low.reshape(together, width).min(axis=0), high.reshape(together, width).max(axis=0)
    return least, greatest


def scaled(values: Numbers, center: Array, per_unit: Array, *, bound: Array, dtype: np.dtype[Any]) -> Numbers:
    """(values - center) * per_unit, no further than `bound` from 0, each (F,): computed in float64, in new memory."""
    made = np.empty(values.shape, dtype)
    parts = zip(_side_by_side(values), _side_by_side(made), strict=True)
    for (together, rows), (_, into) in parts:
        _scale(rows, np.tile(center, together), np.tile(per_unit, together), np.tile(bound, together), into)
    return made


def _side_by_side(values: Numbers) -> list[tuple[int, Numbers]]:
    """(K, a view of some rows as flat numbers): all but the last few, and those one by one."""
    together = max(1, WIDE // values.shape[1])
    whole = len(values) // together * together
    return [(k, rows.reshape(-1)) for k, rows in ((together, values[:whole]), (1, values[whole:])) if len(rows)]


@kernel
def _moments(x: Numbers, mean: Array, square: Array, own: Array, around: Array) -> None:
    width, start, done = len(mean), 0, 0
    while start < len(x):
        rows = min(max(1, BLOCK // width), (len(x) - start) // width)
        own[:], around[:] = 0, 0
        for r in range(rows):
            row = at(x, start + r * width)
            for j in range(width):
                own[j] += row[j]
        for j in range(width):
            own[j] /= rows
        for r in range(rows):
            row = at(x, start + r * width)
            for j in range(width):
                apart = row[j] - own[j]
                around[j] += apart * apart
        both = done + rows
        for j in range(width):
            apart = own[j] - mean[j]
            mean[j] += apart * (rows / both)
            square[j] += around[j] + apart * apart * (done * (rows / both))
        start, done = start + rows * width, both


@kernel
def _ends(x: Numbers, low: Numbers, high: Numbers) -> None:
    width = len(low)
    for start in range(0, len(x), width):
        row = at(x, start)
        for j in range(width):
            low[j], high[j] = min(row[j], low[j]), max(row[j], high[j])


@kernel
def _scale(x: Numbers, center: Array, per_unit: Array, bound: Array, into: Numbers) -> None:
    width, number = len(center), into.dtype.type
    for start in range(0, len(x), width):
        row, made = at(x, start), at(into, start)
        for j in range(width):
            made[j] = number(min(max((row[j] - center[j]) * per_unit[j], -bound[j]), bound[j]))
