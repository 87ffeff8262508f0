"""Parts and a standing in, training to its end with the weights that were asked for in place out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mbgd.desk.interrupt import interruptible
from mbgd.desk.machine import computing
from mbgd.desk.parts import Parts
from mbgd.desk.plan import Plan
from mbgd.desk.recorder import Recorder
from mbgd.desk.standing import Standing, put_best
from mbgd.desk.train import Training, train
from mbgd.loop.stop import StopReason
from mbgd.step.update import drop_gradients, take_average


def going(parts: Parts, plan: Plan, *, recorder: Recorder, start: Standing) -> Training:
    """Train look by look; at the end the best weights are back (or the averaged ones), modes and threads as they were.

    Raises KeyboardInterrupt after an interrupt, saved and on a step boundary.
    """
    ended = False
    if parts.scheduler is not None:
        parts.scheduler.catch_up(start.progress, start.scores)
    with borrowed(parts):
        try:
            with interruptible() as interrupted, recorder.at_work(), computing(parts.threads):
                trained = yield from train(parts, plan, start=start, recorder=recorder, interrupted=interrupted)
            ended = trained.ending.reason is not StopReason.INTERRUPTED
        finally:
            recorder.close(ended=ended)
        if trained.ending.reason is StopReason.INTERRUPTED:
            raise KeyboardInterrupt
        take_average(parts.engine.updater)
        if plan.restore_best:
            put_best(parts.model, trained.standing)
    parts.resolved.update(_done(parts, trained.standing))
    return trained


@contextmanager
def borrowed(parts: Parts) -> Iterator[None]:
    """The model in training mode and without gradients of the caller's; afterwards a model that was in evaluation mode has
    each submodule in the mode it had."""
    model, updater = parts.model, parts.engine.updater
    modes = [] if model.training else [(module, module.training) for module in model.modules()]
    if modes:
        model.train()
    drop_gradients(updater.optimizer)  # or the first step would add what an earlier backward left
    try:
        with parts.engine.bound():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _done(parts: Parts, standing: Standing) -> dict[str, Any]:
    at = standing.progress
    return {
        "steps_done": at.steps_done,
        "rows_seen": at.rows_seen,
        "epochs_done": round(at.cursor.epoch + at.cursor.row / parts.order.n_rows, 6),
        "best_step": standing.best.steps_done if standing.best.score is not None else None,
    }
