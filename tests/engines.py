"""One training twice: a model, data and settings in, what either engine and a hand-written torch loop make of them out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mbgd.data.order import Order
from mbgd.data.source import ArraySource, Inputs, Rows
from mbgd.data.stream import ChunkEnds, chunks
from mbgd.step.autograd import AutogradEngine, Engine
from mbgd.step.fused.program import Program, make_program
from mbgd.step.fused.step import FusedEngine
from mbgd.step.gradient import GradientRule
from mbgd.step.loss import Loss, make_loss
from mbgd.step.members import taught
from mbgd.step.update import Updater, make_optimizer

REGRESSION = ("squared_error", "absolute_error", "huber", "quantile")
COUNTS = ("poisson", "gamma")


def target(loss: str, n: int, outputs: int, *, seed: int = 3) -> Tensor:
    """n targets that the loss takes: numbers, counts, shares or labels; of the shape of several outputs where it has them."""
    chance = np.random.default_rng(seed)
    if loss in ("log_loss", "hinge"):
        return torch.tensor(chance.integers(0, max(2, outputs), n))
    shape = (n,) if outputs == 1 else (n, outputs)
    return torch.tensor(chance.uniform(0.2, 3.0, shape) if loss in COUNTS else chance.normal(size=shape))


@dataclass
class Case:
    """A training: `model` is copied for each engine."""

    model: nn.Module
    x: Inputs
    y: Tensor
    loss: Any = "squared_error"
    w: Tensor | None = None
    m: int = 5
    steps: int = 50
    optimizer: Any = "sgd"
    options: dict[str, Any] = field(default_factory=dict)
    loss_options: dict[str, Any] = field(default_factory=dict)
    tail: Any = "short"
    clip_norm: float | None = None
    ema_decay: float | None = None
    outputs: tuple[int, ...] = (1,)
    seed: int = 5

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    @property
    def n(self) -> int:
        return len(self.y)

    def made_loss(self) -> Loss:
        return make_loss(self.loss, output_shape=self.outputs, dtype=self.dtype, **self.loss_options)

    def source(self) -> ArraySource:
        return ArraySource(Rows(self.x, self.made_loss().prepare(self.y), self.w))


@dataclass
class Trained:
    """A model after its training, with the engine around it; losses one a row."""

    model: nn.Module
    engine: Engine
    losses: list[float] = field(default_factory=list)

    @property
    def updater(self) -> Updater:
        return self.engine.updater

    def numbers(self) -> Tensor:
        """Parameters, optimizer state and averages in one float64 vector."""
        state = self.updater.optimizer.state_dict()["state"]
        held = [v for n in sorted(state) for _, v in sorted(state[n].items()) if isinstance(v, Tensor)]
        parts = [*self.model.parameters(), *held, *(self.updater.average or ())]
        return torch.cat([part.detach().to(torch.float64).flatten() for part in parts])


def engine(
    case: Case,
    *,
    fused: bool,
    model: nn.Module | None = None,
    team: int = 1,
    fades_over: int | None = None,
    decay_fades_over: int | None = None,
) -> Trained:
    """An engine around a copy of the model; a team of threads shares its batches."""
    model = copy.deepcopy(case.model) if model is None else model
    options = {"learning_rate": 0.05, **case.options}
    make = case.optimizer
    optimizer = make_optimizer(make, model, **options) if isinstance(make, str) else make(model)
    updater = Updater(optimizer, model, clip_norm=case.clip_norm, ema_decay=case.ema_decay)
    source = case.source()
    mean_weight = 1.0 if case.w is None else float(case.w.double().mean())
    forward, per_row = taught(model, case.made_loss().per_row)
    rule = GradientRule(per_row, mean_weight=mean_weight)
    fades = {"fades_over": fades_over, "decay_fades_over": decay_fades_over}
    if not fused:
        return Trained(model, AutogradEngine(updater, forward, rule, case.seed, **fades))
    found = make_program(
        model, loss=case.made_loss(), optimizer=optimizer, example=source.read(slice(0, 1)), output_shape=case.outputs
    )
    assert isinstance(found, Program), found
    return Trained(model, FusedEngine(found, updater, rule=rule, seed=case.seed, team=team, **fades))


def train(
    case: Case,
    by: Trained,
    *,
    upto: int | None = None,
    after: int = 0,
    ends: ChunkEnds = ChunkEnds(),
    bind: bool = True,
    in_place: bool | None = None,
) -> Trained:
    """Run the steps after+1 .. upto, with the rate falling slowly; chunks as `ends` says."""
    upto = case.steps if upto is None else upto
    order = Order(case.n, seed=1)
    done = 0
    with by.engine.bound() if bind else nullcontext():
        tight, in_place = by.engine.packs_tightly, by.engine.reads_in_place if in_place is None else in_place
        for chunk in chunks(
            case.source(), order, batch_size=case.m, tail=case.tail, ends=ends, tight=tight, in_place=in_place
        ):
            first, last = max(after - done, 0), min(len(chunk), upto - done)
            if first < last:
                factors = 1 / (1 + 0.01 * (done + np.arange(len(chunk))))
                by.losses += by.engine.run(chunk, range(first, last), rate_factors=factors, steps_done=done).tolist()
            done += len(chunk)
            if done >= upto:
                return by
    return by


def both(case: Case, **how: Any) -> tuple[Trained, Trained]:
    """(fused, autograd) after the same steps."""
    return train(case, engine(case, fused=True), **how), train(case, engine(case, fused=False), **how)


def close(a: Sequence[float] | Tensor, b: Sequence[float] | Tensor, *, within: float) -> None:
    """Largest difference, as a share of the largest number where that exceeds 1."""
    first, second = (torch.as_tensor(v, dtype=torch.float64) for v in (a, b))
    assert first.shape == second.shape
    assert bool(torch.isfinite(second).all())
    scale = max(1.0, float(second.abs().max()))
    assert float((first - second).abs().max()) <= within * scale
