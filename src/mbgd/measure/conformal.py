"""Conformal widening of quantiles: how far each symmetric pair has to be widened to hold on held-out rows.

N rows · Q levels
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
ALIKE = 1e-9  # levels 0.05 and 0.95 add up to 1 but for rounding


@dataclass(frozen=True)
class Pair:
    """An interval between two levels and how far each end is moved outwards, in units of the target; below 0 inwards, and
    not at all (None) where there are too few rows to know."""

    low: float
    high: float
    by: float | None
    rows: int  # that it was measured on

    @property
    def nominal(self) -> float:
        """The share of rows that the interval is to hold."""
        return round(self.high - self.low, 9)

    @property
    def rows_needed(self) -> int:
        """The least n for which ceil(nominal (n + 1)) is at most n."""
        return ceil(self.nominal / (1 - self.nominal) - ALIKE)


@dataclass(frozen=True)
class Widening:
    """What `conformal` found, for all pairs, the widest first."""

    levels: tuple[float, ...]
    pairs: tuple[Pair, ...]

    def applied(self, quantiles_NQ: ArrayLike) -> Array:
        """Quantiles with every pair moved, then put in order from the middle outwards: an end that an inner one has passed is
        moved on to it. So none cross, and each interval holds what it would have held."""
        moved: Array = np.array(quantiles_NQ, np.float64)
        for pair, (low, high) in zip(self.pairs, pairs_of(self.levels), strict=True):
            moved[:, low] -= pair.by or 0.0
            moved[:, high] += pair.by or 0.0
        below = sum(level < 0.5 - ALIKE for level in self.levels)
        above = sum(level < 0.5 + ALIKE for level in self.levels)  # where the levels above the median begin
        found = moved.copy()
        if (
            below
        ):  # the next level, the median or the first above it, bounds those below, and likewise on the other side
            found[:, :below] = np.minimum.accumulate(moved[:, below::-1], axis=1)[:, ::-1][:, :below]
        if above < len(self.levels):
            first = max(above - 1, 0)
            found[:, above:] = np.maximum.accumulate(moved[:, first:], axis=1)[:, above - first :]
        return found

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(pair) for pair in self.pairs]

    @staticmethod
    def from_json(levels: tuple[float, ...], saved: list[Mapping[str, Any]]) -> Widening:
        return Widening(levels, tuple(Pair(one["low"], one["high"], one["by"], one["rows"]) for one in saved))


def pairs_of(levels: tuple[float, ...]) -> list[tuple[int, int]]:
    """Places of two levels that add up to 1, the widest pair first."""
    return list(_pairs(levels))


def _pairs(levels: tuple[float, ...]) -> Iterator[tuple[int, int]]:
    for low, first in enumerate(levels):
        for high, second in enumerate(levels):
            if low < high and abs(first + second - 1) < ALIKE:
                yield low, high


def score_names(levels: tuple[float, ...]) -> list[tuple[str, str]]:
    """What the coverage and the width of each pair are called among the scores: those of the widest by these words alone."""
    named = [f"_{levels[low]:g}_{levels[high]:g}" for low, high in pairs_of(levels)]
    return [(f"coverage{which}", f"mean_width{which}") for which in ["", *named[1:]][: len(named)]]


@dataclass(frozen=True)
class Covered:
    """The share of rows within an interval, beside the nominal one, and where it may truly lie with 95 %."""

    low: float
    high: float
    nominal: float
    share: float
    rows: int
    least: float
    most: float


def covered(levels: tuple[float, ...], scores: Mapping[str, float], *, rows: int) -> tuple[Covered, ...]:
    """One a pair, from the scores of so many rows, each of which counts the same."""
    found = []
    for (low, high), (name, _) in zip(pairs_of(levels), score_names(levels), strict=True):
        pair, share = Pair(levels[low], levels[high], None, rows), scores[name]
        found.append(Covered(pair.low, pair.high, pair.nominal, share, rows, *binomial_interval(share, rows)))
    return tuple(found)


def conformal(levels: tuple[float, ...], quantiles: ArrayLike, y: ArrayLike) -> Widening:
    """By how much quantiles (N, Q) of held-out rows have to be widened, from their targets (N,).

    Split conformal quantile regression (Romano, Patterson and Candes 2019, algorithm 1): with the scores of the N rows

        E_i = max(low_i - y_i, y_i - high_i)

    a pair is moved outwards by the ceil((high - low) (N + 1))-th smallest of them: by less than nothing where the network is
    too modest, as there. Then a new row lies within with at least that probability, whatever the network, where it and the
    N rows are exchangeable: not in a split by time; and only nearly where the same rows have picked the weights.
    """
    q_NQ, y_N = np.asarray(quantiles, np.float64), np.asarray(y, np.float64).reshape(-1)
    found = []
    for low, high in pairs_of(levels):
        pair = Pair(levels[low], levels[high], None, len(y_N))
        rank = ceil(pair.nominal * (len(y_N) + 1) - ALIKE)
        by = None
        if rank <= len(y_N):
            score_N = np.maximum(q_NQ[:, low] - y_N, y_N - q_NQ[:, high])
            by = float(np.partition(score_N, rank - 1)[rank - 1])
        found.append(Pair(pair.low, pair.high, by, pair.rows))
    return Widening(levels, tuple(found))


def binomial_interval(share: float, n_rows: int) -> tuple[float, float]:
    """Where a share of n rows may truly lie, with 95 % (Wilson 1927)."""
    z = 1.959964
    middle = (share + z * z / (2 * n_rows)) / (1 + z * z / n_rows)
    apart = z / (1 + z * z / n_rows) * sqrt(share * (1 - share) / n_rows + z * z / (4 * n_rows * n_rows))
    return max(0.0, middle - apart), min(1.0, middle + apart)
