"""What happens between two yields of the loop: parts in, looks out one after the other, how it ended last."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from mbgd.data.chance import drawing
from mbgd.desk.folder import Recorder
from mbgd.desk.parts import OUTSIDE_OF_STEPS, Held, Parts
from mbgd.desk.plan import Plan
from mbgd.desk.standing import Standing
from mbgd.errors import DivergenceError
from mbgd.loop.progress import Progress
from mbgd.loop.steps import Steps, steps, weighted_mean
from mbgd.loop.stop import Ending, StopReason
from mbgd.measure.calibrate import tempered
from mbgd.measure.conformal import Widening
from mbgd.measure.evaluate import evaluate
from mbgd.measure.threshold import Threshold
from mbgd.seeds import step_seed
from mbgd.step.state import model_tensors
from mbgd.step.update import averaged


@dataclass(frozen=True)
class Look:
    """What is seen after a chunk of updates; `scores` are of the validation rows, where they were looked at."""

    progress: Progress
    epoch: float  # passes over the training rows so far
    epochs: float | None  # passes that are planned
    loss: float  # weighted mean training loss since the last look, each row's before its update
    learning_rate: float
    seconds: float
    rows_per_second: float
    scores: dict[str, float] = field(default_factory=dict)


def described(look: Look) -> str:
    """Loss, rows a second and the validation scores, as one line shows them."""
    scores = "  ".join(f"validation {name} {value:.4f}" for name, value in list(look.scores.items())[1:3])
    return f"loss {look.loss:.4f}  {look.rows_per_second:,.0f} rows/s" + (f"  {scores}" if scores else "")


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
    ending = _ending(parts, plan, standing)
    if ending is not None:
        return Trained(standing, ending)
    coming = parts.chunks(start.progress)
    going = steps(coming, parts.engine, rate_factor=parts.rate_factor, start=start.progress)
    try:
        for done in going:
            standing, look = _look(parts, plan, standing, done=done, clock=clock)
            for record in _records(parts, done, look):
                recorder.history(record)
            yield look
            stop = interrupted()
            if stop or recorder.is_due(standing.progress, standing.seconds):
                recorder.save(parts.engine, standing)
            ending = Ending(StopReason.INTERRUPTED) if stop else _ending(parts, plan, standing)
            if ending is not None:
                return Trained(standing, ending)
    except DivergenceError:
        recorder.save(parts.engine, standing)
        raise
    finally:
        going.close()
        coming.close()
    raise AssertionError("chunks come without end")


class _Clock:
    """Seconds of training, those before a resume included."""

    def __init__(self, before: float) -> None:
        self._start, self.last = time.perf_counter() - before, before

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start


def _look(parts: Parts, plan: Plan, standing: Standing, *, done: Steps, clock: _Clock) -> tuple[Standing, Look]:
    now, progress = clock.seconds, done.progress
    n_rows = parts.order.n_rows
    look = Look(
        progress=progress,
        epoch=progress.cursor.epoch + progress.cursor.row / n_rows,
        epochs=None if parts.total_steps is None else parts.total_steps / parts.steps_per_epoch,
        loss=done.loss,
        learning_rate=float(parts.engine.updater.base_rates[0] * done.rate_factors[-1]),
        seconds=now,
        rows_per_second=done.n_rows / max(now - clock.last, 1e-9),
    )
    standing = replace(standing, progress=progress, loss=done.loss)
    epoch_over = progress.cursor.row == 0 or progress.steps_done == parts.total_steps
    if parts.validation is not None and epoch_over:
        scores = score(parts, parts.validation)
        standing, look = _judged(parts, plan, standing, scores=scores), replace(look, scores=scores)
    clock.last = clock.seconds
    return replace(standing, seconds=clock.last), look


def _records(parts: Parts, done: Steps, look: Look) -> Iterator[dict[str, Any]]:
    """Lines of history.jsonl: one where each epoch ended inside the chunk, and one at the chunk's end, with the scores."""
    per_epoch, before = parts.steps_per_epoch, look.progress.steps_done - len(done)
    inner = range(per_epoch - before % per_epoch, len(done), per_epoch)
    start, rows_seen = 0, look.progress.rows_seen - done.n_rows
    for end in (*inner, len(done)):
        at_end = end == len(done)
        whole = at_end and start == 0
        rows_seen += done.n_rows if whole else int(done.sizes[start:end].sum())
        yield {
            "step": before + end,
            "epoch": round(look.epoch, 6) if at_end else float((before + end) // per_epoch),
            "rows_seen": rows_seen,
            "loss": done.loss if whole else weighted_mean(done.loss_sums[start:end], done.weight_sums[start:end]),
            "learning_rate": parts.engine.updater.base_rates[0] * float(done.rate_factors[end - 1]),
            "seconds": round(look.seconds, 4),
            **{f"validation_{name}": value for name, value in look.scores.items() if at_end},
        }
        start = end


def score(parts: Parts, held: Held) -> dict[str, float]:
    """Every metric of some held-out rows, with the averaged weights where there are such."""
    with averaged(parts.engine.updater):
        return scored(parts, held)


def scored(
    parts: Parts,
    held: Held,
    *,
    temperature: float = 1.0,
    widening: Widening | None = None,
    threshold: Threshold | None = None,
    names: tuple[str, ...] = (),
) -> dict[str, float]:
    """Every metric of some held-out rows, with the weights that the model has; its probabilities are those of outputs /
    temperature, its quantiles those after the widening, its classes those by the threshold. Where a dataset draws at random,
    or a layer does in evaluation, each look draws the same."""
    with drawing(step_seed(parts.engine.seed, OUTSIDE_OF_STEPS)):
        return evaluate(
            parts.model,
            held.source,
            rows=held.rows,
            loss=tempered(parts.loss, temperature),
            device=parts.device,
            batch_rows=parts.rows_at_once(held.source),
            n_classes=parts.n_classes,
            target_scale=parts.target_scale,
            target_range=parts.target_range,
            widening=widening,
            threshold=threshold,
            names=names,
        )


def _judged(parts: Parts, plan: Plan, standing: Standing, *, scores: dict[str, float]) -> Standing:
    """The standing after a look at validation: a score as good as the best takes its place, and its weights."""
    at = standing.progress
    best = standing.best.after(
        scores[parts.metric],
        steps_done=at.steps_done,
        epoch=at.cursor.epoch,
        greater_is_better=parts.greater_is_better,
    )
    if best.steps_done != at.steps_done or not plan.restore_best:
        return replace(standing, best=best)
    with averaged(parts.engine.updater):
        return replace(standing, best=best, best_tensors=_copies(parts))


def _copies(parts: Parts) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model_tensors(parts.model).items()}


def _ending(parts: Parts, plan: Plan, standing: Standing) -> Ending | None:
    """Why it is over, or None: a function of the standing alone, so that a run resumed at its end ends there again."""
    if parts.total_steps is not None and standing.progress.steps_done >= parts.total_steps:
        return Ending(parts.planned_end, {"steps": standing.progress.steps_done})
    if plan.target_loss is not None and standing.loss is not None and standing.loss <= plan.target_loss:
        return Ending(StopReason.TARGET_LOSS, {"loss": standing.loss})
    best = standing.best
    if plan.patience is not None and best.looks_since >= plan.patience:
        return Ending(StopReason.NO_PROGRESS, {"best_epoch": best.epoch, "score": best.score})
    if plan.time_limit is not None and standing.seconds >= plan.time_limit:
        return Ending(StopReason.TIME, {"seconds": standing.seconds})
    return None
