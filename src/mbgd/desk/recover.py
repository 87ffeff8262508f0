"""Recover from a divergence: go back to an earlier snapshot with half the learning rate, a bounded number of times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mbgd.desk.plan import Plan
from mbgd.desk.standing import MOST_RECOVERIES, SNAPSHOT_STEPS, Recovery, Standing, from_checkpoint, snapshot
from mbgd.errors import DivergenceError
from mbgd.loop.steps import BySteps, Constant, RateFactor
from mbgd.record.history import RECOVERED
from mbgd.step.autograd import Engine

FAR = 10  # times the loss of the last snapshot


def kept(engine: Engine, plan: Plan, standing: Standing) -> Standing:
    """The standing with a snapshot, where one belongs here: at steps that are a function of their number alone, so that a
    resumed run has the same. Two are kept: the younger one may stand too near to the divergence. None is taken while the
    training loss stands far above that of the last: there the weights are on their way out already."""
    if plan.on_divergence != "recover" or standing.progress.steps_done % SNAPSHOT_STEPS:
        return standing
    last = standing.snapshots[-1].facts["loss"] if standing.snapshots else None
    if last is not None and standing.loss is not None and not standing.loss <= last + FAR * abs(last):
        return standing
    return replace(standing, snapshots=(*standing.snapshots, snapshot(engine, standing))[-2:])


def gone_back(engine: Engine, standing: Standing, error: DivergenceError) -> Standing | None:
    """The engine put back to the older snapshot, and where that is; None where there is none, or it was tried too often."""
    if not standing.snapshots or len(standing.recoveries) >= MOST_RECOVERIES:
        return None
    good = standing.snapshots[0]
    back = from_checkpoint(engine, good.tensors, good.facts)
    recovery = Recovery(error.step, back.progress.steps_done)
    return replace(back, recoveries=(*standing.recoveries, recovery), snapshots=(good,), seconds=standing.seconds)


def slowed(rate_factor: RateFactor, standing: Standing) -> RateFactor:
    """The schedule, halved once for each recovery."""
    if not standing.recoveries:
        return rate_factor
    share = 0.5 ** len(standing.recoveries)
    if isinstance(rate_factor, (Constant, BySteps)):
        return replace(rate_factor, share=share)
    return lambda rows_seen: share * rate_factor(rows_seen)


def record(standing: Standing, *, learning_rate: float, n_rows: int) -> dict[str, Any]:
    """The line of history.jsonl that says that the steps go back here."""
    at, last = standing.progress, standing.recoveries[-1]
    return {
        "step": at.steps_done,
        "epoch": round(at.cursor.epoch + at.cursor.row / n_rows, 6),
        "rows_seen": at.rows_seen,
        "learning_rate": learning_rate,
        "seconds": round(standing.seconds, 4),
        RECOVERED: last.diverged_at,
    }


def recovered(standing: Standing) -> tuple[str, ...]:
    """A sentence for each time that training went back."""
    return tuple(
        f"step {one.diverged_at:,} was not finite: training went back to step {one.step:,} with the learning rate times "
        f"{0.5**k:g}"
        for k, one in enumerate(standing.recoveries, 1)
    )


def tried(standing: Standing) -> str:
    """The clause of a divergence that recoveries did not help."""
    n = len(standing.recoveries)
    return f"; going back and halving the rate was tried {n} times" if n else ""
