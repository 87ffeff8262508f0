"""Mini-batch gradient descent as a generator: one `Steps` a chunk."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mbgd.data.chunk import Chunk
from mbgd.data.finite import inputs_not_finite
from mbgd.data.order import IntArray
from mbgd.errors import DivergenceError
from mbgd.loop.progress import Progress
from mbgd.step.autograd import Engine
from mbgd.step.guard import run_finite

RateFactor = Callable[[int], float]
"""The rows seen before an update -> the learning rate as a share of its base."""


@dataclass(frozen=True)
class Constant:
    """A rate factor that stays: the rates are the optimizer's own, and whoever sets them there is followed."""

    share: float = 1.0

    def __call__(self, rows_seen: int) -> float:
        return self.share


@dataclass(frozen=True)
class BySteps:
    """A rate factor that goes by the updates done before, not by rows seen."""

    of_steps: Callable[[int], float]
    share: float = 1.0

    def __call__(self, steps_done: int) -> float:
        return self.share * self.of_steps(steps_done)


no_schedule = Constant()


def factor_after(rate_factor: RateFactor, progress: Progress) -> float:
    """The factor of the next update."""
    return rate_factor(progress.steps_done if isinstance(rate_factor, BySteps) else progress.rows_seen)


@dataclass(frozen=True)
class Steps:
    """Some consecutive updates, done: k of them, all finite."""

    progress: Progress  # after the last of them
    loss_sums: NDArray[np.float64]  # (k,) sum of w_i l_i over the batch, before its update
    weight_sums: NDArray[np.float64]  # (k,) sum of w_i
    rate_factors: NDArray[np.float64]  # (k,) learning rate as a share of its base
    sizes: IntArray  # (k,) rows

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def losses(self) -> NDArray[np.float64]:
        """Weighted mean loss of each batch, shape (k,); 0 where a batch weighs nothing."""
        return np.divide(self.loss_sums, self.weight_sums, out=np.zeros(len(self)), where=self.weight_sums > 0)

    @cached_property
    def n_rows(self) -> int:
        """Rows trained on."""
        return int(self.sizes.sum())

    @cached_property
    def loss(self) -> float:
        """Weighted mean loss over all rows of these steps."""
        return weighted_mean(self.loss_sums, self.weight_sums)


def joined(several: Sequence[Steps]) -> Steps:
    """Consecutive steps as one value."""
    if len(several) == 1:
        return several[0]
    return Steps(
        several[-1].progress,
        np.concatenate([each.loss_sums for each in several]),
        np.concatenate([each.weight_sums for each in several]),
        np.concatenate([each.rate_factors for each in several]),
        np.concatenate([each.sizes for each in several]),
    )


@np.errstate(over="ignore")  # of finite losses near the greatest number
def weighted_mean(loss_sums: NDArray[np.float64], weight_sums: NDArray[np.float64]) -> float:
    """One mean over the rows of several batches, from their sums; 0 where they weigh nothing."""
    return float(loss_sums.sum() / max(weight_sums.sum(), np.finfo(np.float64).tiny))


def steps(
    chunks: Iterable[Chunk], engine: Engine, *, rate_factor: RateFactor, start: Progress = Progress()
) -> Generator[Steps, None, None]:
    """Train on each chunk in turn and yield what happened; between two yields the caller may look, save or stop.

    theta := theta - eta * rate_factor(rows seen) * grad J(theta; B), by the engine's optimizer. Raises DivergenceError
    before the first update that would not be finite, after the good ones before it have been yielded.
    """
    progress = start
    for chunk in chunks:
        engine.updater.read_settings()
        factors = _factors(chunk, rate_factor, progress)
        done = run_finite(engine, chunk, rate_factors=factors, steps_done=progress.steps_done)
        k = len(done)
        sizes = chunk.sizes[:k]
        if k:
            rows = len(chunk.rows) if k == len(chunk) else int(sizes.sum())
            progress = progress.after(steps=k, rows=rows, cursor=chunk.cursor_after(k - 1))
            yield Steps(progress, done.loss_sums, done.weight_sums, factors[:k], sizes)
        if done.failed:
            failed: list[int] = chunk.row_ids(k).tolist()
            step, epoch = progress.steps_done + 1, progress.cursor.epoch + 1
            missing = inputs_not_finite(chunk, k)
            raise diverged(
                step=step,
                epoch=epoch,
                rows=failed,
                places=_row_numbers(failed),
                missing=_row_numbers(missing) if missing else "",
            )


def _factors(chunk: Chunk, rate_factor: RateFactor, progress: Progress) -> NDArray[np.float64]:
    """One a batch, by the rows seen or updates done before it."""
    if isinstance(rate_factor, Constant):
        return np.full(len(chunk), rate_factor.share)
    if isinstance(rate_factor, BySteps):
        return np.array([rate_factor(progress.steps_done + k) for k in range(len(chunk))])
    seen = progress.rows_seen + np.cumsum(chunk.sizes) - chunk.sizes
    return np.array([rate_factor(rows) for rows in seen.tolist()])


def diverged(
    *, step: int, epoch: int, rows: Sequence[int], places: str, missing: str = "", kept: str = "", tried: str = ""
) -> DivergenceError:
    """The error for a batch whose loss or gradient is not finite; `places` says where its rows are, `missing` which of them have
    an input that is not finite, `kept` what is left."""
    what = f"loss or gradient must be finite, got a non-finite one in step {step} (epoch {epoch}, {places})"
    remedy = "that update was not made: lower learning_rate, set clip_norm, or look at those rows"
    if missing:
        remedy = f"X is not finite in {missing}: fill those values or leave the rows out; that update was not made"
    return DivergenceError(f"{what}; {remedy}{kept}", step=step, epoch=epoch, rows=tuple(rows), tried=tried)


def _row_numbers(rows: Sequence[int], *, most: int = 8) -> str:
    shown = ", ".join(map(str, rows[:most])) + (", ..." if len(rows) > most else "")
    return f"row{'s' if len(rows) > 1 else ''} {shown}"
