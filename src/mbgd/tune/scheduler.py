"""Run one of torch's learning rate schedulers, stepped between two chunks as a loop by hand would; and restore it at a resume."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from mbgd.errors import PlanError
from mbgd.loop.progress import Progress

EACH_UPDATE = (OneCycleLR, CyclicLR)  # the two that torch's documentation steps after every batch


@dataclass(frozen=True)
class Scheduler:
    """A scheduler and when it is stepped. Where it stands is a function of the updates or epochs done, and for
    `ReduceLROnPlateau` of the scores that it was given, so that nothing of it needs saving."""

    scheduler: LRScheduler
    every: Literal["step", "epoch"]
    first: tuple[dict[str, Any], ...]  # the optimizer's settings by group, before the first update

    @property
    def name(self) -> str:
        return type(self.scheduler).__name__

    @property
    def needs_scores(self) -> bool:
        return isinstance(self.scheduler, ReduceLROnPlateau)

    def is_due(self, at: Progress) -> bool:
        """Whether it is stepped here, where a chunk has ended."""
        return self.every == "step" or at.cursor.row == 0

    def step(self, score: float | None = None) -> None:
        """One step on: the optimizer has its rates for the next update. Raises PlanError where it takes none."""
        optimizer: Any = self.scheduler.optimizer
        optimizer._opt_called = True  # it was, by our engines
        try:
            if self.needs_scores:
                assert score is not None  # the desk asks for validation rows
                self.scheduler.step(score)  # type: ignore[arg-type]  # its first argument is a score, not an epoch
            else:
                self.scheduler.step()
        except ValueError as error:
            raise PlanError(
                f"schedule {self.name} took no further step: {error}; plan it for all of the training"
            ) from None

    def catch_up(self, at: Progress, scores: Sequence[float]) -> None:
        """Go from the start to where a resumed run stands. Raises PlanError where the rates are then not those of the run."""
        optimizer = self.scheduler.optimizer
        saved = [float(group["lr"]) for group in optimizer.param_groups]
        for group, first in zip(optimizer.param_groups, self.first, strict=True):
            group.update(first)
        done = at.steps_done if self.every == "step" else at.cursor.epoch
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of no update between two steps
            for k in range(done):
                self.step(scores[k] if self.needs_scores else None)
        now = [float(group["lr"]) for group in optimizer.param_groups]
        if now != saved:
            raise PlanError(
                f"schedule must be made anew as it was when the run was begun: after {done} steps {self.name} gives the rates "
                f"{now}, the run had {saved}; give a new optimizer and scheduler with the same settings"
            )


def make_scheduler(
    spec: Any, optimizer: torch.optim.Optimizer, *, every: Literal["step", "epoch"] | None = None
) -> Scheduler | None:
    """The scheduler that is given, or that `spec` makes of the optimizer; None where `spec` is a function of steps.

    Raises PlanError for a scheduler of another optimizer.
    """
    found: Any = spec
    if not isinstance(spec, LRScheduler):
        if _gives_a_number(spec):
            return None
        try:
            found = spec(optimizer)
        except Exception as error:
            raise PlanError(
                f"schedule must take an optimizer or the number of updates done, got {_named(spec)}, which raised for both "
                f"({type(error).__name__}: {error}); see help(mbgd.Plan)"
            ) from None
    if not isinstance(found, LRScheduler):
        raise PlanError(
            f"schedule must return a torch.optim.lr_scheduler or a factor, got {type(found).__name__} from {_named(spec)}; "
            "step others yourself, between two mbgd.steps(..., every='epoch')"
        )
    if found.optimizer is not optimizer:
        raise PlanError(
            f"schedule must be of the optimizer that trains, got {type(found).__name__} of another {_kind(found.optimizer)}; give "
            f"that instance as optimizer=, or a factory: schedule=lambda optimizer: {type(found).__name__}(optimizer, ...)"
        )
    first = tuple(
        {k: v for k, v in group.items() if k in ("lr", "momentum", "betas")} for group in optimizer.param_groups
    )
    return Scheduler(found, every or ("step" if isinstance(found, EACH_UPDATE) else "epoch"), first)


def _gives_a_number(spec: Any) -> bool:
    """Whether it is a function of steps: what it makes of step 0 tells."""
    if isinstance(spec, type):
        return False
    try:
        float(spec(0))
    except Exception:  # a factory may raise anything for what is no optimizer
        return False
    return True


def _named(spec: Any) -> str:
    return str(getattr(spec, "__qualname__", type(spec).__name__))


def _kind(optimizer: Any) -> str:
    return type(optimizer).__name__
