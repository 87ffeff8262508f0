"""A chunk in, its updates out, all finite: a bad one is undone with all after it, and named."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbgd.data.chunk import Chunk
from mbgd.data.order import IntArray
from mbgd.step.autograd import Engine


@dataclass(frozen=True)
class Updates:
    """What a chunk's updates saw: per batch the sum of w_i l_i and of w_i before its update. Fewer batches than the
    chunk has where the next one was not finite."""

    loss_sums: NDArray[np.float64]  # (k,)
    weight_sums: NDArray[np.float64]  # (k,)
    failed: bool

    def __len__(self) -> int:
        return len(self.loss_sums)

    def is_finite(self) -> bool:
        """Whether every loss is: what is not finite stays so in a sum. A sum of many large ones may overflow by itself."""
        with np.errstate(invalid="ignore", over="ignore"):
            return bool(np.isfinite(self.loss_sums.sum()))


def run_finite(engine: Engine, chunk: Chunk, *, rate_factors: NDArray[np.float64], steps_done: int) -> Updates:
    """Run a chunk. Where a loss, parameter or optimizer state comes out not finite, go back to the chunk's start and
    replay up to the step before: no such update is left in memory.

    One check a chunk, since a check a step makes the device wait (6-32 % of a small network's time). What is not finite
    stays so: hence the first such step is found by halving.
    """
    keep = _Chance if engine.may_draw else _NoChance
    before, chance = engine.capture(), keep()
    losses = engine.run(chunk, range(len(chunk)), rate_factors=rate_factors, steps_done=steps_done)
    with np.errstate(invalid="ignore", over="ignore"):  # NaN or infinity is what is looked for
        done = _sums(chunk, losses, len(chunk), failed=False)
    if (done.is_finite() or _all_finite(losses)) and engine.is_finite():
        return done
    engine.restore(before)
    chance.restore()
    good, up_to, bad = [losses[:0]], 0, len(chunk)  # up to `up_to` all is finite, up to `bad` it was not, or may not be
    while up_to < len(chunk):
        part = range(up_to, up_to + max(1, (bad - up_to) // 2))
        last_good, chance = engine.capture(), keep()
        losses = engine.run(chunk, part, rate_factors=rate_factors, steps_done=steps_done)
        if _all_finite(losses) and engine.is_finite():
            good.append(losses)
            up_to = part.stop
            bad = bad if bad > up_to else len(chunk)  # chance that is not ours drew better numbers this time
            continue
        engine.restore(last_good)
        chance.restore()
        bad = part.stop
        if len(part) == 1:
            return _sums(chunk, torch.cat(good), up_to, failed=True)
    return _sums(chunk, torch.cat(good), len(chunk), failed=False)


class _Chance:
    """NumPy's and Python's global generators as they are now, for layers of the user's own that draw from them."""

    def __init__(self) -> None:
        self._numpy, self._python = np.random.get_state(), random.getstate()

    def restore(self) -> None:
        np.random.set_state(self._numpy)
        random.setstate(self._python)


class _NoChance:
    """Nothing was drawn."""

    def restore(self) -> None:
        pass


def _all_finite(losses: Tensor) -> bool:
    return bool(torch.isfinite(losses).all())


@np.errstate(over="ignore")  # a sum of finite losses may overflow, shortly before they do
def _sums(chunk: Chunk, losses: Tensor, n_batches: int, *, failed: bool) -> Updates:
    loss = losses.cpu().to(torch.float64).numpy()
    sizes = chunk.sizes[:n_batches]
    if n_batches == 0:
        return Updates(np.zeros(0), np.zeros(0), failed)
    if chunk.data.w is None:
        return Updates(_by_batch(loss, sizes), sizes.astype(np.float64), failed)
    weight = chunk.in_order(chunk.data.w, n_batches).cpu().to(torch.float64).numpy()
    return Updates(_by_batch(weight * loss, sizes), _by_batch(weight, sizes), failed)


def _by_batch(each: NDArray[np.float64], sizes: IntArray) -> NDArray[np.float64]:
    """The sums over rows that lie batch behind batch."""
    return each if len(each) == len(sizes) else np.add.reduceat(each, np.cumsum(sizes) - sizes)
