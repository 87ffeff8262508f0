"""Refuse to resume a run with another schedule than the one that it was begun with."""

from __future__ import annotations

from math import isclose

from mbgd.desk.parts import Parts
from mbgd.desk.recover import slowed
from mbgd.desk.standing import Standing
from mbgd.errors import PlanError
from mbgd.loop.steps import BySteps
from mbgd.record.history import History


def check_same_rate(parts: Parts, start: Standing, history: History) -> None:
    """A function of steps is given again, and plan.json holds its name alone: raises PlanError where the last update that was
    made had another rate than it gives."""
    factor, done = slowed(parts.rate_factor, start), start.progress.steps_done
    if not isinstance(factor, BySteps) or not len(history) or history["step"][-1] != done:
        return
    then, now = history["learning_rate"][-1], parts.engine.updater.base_rates[0] * factor(done - 1)
    if not isclose(now, then, rel_tol=1e-9):
        raise PlanError(
            f"schedule must be what the run was begun with, which gave the rate {then:g} to update {done:,}, got one that gives "
            f"{now:g}; give that function again"
        )
