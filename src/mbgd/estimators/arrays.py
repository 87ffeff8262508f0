"""Inputs of a network from an array: each column is centred and scaled by the training rows, 0/1 columns stay as they are.

n rows · F columns
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.data.powers import powers, scaled
from mbgd.data.sparse import is_sparse
from mbgd.errors import DataError

BLOCK_BYTES = 1 << 18  # of float64 at once: what stays in a core's own cache
MANY = 1 << 18  # numbers from which on compiled loops are worth their loading
WIDEST = 1e150  # squares of larger numbers overflow
NEAR = 10.0  # standard deviations within which a network sees a number, whether a training row lay there or not

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Numbers:
    """z = (x - center) / scale, by column, no further than its `bound` from 0. Sparse rows become dense in it."""

    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    bound: NDArray[np.float64]

    def inputs(self, X: Any, dtype: np.dtype[Any], *, kernels: bool = False) -> Floats:
        """(n, F) in new memory; computed in float64, where a far-away mean loses no digits. Of many rows in a fourth of the
        time, to the same bits, where `kernels` may be loaded, and compiled if they are not on disk."""
        per_unit = 1 / self.scale
        X = X.toarray() if is_sparse(X) else X
        if kernels and X.size >= MANY:
            from mbgd.data.columns import scaled

            return scaled(X, self.center, per_unit, bound=self.bound, dtype=dtype)
        z = np.empty(X.shape, dtype)
        for block in blocks(X):
            own = X[block] - self.center
            own *= per_unit
            np.clip(own, -self.bound, self.bound, out=own)
            z[block] = own
        return z


@dataclass(frozen=True)
class AsTheyAre:
    """Arrays for a module of the user's own: rows of any shape, whole numbers as such where it takes them so. Sparse rows stay
    sparse."""

    whole: bool

    def inputs(self, X: Any, dtype: np.dtype[Any]) -> Any:
        if is_sparse(X):
            return X.astype(dtype, copy=False)
        kept = self.whole and X.dtype.kind in "iu"
        return np.require(X, dtype=np.int64 if kept else dtype, requirements=["C", "W"])


@dataclass(frozen=True)
class Entries:
    """z = x / scale, one number for all columns, for a network of ours: to centre columns would fill them, and to bring each to
    spread 1 would make rare ones loud. Dense rows are taken so, too."""

    n_columns: int
    scale: float

    def inputs(self, X: Any, dtype: np.dtype[Any]) -> Any:
        return (X / self.scale).astype(dtype, copy=False)


def learn_entries(X: Any, weight: NDArray[np.float64] | None) -> Entries:
    """After it sparse rows have length 1: the root of their weighted mean square is 1."""
    data = X.data if is_sparse(X) else X
    if data.size and np.abs(data).max() > WIDEST:
        raise DataError(
            f"X must hold numbers of at most {WIDEST:g}, got {np.abs(data).max():g}; give it in larger units"
        )
    return Entries(X.shape[1], scale_of(mean_square(X, weight)))


def mean_square(X: Any, weight: NDArray[np.float64] | None) -> float:
    """Of the lengths of sparse or dense rows, weighted."""
    squared = X.multiply(X) if is_sparse(X) else X * X
    return float(np.average(np.asarray(squared.sum(axis=1), dtype=np.float64).ravel(), weights=weight))


def scale_of(square: float) -> float:
    """The length that rows of this mean square are divided by."""
    return float(np.sqrt(square)) if square > 0 else 1.0


def learn_numbers(X: Floats, *, weight: NDArray[np.float64] | None, bounded: bool) -> Numbers:
    """Weighted mean and standard deviation of each column (divisor: the sum of weights).

    Columns of 0 and 1 alone stay as they are; a column of one value is centred and keeps scale 1. A `bounded` column ends
    where the furthest training row lies, `NEAR` at the least: it loses nothing that was there to be learned.
    """
    if weight is not None and not weight.all():
        X, weight = X[weight > 0], weight[weight > 0]
    return numbers_of(columns_of(X, weight), dtype=X.dtype, bounded=bounded)


@dataclass(frozen=True)
class Spread:
    """What columns come to: the sum of weights, the weighted mean and variance of each, (F,), their ends, and which hold 0 and
    1 alone."""

    weight: float
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    binary: NDArray[np.bool_]

    @property
    def deviation(self) -> NDArray[np.float64]:
        """The standard deviation, (F,); of numbers whose squares underflow to 0 the range."""
        underflown = (self.variance == 0) & (self.high > self.low)
        return np.where(underflown, self.high - self.low, np.sqrt(self.variance))

    def after(self, more: Spread) -> Spread:
        """Of the rows of both (Chan, Golub and LeVeque 1979)."""
        total = self.weight + more.weight
        share, apart = more.weight / total, more.mean - self.mean
        return Spread(
            total,
            self.mean + share * apart,
            self.variance + share * (more.variance - self.variance) + share * (1 - share) * apart**2,
            np.minimum(self.low, more.low),
            np.maximum(self.high, more.high),
            self.binary & more.binary,
        )


def columns_of(X: Floats, weight: NDArray[np.float64] | None) -> Spread:
    """Of rows (n, F), all of weight above 0. Raises DataError for numbers whose squares overflow."""
    total = float(len(X) if weight is None else weight.sum())
    low, high = _ends(X)
    furthest = np.maximum(-low, high)
    if (furthest > WIDEST).any():
        column = int(furthest.argmax())
        raise DataError(
            f"X must hold numbers of at most {WIDEST:g}, got {furthest[column]:g} in column {column}; give it in larger units"
        )
    return Spread(total, *_moments(X, weight), low, high, _zeros_and_ones(X))


def numbers_of(columns: Spread, *, dtype: np.dtype[Any], bounded: bool) -> Numbers:
    """See `learn_numbers`; `dtype` is that of the rows."""
    center = np.where(columns.binary, 0.0, columns.mean)
    scale = without_nothing(columns.mean, columns.deviation, dtype)
    scale = np.where(columns.binary, 1.0, scale)
    if not bounded:
        return Numbers(center, scale, np.full(len(center), np.inf))
    furthest = np.maximum(columns.high - center, center - columns.low)
    return Numbers(center, scale, np.maximum(NEAR, furthest / scale))


def _ends(X: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(F,) least and greatest."""
    if X.size >= MANY:
        from mbgd.data.columns import ends

        low, high = ends(X)
    else:
        low = np.min([X[block].min(axis=0) for block in blocks(X)], axis=0)
        high = np.max([X[block].max(axis=0) for block in blocks(X)], axis=0)
    return low.astype(np.float64), high.astype(np.float64)


def _zeros_and_ones(X: Floats) -> NDArray[np.bool_]:
    """(F,) whether a column holds nothing else; block by block, and only of columns that may still do."""
    may = np.ones(X.shape[1], dtype=bool)
    for block in blocks(X):
        columns = np.flatnonzero(may)
        own = X[block][:, columns]
        may[columns] = ((own == 0) | (own == 1)).all(axis=0)
        if not may.any():
            break
    return may


def spread(values: Floats, weight: NDArray[np.float64] | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted mean and standard deviation by column; where the latter is 0, or all but rounding, 1."""
    power = powers(values)
    center, square = _moments(values if not power.any() else scaled(values, -power), weight)
    center, deviation = scaled(center, power), scaled(np.sqrt(square), power)
    return center, without_nothing(center, deviation, values.dtype)


def _moments(values: Floats, weight: NDArray[np.float64] | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted mean and variance by column.

    Two passes over blocks in float64: the sum of squares is taken around the mean. Of many rows without weights in one, by
    compiled loops.
    """
    if weight is None and values.ndim > 1 and values.size >= MANY:
        from mbgd.data.columns import mean_and_variance

        return mean_and_variance(values)
    w = np.ones(len(values)) if weight is None else weight
    total = w.sum()
    center = sum(w[block] @ values[block].astype(np.float64) for block in blocks(values)) / total
    square = sum(w[block] @ np.square(values[block] - center) for block in blocks(values)) / total
    return np.asarray(center), np.asarray(square)


def without_nothing(
    center: NDArray[np.float64], scale: NDArray[np.float64], dtype: np.dtype[Any]
) -> NDArray[np.float64]:
    """1 for the scale of values that are one number but for rounding, as 0.1 added up a different way."""
    nothing = scale <= 10 * np.finfo(dtype if dtype.kind == "f" else np.float64).eps * np.abs(center)
    return np.where(nothing | (scale == 0), 1.0, scale)


def blocks(values: Floats) -> Iterator[slice]:
    """Consecutive rows, as many as stay in the cache."""
    rows = max(1, BLOCK_BYTES // (8 * max(1, int(np.prod(values.shape[1:])))))
    return (slice(start, start + rows) for start in range(0, len(values), rows))
