"""A module, rows and a plan in, the module trained from where it stood, look by look; where it stands then out."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from mbgd.desk.going import going
from mbgd.desk.parts import Parts
from mbgd.desk.plan import Plan
from mbgd.desk.prepare import prepare
from mbgd.desk.recorder import Recorder
from mbgd.desk.standing import Standing
from mbgd.desk.train import Look
from mbgd.loop.progress import Progress
from mbgd.loop.stop import Ending
from mbgd.record.history import History


@dataclass(frozen=True)
class Stand:
    """What training goes on from: how far it is, and the optimizer with its state. The module holds the weights."""

    progress: Progress
    optimizer: torch.optim.Optimizer


@dataclass(frozen=True)
class Further:
    """What came of it."""

    stand: Stand
    ending: Ending
    history: History
    loss: str  # as a model file names it
    output_shape: tuple[int, ...]
    resolved: dict[str, Any]


def further(
    model: nn.Module,
    data: Any,
    *,
    plan: Plan,
    sample_weight: Any = None,
    after: Stand | None = None,
    each_epoch: bool = False,
) -> Generator[Look, bool | None, Further]:
    """`fit` without a folder; sending True after a look ends it there. With `each_epoch` every epoch's end is looked at.

    `after` goes on from an earlier stand: the planned length is added to it, orders and masks of dropout are those of the
    epochs and steps that follow, and the optimizer keeps its state; rate, momentum and decay are its own.
    """
    if after is not None:
        plan = replace(
            plan, optimizer=after.optimizer, learning_rate=None, momentum=0.0, nesterov=False, weight_decay=None
        )
    parts = prepare(model, data, plan=plan, sample_weight=sample_weight)
    if each_epoch:
        parts = parts.looked_at_each_epoch()
    start, recorder = Standing(), Recorder(None, checkpoint_every=None)
    if after is not None:
        start, parts = Standing(progress=after.progress), _behind(parts, after.progress)
    trained = yield from going(parts, plan, recorder=recorder, start=start)
    return Further(
        Stand(trained.standing.progress, parts.engine.updater.optimizer),
        trained.ending,
        recorder.lines,
        f"own:{parts.loss.name}" if parts.loss.own else parts.loss.name,
        parts.output_shape,
        parts.resolved,
    )


def _behind(parts: Parts, before: Progress) -> Parts:
    """The parts with their planned steps counted on from those that are done."""
    if parts.total_steps is None:
        return parts
    total = before.steps_done + parts.total_steps
    return replace(parts, total_steps=total, ends=replace(parts.ends, every_steps=(total,)))
