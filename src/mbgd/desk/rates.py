"""The learning rate of a plan: a factor for each update, by a named schedule, a function or a scheduler of torch's."""

from __future__ import annotations

from math import isfinite
from typing import Any

import torch

from mbgd.desk.knob_field import plain
from mbgd.desk.plan import Plan
from mbgd.errors import PlanError
from mbgd.loop.steps import BySteps, Constant, RateFactor, no_schedule
from mbgd.step.update import Updater
from mbgd.tune.schedule import make_schedule
from mbgd.tune.scheduler import Scheduler, make_scheduler


def rates_of(
    plan: Plan, updater: Updater, *, horizon_rows: int | None, validated: bool, greater_is_better: bool
) -> tuple[RateFactor, Scheduler | None]:
    """(the factor on the learning rate, a scheduler that moves the optimizer's own rates instead). From here on the rates are
    the schedule's, where there is one. Raises PlanError for what does not go together."""
    if isinstance(plan.schedule, str):
        if plan.schedule_every is not None:
            raise PlanError(
                f"schedule_every belongs to a scheduler of torch's, got schedule={plan.schedule!r}, which moves with every "
                "update; leave it out"
            )
        factor = make_schedule(plan.schedule, horizon_rows=horizon_rows, warmup=plan.warmup)
        if not isinstance(factor, Constant):
            updater.scheduled = f"schedule={plan.schedule!r}" + (f" with warmup={plan.warmup:g}" if plan.warmup else "")
        return factor, None
    if plan.warmup:
        raise PlanError(
            f"warmup belongs to a schedule that has a name, got warmup={plan.warmup:g} with one of your own; let that begin low"
        )
    if isinstance(plan.optimizer, torch.optim.Optimizer) and plan.learning_rate is not None:
        raise PlanError(
            f"learning_rate must be the optimizer's own beside a schedule of yours, got {plan.learning_rate}; set it there"
        )
    scheduler = make_scheduler(plan.schedule, updater.optimizer, every=plan.schedule_every)
    if scheduler is None:
        if plan.schedule_every is not None:
            raise PlanError("schedule_every belongs to a scheduler of torch's, got a function of steps; leave it out")
        updater.scheduled = f"schedule={name_of(plan.schedule)}"
        return BySteps(_checked(plan.schedule)), None
    _check_together(scheduler, plan, validated=validated, greater_is_better=greater_is_better)
    updater.scheduled = f"schedule={scheduler.name}"
    updater.take_rates()
    return no_schedule, scheduler


def _check_together(scheduler: Scheduler, plan: Plan, *, validated: bool, greater_is_better: bool) -> None:
    if plan.on_divergence == "recover":
        raise PlanError(
            f"on_divergence='recover' needs a schedule that can go back, got {scheduler.name}; give a function of steps instead"
        )
    if not scheduler.needs_scores:
        return
    if not validated:
        raise PlanError(
            "schedule ReduceLROnPlateau needs validation rows to score, got none; give validation=0.1 to fit, or step it "
            "yourself between two mbgd.steps(..., every='epoch')"
        )
    mode: str = getattr(scheduler.scheduler, "mode", "min")
    if (mode == "max") != greater_is_better:
        better = "max" if greater_is_better else "min"
        raise PlanError(
            f"schedule ReduceLROnPlateau must have mode={better!r} for the metric of this run, got mode={mode!r}; give that, "
            "or metric='loss', of which less is better"
        )
    if scheduler.every == "step":
        raise PlanError(
            "schedule_every must be 'epoch' for ReduceLROnPlateau, got 'step': an epoch has one score; leave it out"
        )


def _checked(function: Any) -> Any:
    def factor(steps_done: int) -> float:
        found = float(function(steps_done))
        if not isfinite(found) or found < 0:
            raise PlanError(
                f"schedule must give a finite factor of at least 0, got {found:g} after {steps_done} updates; it is multiplied "
                "with learning_rate"
            )
        return found

    return factor


def name_of(schedule: Any) -> str:
    """A function of the user's own, as messages and plan.json name it."""
    return str(plain(schedule)["object"])


def scheduled(plan: Plan, scheduler: Scheduler | None) -> str:
    """What moves the rate and how often, in words, for plan.json and whoever asks the run."""
    if scheduler is not None:
        return f"{scheduler.name}, stepped after each {'update' if scheduler.every == 'step' else 'epoch'}"
    return plan.schedule if isinstance(plan.schedule, str) else f"{name_of(plan.schedule)}, a function of updates done"
