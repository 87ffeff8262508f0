"""What is to be reached, as data, and the measures that decide: kept outcomes in, a verdict for each goal out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from peers import BASE, OURS
from results import Kept
from summary import Overall, cells, overall, score, seconds


@dataclass(frozen=True)
class Goal:
    """`limit` is the most, or with `at_least` the least, that `measure` of `peer` may be; both over all tables, or on one."""

    what: str
    peer: str
    measure: str
    limit: float
    against: str = BASE
    table: str = ""
    at_least: bool = False


@dataclass(frozen=True)
class Verdict:
    """`value` is None where somebody has not run; `n_tables` says on how many tables it rests."""

    goal: Goal
    value: float | None
    n_tables: int

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.goal.limit if self.goal.at_least else self.value <= self.goal.limit


BEST = f"{OURS}:best"
GOALS = (
    Goal("error against LightGBM, geometric mean", OURS, "error", 1.00),
    Goal("error of `best` against LightGBM, geometric mean", BEST, "error", 0.97),
    Goal("worst table against LightGBM", OURS, "worst", 1.15),
    Goal("error against RealMLP-TD, geometric mean", OURS, "error", 1.02, against="realmlp_td"),
    Goal("seconds against RealMLP-TD, median of the tables' ratios", OURS, "seconds", 0.2, against="realmlp_td"),
    Goal("share of tables better than scikit-learn's MLP", OURS, "better", 0.9, against="sklearn_mlp", at_least=True),
    Goal("median seconds over CatBoost's", OURS, "median_seconds", 1.0, against="catboost"),
    Goal("flights, random split: R2", OURS, "r2", 0.905, table="flights", at_least=True),
    Goal("flights, split by time: R2", OURS, "r2", 0.82, table="flights_by_time", at_least=True),
    *(
        Goal(f"{table}: seconds against LightGBM with 500 trees", OURS, "seconds", 3.0, against="lightgbm_500", table=table)
        for table in ("flights", "flights_by_time")
    ),
)  # fmt: skip


def verdicts(kept: Kept) -> list[Verdict]:
    return [_verdict(kept, goal) for goal in GOALS]


def _verdict(kept: Kept, goal: Goal) -> Verdict:
    seen = {table: peers for table, peers in kept.items() if goal.table in ("", table) and goal.peer in peers}
    if goal.measure != "r2":  # a score by itself; all others are against somebody
        seen = {table: seen[table] for table in cells(seen, goal.peer, against=goal.against)}
    return Verdict(goal, MEASURES[goal.measure](seen, goal) if seen else None, len(seen))


def _error(kept: Kept, goal: Goal) -> float:
    return _over_tables(kept, goal).ratio


def _worst(kept: Kept, goal: Goal) -> float:
    return _over_tables(kept, goal).worst


def _better(kept: Kept, goal: Goal) -> float:
    found = _over_tables(kept, goal)
    return found.wins / found.n_tables


def _over_tables(kept: Kept, goal: Goal) -> Overall:
    found = overall(kept, goal.peer, against=goal.against)
    assert found is not None
    return found


def _seconds(kept: Kept, goal: Goal) -> float:
    return median(seconds(peers[goal.peer]) / seconds(peers[goal.against]) for peers in kept.values())


def _median_seconds(kept: Kept, goal: Goal) -> float:
    ours, theirs = (median(seconds(peers[name]) for peers in kept.values()) for name in (goal.peer, goal.against))
    return ours / theirs


def _r2(kept: Kept, goal: Goal) -> float:
    return score(kept[goal.table][goal.peer], "r2")


MEASURES: dict[str, Callable[[Kept, Goal], float]] = {
    "error": _error,
    "worst": _worst,
    "better": _better,
    "seconds": _seconds,
    "median_seconds": _median_seconds,
    "r2": _r2,
}
