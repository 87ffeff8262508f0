"""The training loop of a run: looks at validation, early stopping, checkpoints and the callback, between two chunks."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from mbgd.compiled.news import seconds_compiling
from mbgd.data.chance import drawing
from mbgd.data.source import ArraySource
from mbgd.data.sparse import SparseSource
from mbgd.desk.mean_weight import OUTSIDE_OF_STEPS
from mbgd.desk.parts import Held, Parts
from mbgd.desk.plan import Plan
from mbgd.desk.recorder import Recorder, Saved
from mbgd.desk.recover import gone_back, kept, record, slowed, tried
from mbgd.desk.standing import Standing
from mbgd.desk.undefined_scores import check_scores
from mbgd.errors import DivergenceError
from mbgd.loop.progress import Progress
from mbgd.loop.steps import Steps, factor_after, steps, weighted_mean
from mbgd.loop.stop import Ending, StopReason
from mbgd.measure.calibrate import tempered
from mbgd.measure.conformal import Widening
from mbgd.measure.evaluate import evaluate
from mbgd.measure.threshold import Threshold
from mbgd.seeds import step_seed
from mbgd.step.state import model_tensors
from mbgd.step.update import averaged
from mbgd.tune.scheduler import Scheduler


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
    saves: tuple[Saved, ...] = ()  # what became of checkpoints since the last look
    epoch_loss: float = 0.0  # weighted mean training loss since the epoch began
    ends_epoch: bool = False  # whether an epoch ends here, or the training by its plan


def described(look: Look) -> str:
    """Loss, rows a second and the validation scores, as one line shows them."""
    scores = "  ".join(f"validation {name} {value:.4f}" for name, value in list(look.scores.items())[1:3])
    return f"loss {look.loss:.4f}  {look.rows_per_second:,.0f} rows/s" + (f"  {scores}" if scores else "")


@dataclass(frozen=True)
class Trained:
    """Where training stands at its end, and why it ended."""

    standing: Standing
    ending: Ending


Training = Generator[Look, bool | None, Trained]  # sending True after a look ends it there


def train(
    parts: Parts, plan: Plan, *, start: Standing, recorder: Recorder, interrupted: Callable[[], bool]
) -> Training:
    """Train from a standing on. Raises DivergenceError after the last good steps have been yielded and saved; with
    on_divergence="recover" only once going back has not helped."""
    standing, clock = start, _Clock(start.seconds)
    if not standing.snapshots:
        standing = kept(parts.engine, plan, standing)
    while True:
        ended: Ending | DivergenceError | None = _ending(parts, plan, standing)
        if ended is None:
            going = _until_it_ends(parts, plan, standing, recorder=recorder, interrupted=interrupted, clock=clock)
            standing, ended = yield from going
        if isinstance(ended, Ending):
            return Trained(standing, ended)
        back = gone_back(parts.engine, standing, ended)
        if back is None:
            raise _given_up(parts, standing, ended, recorder=recorder)
        standing = replace(back, seconds=clock.seconds)
        rate = parts.engine.updater.base_rates[0] * factor_after(slowed(parts.rate_factor, standing), standing.progress)
        recorder.history(record(standing, learning_rate=rate, n_rows=parts.order.n_rows))


def _until_it_ends(
    parts: Parts,
    plan: Plan,
    standing: Standing,
    *,
    recorder: Recorder,
    interrupted: Callable[[], bool],
    clock: _Clock,
) -> Generator[Look, None, tuple[Standing, Ending | DivergenceError]]:
    """Look by look, where training stands and why it goes no further."""
    coming = parts.chunks(standing.progress)
    going = steps(coming, parts.engine, rate_factor=slowed(parts.rate_factor, standing), start=standing.progress)
    try:
        for done in going:
            rate = parts.engine.updater.base_rates[0]  # of these steps: a scheduler moves on in the look
            standing, look = _look(parts, plan, standing, done=done, clock=clock)
            standing = kept(parts.engine, plan, standing)
            for line in _records(parts, done, look, base_rate=rate):
                recorder.history(line)
            asked = yield replace(look, saves=recorder.news())
            stop = interrupted()
            if stop or recorder.is_due(standing.progress, standing.seconds):
                recorder.save(parts.engine, standing)
            if stop:
                recorder.wait_or_raise()
            ending = Ending(StopReason.INTERRUPTED) if stop else _ending(parts, plan, standing)
            if asked and ending is None:
                ending = Ending(StopReason.ASKED, {"steps": standing.progress.steps_done})
            if ending is not None:
                return standing, ending
    except DivergenceError as error:
        return standing, error
    finally:
        going.close()
        coming.close()
    return standing, parts.no_more_rows(standing.progress)


def _given_up(parts: Parts, standing: Standing, error: DivergenceError, *, recorder: Recorder) -> DivergenceError:
    """The error that ends the run, with the steps before it saved."""
    recorder.save(parts.engine, standing)
    failure = recorder.wait()
    clause = tried(standing) + ("" if failure is None else f"; {failure}")
    return DivergenceError(str(error), step=error.step, epoch=error.epoch, rows=error.rows, tried=clause)


class _Clock:
    """Seconds of training, those before a resume included, those in which kernels were compiled not."""

    def __init__(self, before: float) -> None:
        self._start, self.last = self._now() - before, before

    @staticmethod
    def _now() -> float:
        return time.perf_counter() - seconds_compiling()

    @property
    def seconds(self) -> float:
        return max(self.last, self._now() - self._start)


def _look(parts: Parts, plan: Plan, standing: Standing, *, done: Steps, clock: _Clock) -> tuple[Standing, Look]:
    now, progress = clock.seconds, done.progress
    n_rows = parts.order.n_rows
    standing = _added(standing, done)
    look = Look(
        progress=progress,
        epoch=progress.cursor.epoch + progress.cursor.row / n_rows,
        epochs=parts.epochs,
        loss=done.loss,
        learning_rate=float(parts.engine.updater.base_rates[0] * done.rate_factors[-1]),
        seconds=now,
        rows_per_second=done.n_rows / max(now - clock.last, 1e-9),
        epoch_loss=float(standing.epoch_loss[0] / max(standing.epoch_loss[1], np.finfo(np.float64).tiny)),
        ends_epoch=progress.cursor.row == 0 or progress.steps_done == parts.total_steps,
    )
    standing = standing if progress.cursor.row else replace(standing, epoch_loss=(0.0, 0.0))
    standing = replace(standing, progress=progress, loss=done.loss)
    if parts.validation is not None and look.ends_epoch:
        scores = score(parts, parts.validation)
        if standing.best.score is None:
            check_scores(parts, parts.validation, scores)
        standing, look = _judged(parts, plan, standing, scores=scores), replace(look, scores=scores)
    if parts.scheduler is not None and parts.scheduler.is_due(progress):
        standing = _rates_moved(parts, parts.scheduler, standing, scores=look.scores)
    clock.last = clock.seconds
    return replace(standing, seconds=clock.last), look


def _rates_moved(parts: Parts, scheduler: Scheduler, standing: Standing, *, scores: dict[str, float]) -> Standing:
    """The standing once torch's scheduler has set the rates of what follows."""
    score = scores[parts.metric] if scheduler.needs_scores else None
    scheduler.step(score)
    parts.engine.updater.take_rates()
    return standing if score is None else replace(standing, scores=(*standing.scores, score))


def _added(standing: Standing, done: Steps) -> Standing:
    """The standing with the losses of an epoch summed up so far."""
    loss, weight = standing.epoch_loss
    return replace(standing, epoch_loss=(loss + float(done.loss_sums.sum()), weight + float(done.weight_sums.sum())))


def _records(parts: Parts, done: Steps, look: Look, *, base_rate: float) -> Iterator[dict[str, Any]]:
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
            "learning_rate": base_rate * float(done.rate_factors[end - 1]),
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
    draws = parts.engine.may_draw or not isinstance(held.source, (ArraySource, SparseSource))
    with drawing(step_seed(parts.engine.seed, OUTSIDE_OF_STEPS), here=draws):
        return evaluate(
            parts.model,
            held.source,
            rows=held.rows,
            loss=tempered(parts.loss, temperature),
            device=parts.device,
            batch_rows=parts.rows_at_once(held.source),
            forward=parts.engine.predicting(),
            n_classes=parts.n_classes,
            target_scale=parts.target_scale,
            target_range=parts.target_range,
            widening=widening,
            threshold=threshold,
            names=names,
            own=parts.own_metric,
            classes=parts.classes,
        )


def _judged(parts: Parts, plan: Plan, standing: Standing, *, scores: dict[str, float]) -> Standing:
    """The standing after a look at validation: a score as good as the best takes its place, and its weights."""
    at = standing.progress
    best = standing.best.after(
        scores[parts.metric],
        steps_done=at.steps_done,
        epoch=at.cursor.epoch,
        greater_is_better=parts.greater_is_better,
        min_delta=plan.min_delta,
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
