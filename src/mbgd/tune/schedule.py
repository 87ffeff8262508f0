"""A schedule's name and the planned rows in, a function out: rows seen -> the learning rate as a share of its base."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, isfinite, pi

from mbgd.errors import PlanError, did_you_mean
from mbgd.loop.steps import RateFactor, no_schedule

SCHEDULES = ("constant", "step", "cosine", "one_cycle")

FIRST = 0.04  # where a warm-up begins: never at 0, or the first update would do nothing
LAST = 4e-6  # where a cosine ends: next to 0 but above it, so that a step past the plan is small and not void
PEAK = 0.25  # share of a one-cycle that is warm-up


def make_schedule(name: str, *, horizon_rows: int | None, warmup: float = 0.0) -> RateFactor:
    """The factor as a pure function of rows seen before a step; with t = rows seen / horizon_rows:

    constant   1
    step       1, then 0.1 from t = 1/2, then 0.01 from t = 3/4
    cosine     from 1 to 4e-6 along half a cosine
    one_cycle  from 0.04 to 1 along half a cosine until t = 1/4, then down to 4e-6 along another (Smith and Topin 2018)

    `warmup` is the share of the horizon over which the rate first climbs in a straight line from 0.04 of itself; a
    cosine falls over what is left. Past the horizon the last value stays. `horizon_rows=None` means that nobody knows
    how many rows will be seen, as with a limit in seconds: only a constant rate without warm-up needs no horizon.
    """
    _check(name, horizon_rows, warmup)
    if horizon_rows is None or (name == "constant" and warmup == 0):
        return no_schedule
    if name == "one_cycle":
        return _over(horizon_rows, _one_cycle)
    shape = {"constant": _flat, "step": _step, "cosine": _cosine_after(warmup)}[name]
    return _over(horizon_rows, _warmed(shape, warmup) if warmup else shape)


def _check(name: str, horizon_rows: int | None, warmup: float) -> None:
    if name not in SCHEDULES:
        hint = (
            "; warm-up is a share: schedule='constant', warmup=0.05"
            if name == "warmup"
            else did_you_mean(name, SCHEDULES)
        )
        raise PlanError(f"schedule must be one of {', '.join(SCHEDULES)}, got {name!r}{hint}")
    if not (isfinite(warmup) and 0 <= warmup < 1):
        raise PlanError(f"warmup must be a share of the horizon, at least 0 and below 1, got {warmup:g}; 0.05 is usual")
    if warmup and name == "one_cycle":
        raise PlanError(
            f"warmup must be 0 with schedule='one_cycle', got {warmup:g}; its first quarter is a warm-up already"
        )
    if horizon_rows is None and (name != "constant" or warmup):
        given = f"schedule={name!r}" + (f" with warmup={warmup:g}" if warmup else "")
        raise PlanError(
            f"schedule must know how many rows are planned, got {given} and no such number; "
            "set epochs, or with a limit in seconds use schedule='constant'"
        )
    if horizon_rows is not None and horizon_rows < 1:
        raise PlanError(f"horizon_rows must be at least 1 row, got {horizon_rows}; it is epochs times training rows")


def _over(horizon_rows: int, shape: Callable[[float], float]) -> RateFactor:
    def factor(rows_seen: int) -> float:
        return shape(min(rows_seen / horizon_rows, 1.0))

    return factor


def _warmed(shape: Callable[[float], float], warmup: float) -> Callable[[float], float]:
    def warmed(t: float) -> float:
        return shape(t) * min(FIRST + (1 - FIRST) * t / warmup, 1.0)

    return warmed


def _flat(t: float) -> float:
    return 1.0


def _step(t: float) -> float:
    return 1.0 if t < 0.5 else 0.1 if t < 0.75 else 0.01


def _cosine_after(warmup: float) -> Callable[[float], float]:
    def cosine(t: float) -> float:
        return _between(1.0, LAST, max(t - warmup, 0.0) / (1.0 - warmup))

    return cosine


def _one_cycle(t: float) -> float:
    return _between(FIRST, 1.0, t / PEAK) if t < PEAK else _between(1.0, LAST, (t - PEAK) / (1.0 - PEAK))


def _between(start: float, end: float, t: float) -> float:
    """From start (t = 0) to end (t = 1) along half a cosine; exactly `end` at 1."""
    return end + (start - end) * (1.0 + cos(pi * t)) / 2.0
