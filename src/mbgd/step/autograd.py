"""Make the updates of a chunk by torch's autograd and optimizer; works for every module."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbgd.data.chance import torch_aside
from mbgd.data.chunk import Chunk
from mbgd.model.table import check_codes
from mbgd.seeds import step_seed
from mbgd.step.dropout import drawing_from, plain_dropouts
from mbgd.step.evaluation import evaluating
from mbgd.step.fading import fade, faded
from mbgd.step.gradient import Forward, GradientRule, accumulate, gradient_of
from mbgd.step.state import State, capture, is_finite, restore
from mbgd.step.update import Updater


class Engine(Protocol):
    """Makes the updates of a chunk. Two engines that share an `Updater` may take turns."""

    @property
    def name(self) -> str: ...

    @property
    def packs_tightly(self) -> bool:
        """Whether its bits do not depend on where a batch begins in memory."""
        ...

    @property
    def reads_in_place(self) -> bool:
        """Whether it takes rows by their numbers, where they lie, as quickly as gathered ones."""
        ...

    @property
    def reads_sparse(self) -> bool:
        """Whether it takes sparse rows so; else they come dense."""
        ...

    @property
    def may_draw(self) -> bool:
        """Whether something it runs, as the user's own layers, may draw from a global generator of torch, NumPy or Python."""
        ...

    @property
    def updater(self) -> Updater: ...

    @property
    def rule(self) -> GradientRule: ...

    @property
    def seed(self) -> int: ...

    def bound(self) -> AbstractContextManager[None]:
        """What an engine keeps between chunks is kept inside; afterwards every tensor is as torch would leave it."""
        ...

    def run(self, chunk: Chunk, batches: range, *, rate_factors: NDArray[np.float64], steps_done: int) -> Tensor:
        """Update for the named batches of the chunk; losses of their rows, shape (rows,), unweighted.

        `steps_done` counts the updates before the chunk; rate_factors has one entry a batch of the chunk.
        """
        ...

    def gradient(self, chunk: Chunk, batch: int) -> Tensor:
        """The gradient that an update for this batch would take, before clipping and decay: flat, in the order of
        `model.parameters()`, zeros for those that are not trained.

            g = (1 / (m wbar)) * sum over the batch of w_i grad l_i

        In evaluation mode, so without dropout; nothing is changed by it, whatever comes out.
        """
        ...

    def predicting(self) -> Forward:
        """What computes the model's outputs as they would be now in evaluation mode, for inputs as the model takes them;
        with one output a row they may be (B, 1). To be asked for anew after every change of a parameter; it is called
        without gradients, in evaluation mode."""
        ...

    def capture(self) -> State: ...

    def restore(self, state: State) -> None: ...

    def is_finite(self) -> bool: ...


@dataclass(frozen=True)
class AutogradEngine:
    """torch's autograd, one batch at a time. `forward` is the model or its compiled form."""

    updater: Updater
    forward: Forward
    rule: GradientRule
    seed: int
    name: str = "autograd"
    packs_tightly: bool = False
    reads_in_place: bool = False
    reads_sparse: bool = False
    fades_over: int | None = None  # steps over which dropout fades
    decay_fades_over: int | None = None  # and weight decay
    may_draw: bool = True
    """Whether something besides torch's own `Dropout` may: then each step seeds torch's global generator, and one training at
    a time has it. Else dropout draws from one of this training's own, on the CPU."""

    def bound(self) -> AbstractContextManager[None]:
        return nullcontext()

    def run(self, chunk: Chunk, batches: range, *, rate_factors: NDArray[np.float64], steps_done: int) -> Tensor:
        check_codes(self.updater.model, chunk.data.x)
        run = partial(self._run, chunk, batches, rate_factors=rate_factors, steps_done=steps_done)
        if self.may_draw:
            device = chunk.data.leaves()[0].device
            with torch_aside():
                return run(reseed=lambda step: reseed(self.seed, step, device))
        layers, own = plain_dropouts(self.updater.model), torch.Generator()
        with drawing_from(own, layers):
            return run(reseed=(lambda step: own.manual_seed(step_seed(self.seed, step))) if layers else None)

    def _run(
        self,
        chunk: Chunk,
        batches: range,
        *,
        rate_factors: NDArray[np.float64],
        steps_done: int,
        reseed: Callable[[int], object] | None,
    ) -> Tensor:
        losses = []
        for j, batch in zip(batches, islice(chunk.batches(), batches.start, batches.stop), strict=True):
            if reseed is not None:
                reseed(steps_done + j)
            with faded(self.updater.model, fade(steps_done + j, self.fades_over)):
                losses.append(accumulate(self.forward, batch, self.rule))
            self.updater.apply(float(rate_factors[j]), fade(steps_done + j, self.decay_fades_over))
        return torch.cat(losses)

    def gradient(self, chunk: Chunk, batch: int) -> Tensor:
        updater = self.updater
        rows = next(islice(chunk.batches(), batch, None))
        check_codes(updater.model, rows.data.x)
        with evaluating(updater.model):
            found = gradient_of(self.forward, rows, self.rule, updater.trained())
        return updater.flat(found)

    def predicting(self) -> Forward:
        return self.updater.model

    def capture(self) -> State:
        return capture(self.updater)

    def restore(self, state: State) -> None:
        restore(self.updater, state)

    def is_finite(self) -> bool:
        return is_finite(self.updater)


def reseed(seed: int, step: int, device: torch.device) -> None:
    """Set torch's generators to a pure function of (seed, step), so that dropout needs no state to resume from."""
    value = step_seed(seed, step)
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)
