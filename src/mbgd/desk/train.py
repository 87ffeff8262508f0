"""What happens between two yields of the loop: parts in, looks out one after the other, how it ended last."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from mbgd.desk.folder import Recorder
from mbgd.desk.parts import Held, Parts
from mbgd.desk.plan import Plan
from mbgd.desk.standing import Standing
from mbgd.errors import DivergenceError
from mbgd.loop.progress import Progress
from mbgd.loop.steps import Steps, steps
from mbgd.loop.stop import Best, Ending, StopReason
from mbgd.measure.evaluate import evaluate
from mbgd.step.state import model_tensors
from mbgd.step.update import averaged


@dataclass(frozen=True)
class Look:
    """What is seen after a chunk of updates; `scores` are of the validation rows, where they were looked at."""

    progress: Progress
    epoch: float  # passes over the training rows so far
    loss: float  # weighted mean training loss since the last look, each row's before its update
    learning_rate: float
    seconds: float
    rows_per_second: float
    scores: dict[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """One line of history.jsonl."""
        return {
            "step": self.progress.steps_done,
            "epoch": round(self.epoch, 6),
            "rows_seen": self.progress.rows_seen,
            "loss": self.loss,
            "learning_rate": self.learning_rate,
            "seconds": round(self.seconds, 4),
            **{f"validation_{name}": value for name, value in self.scores.items()},
        }


@dataclass(frozen=True)
class Trained:
    """Where training stands at its end, and why it ended."""

    standing: Standing
    ending: Ending


Training = Generator[Look, None, Trained]


def train(
    parts: Parts, plan: Plan, *, start: Standing, recorder: Recorder, interrupted: Callable[[], bool]
) -> Training:
    """Train from a standing on. Raises DivergenceError after the last good steps have been yielded and saved."""
    standing, clock = start, _Clock(start.seconds)
    ending = _ending(parts, plan, standing, None)
    if ending is not None:
        return Trained(standing, ending)
    try:
        for done in steps(
            parts.chunks(standing.progress), parts.engine, rate_factor=parts.rate_factor, start=standing.progress
        ):
            standing, look = _look(parts, standing, done, clock)
            recorder.history(look.record())
            yield look
            ending = _ending(parts, plan, standing, look)
            if ending is None and interrupted():
                ending = Ending(StopReason.INTERRUPTED)
            if recorder.is_due(standing.progress, clock.seconds) or (
                ending and ending.reason is StopReason.INTERRUPTED
            ):
                standing = replace(standing, seconds=clock.seconds)
                recorder.save(parts.engine, standing)
            if ending is not None:
                return Trained(replace(standing, seconds=clock.seconds), ending)
    except DivergenceError:
        recorder.save(parts.engine, replace(standing, seconds=clock.seconds))
        raise
    raise AssertionError("chunks come without end")


class _Clock:
    """Seconds of training, those before a resume included."""

    def __init__(self, before: float) -> None:
        self._start, self.last = time.perf_counter() - before, before

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start


def _look(parts: Parts, standing: Standing, done: Steps, clock: _Clock) -> tuple[Standing, Look]:
    now, progress = clock.seconds, done.progress
    n_rows = parts.order.n_rows
    look = Look(
        progress=progress,
        epoch=progress.cursor.epoch + progress.cursor.row / n_rows,
        loss=done.loss,
        learning_rate=float(parts.engine.updater.base_rates[0] * done.rate_factors[-1]),
        seconds=now,
        rows_per_second=float(done.sizes.sum()) / max(now - clock.last, 1e-9),
    )
    standing = replace(standing, progress=progress)
    epoch_over = progress.cursor.row == 0 or progress.steps_done == parts.total_steps
    if parts.validation is not None and epoch_over:
        scores = score(parts, parts.validation)
        standing, look = _judged(parts, standing, scores), replace(look, scores=scores)
    clock.last = clock.seconds
    return standing, look


def score(parts: Parts, held: Held) -> dict[str, float]:
    """Every metric of some held-out rows, with the averaged weights where there are such."""
    with averaged(parts.engine.updater):
        return scored(parts, held)


def scored(parts: Parts, held: Held) -> dict[str, float]:
    """Every metric of some held-out rows, with the weights that the model has."""
    return evaluate(
        parts.model,
        held.source,
        rows=held.rows,
        loss=parts.loss,
        device=parts.device,
        n_classes=parts.n_classes,
        target_scale=parts.target_scale,
    )


def _judged(parts: Parts, standing: Standing, scores: dict[str, float]) -> Standing:
    """The standing after a look at validation: a score as good as the best takes its place, and its weights."""
    at = standing.progress
    best = standing.best.after(
        scores[parts.metric],
        steps_done=at.steps_done,
        epoch=at.cursor.epoch,
        greater_is_better=parts.greater_is_better,
    )
    if best.steps_done != at.steps_done:
        return replace(standing, best=best)
    with averaged(parts.engine.updater):
        return replace(standing, best=best, best_tensors=_copies(parts))


def _copies(parts: Parts) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model_tensors(parts.model).items()}


def _ending(parts: Parts, plan: Plan, standing: Standing, look: Look | None) -> Ending | None:
    """Why it is over, or None. The order is that of the facts: what was planned comes before what was found."""
    if parts.total_steps is not None and standing.progress.steps_done >= parts.total_steps:
        return Ending(parts.planned_end, {"steps": standing.progress.steps_done})
    if look is None:
        return None
    if plan.target_loss is not None and look.loss <= plan.target_loss:
        return Ending(StopReason.TARGET_LOSS, {"loss": look.loss})
    if plan.patience is not None and _is_stuck(standing.best, plan.patience):
        return Ending(StopReason.NO_PROGRESS, {"best_epoch": standing.best.epoch, "score": standing.best.score})
    if plan.time_limit is not None and look.seconds >= plan.time_limit:
        return Ending(StopReason.TIME, {"seconds": look.seconds})
    return None


def _is_stuck(best: Best, patience: int) -> bool:
    return best.score is not None and best.looks_since >= patience
