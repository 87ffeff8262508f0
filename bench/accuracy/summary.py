"""Kept outcomes in; errors relative to somebody's out, a table at a time and over all tables, with their intervals.

A relative error is the ratio on one split; over splits and over tables it is their geometric mean, so that x against y
and y against x say the same. Intervals hold the middle 95 % of resamples of the splits: the tables are what they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np
from results import Kept, Result

RESAMPLES = 4_000
FEWEST = 3  # splits from which an interval says anything: of one it is a point
Ends = tuple[float, float]
Splits = Mapping[int, Result]


@dataclass(frozen=True)
class Cell:
    """One peer on one table: its error over the other's, and the median seconds of a fit."""

    ratio: float
    low: float
    high: float
    seconds: float
    n_splits: int

    @property
    def sure_win(self) -> bool:
        return self.n_splits >= FEWEST and self.high < 1

    @property
    def sure_loss(self) -> bool:
        return self.n_splits >= FEWEST and self.low > 1


@dataclass(frozen=True)
class Overall:
    """One peer over the tables that both have. A win is a ratio below one; a sure one has its whole interval there."""

    n_tables: int
    ratio: float
    low: float
    high: float
    wins: int
    sure_wins: int
    sure_losses: int
    worst: float
    worst_table: str
    seconds: float


def ratios(splits: Splits, base: Splits) -> list[float]:
    """Error over error on each split that both have."""
    return [_error(splits[number]) / _error(base[number]) for number in sorted(splits.keys() & base.keys())]


def cell(splits: Splits, base: Splits) -> Cell | None:
    """None where there is no split that both have."""
    found = ratios(splits, base)
    if not found:
        return None
    low, high = interval([found])
    return Cell(geometric_mean(found), low, high, seconds(splits), len(found))


def cells(kept: Kept, peer: str, *, against: str) -> dict[str, Cell]:
    """table -> cell, of the tables that both have."""
    found = {table: cell(peers.get(peer, {}), peers.get(against, {})) for table, peers in kept.items()}
    return {table: one for table, one in found.items() if one is not None}


def overall(kept: Kept, peer: str, *, against: str) -> Overall | None:
    by_table = cells(kept, peer, against=against)
    if not by_table:
        return None
    ones = list(by_table.values())
    low, high = interval([ratios(kept[table][peer], kept[table][against]) for table in by_table])
    worst_table = max(by_table, key=lambda table: by_table[table].ratio)
    return Overall(
        n_tables=len(ones),
        ratio=geometric_mean([one.ratio for one in ones]),
        low=low,
        high=high,
        wins=sum(one.ratio < 1 for one in ones),
        sure_wins=sum(one.sure_win for one in ones),
        sure_losses=sum(one.sure_loss for one in ones),
        worst=by_table[worst_table].ratio,
        worst_table=worst_table,
        seconds=median(one.seconds for one in ones),
    )


def geometric_mean(values: list[float]) -> float:
    return float(np.exp(np.log(values).mean()))


def interval(tables: list[list[float]]) -> Ends:
    """Of the geometric mean over tables of geometric means over splits, by percentiles of resamples under a fixed seed."""
    chance = np.random.default_rng(0)
    drawn = [
        np.log(ratios)[chance.integers(len(ratios), size=(RESAMPLES, len(ratios)))].mean(axis=1) for ratios in tables
    ]
    low, high = np.quantile(np.exp(np.mean(drawn, axis=0)), [0.025, 0.975])
    return float(low), float(high)


def seconds(splits: Splits) -> float:
    """The median of a fit."""
    return median(one.seconds for one in splits.values() if one.seconds is not None)


def score(splits: Splits, name: str) -> float:
    """The mean over splits of a score that was noted beside the error."""
    return float(np.mean([one.facts[name] for one in splits.values()]))


def _error(result: Result) -> float:
    assert result.error is not None
    return result.error
