"""Arrays of numbers in, inputs of a network out: each column centred and scaled by the training rows, 0/1 columns as they are.

n rows · F columns
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 1 << 16  # standardised at once, in float64: some megabytes
BOUND = 10.0  # standard deviations beyond which a network sees no further; a linear model is not bounded

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Numbers:
    """z = (x - center) / scale, by column; with a `bound` no further than that from 0."""

    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    bound: float | None

    def inputs(self, X: Floats, dtype: np.dtype[Any]) -> Floats:
        """(n, F) in new memory; computed in float64, where a far-away mean loses no digits."""
        z = np.empty(X.shape, dtype)
        for start in range(0, len(X), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            own = (X[block].astype(np.float64) - self.center) / self.scale
            if self.bound is not None:
                np.clip(own, -self.bound, self.bound, out=own)
            z[block] = own
        return z


@dataclass(frozen=True)
class AsTheyAre:
    """Arrays for a module of the user's own: rows of any shape, whole numbers as such where it takes them so."""

    whole: bool

    def inputs(self, X: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        kept = self.whole and X.dtype.kind in "iu"
        return np.require(X, dtype=np.int64 if kept else dtype, requirements=["C", "W"])


def learn_numbers(X: Floats, *, weight: NDArray[np.float64] | None, bound: float | None) -> Numbers:
    """Weighted mean and standard deviation of each column (divisor: the sum of weights).

    Columns of 0 and 1 alone stay as they are; a column of one value is centred and keeps scale 1.
    """
    (center, scale), binary = spread(X, weight), _zeros_and_ones(X)
    return Numbers(np.where(binary, 0.0, center), np.where(binary, 1.0, scale), bound)


def _zeros_and_ones(X: Floats) -> NDArray[np.bool_]:
    """(F,) whether a column holds nothing else; block by block, and only of columns that may still do."""
    may = np.ones(X.shape[1], dtype=bool)
    for start in range(0, len(X), BLOCK_ROWS):
        columns = np.flatnonzero(may)
        block = X[start : start + BLOCK_ROWS, columns]
        may[columns] = ((block == 0) | (block == 1)).all(axis=0)
        if not may.any():
            break
    return may


def spread(values: Floats, weight: NDArray[np.float64] | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted mean and standard deviation by column; where the latter is 0, or all but rounding, 1.

    Two passes over blocks in float64: the sum of squares is taken around the mean.
    """
    blocks = [slice(start, start + BLOCK_ROWS) for start in range(0, len(values), BLOCK_ROWS)]
    w = np.ones(len(values)) if weight is None else weight
    total = w.sum()
    center = sum(w[b] @ values[b].astype(np.float64) for b in blocks) / total
    square = sum(w[b] @ np.square(values[b].astype(np.float64) - center) for b in blocks) / total
    scale = np.sqrt(square)
    # values that are one number but for rounding, as 0.1 added up a different way
    nothing = scale <= 10 * np.finfo(values.dtype if values.dtype.kind == "f" else np.float64).eps * np.abs(center)
    return np.asarray(center), np.where(nothing | (scale == 0), 1.0, scale)
