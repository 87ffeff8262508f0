"""Small fixed problems: numbers of rows and columns in; arrays, models and whole short runs of the spine out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mbgd.data.ahead import ahead
from mbgd.data.order import BatchSize, Order, Tail
from mbgd.data.source import ArraySource, Rows, Source
from mbgd.data.stream import ChunkEnds, chunks
from mbgd.loop.progress import Progress
from mbgd.loop.steps import Steps, no_schedule, steps
from mbgd.step.autograd import AutogradEngine
from mbgd.step.gradient import GradientRule
from mbgd.step.update import OptimizerSpec, Updater, make_optimizer

ONE_BY_ONE = ChunkEnds(max_batches=1)


def arrays(
    n: int, width: int, *, seed: int = 7, labels: bool = False
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """x (n, width), y (n,) real or 0/1, w (n,) between 0.1 and 3, all float64."""
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(n, width))
    signal = x @ chance.normal(size=width) / np.sqrt(width) + 0.3 * chance.normal(size=n)
    y = (signal > 0).astype(np.float64) if labels else signal
    return x, y, chance.uniform(0.1, 3.0, size=n)


def source(
    n: int, width: int, *, dtype: torch.dtype = torch.float64, weighted: bool = False, labels: bool = False
) -> ArraySource:
    x, y, w = (torch.tensor(part, dtype=dtype) for part in arrays(n, width, labels=labels))
    return ArraySource(Rows(x, y, w if weighted else None))


def mlp(
    width: int, *, hidden: int = 9, dropout: float = 0.0, norm: bool = False, dtype: torch.dtype = torch.float64
) -> nn.Sequential:
    """width-hidden-1 with tanh; the same numbers at every call."""
    torch.manual_seed(20)
    layers: list[nn.Module] = [nn.Linear(width, hidden)]
    layers += [nn.BatchNorm1d(hidden)] if norm else []
    layers += [nn.Tanh()]
    layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(hidden, 1)).to(dtype)


def squared(output: Tensor, y: Tensor) -> Tensor:
    """Half the squared error a row, shape (B,)."""
    return 0.5 * (output.squeeze(-1) - y) ** 2


def logistic(output: Tensor, y: Tensor) -> Tensor:
    """Log loss a row for labels 0 and 1, shape (B,)."""
    return nn.functional.binary_cross_entropy_with_logits(output.squeeze(-1), y, reduction="none")


def flat(model: nn.Module) -> Tensor:
    """Every parameter and buffer in one vector, copied; float64 holds every number of a smaller type exactly."""
    return torch.cat([t.detach().to(torch.float64).flatten() for t in (*model.parameters(), *model.buffers())])


@dataclass
class Training:
    """A model with the engine around it; `run` trains it and leaves what happened in `progress` and `losses`."""

    model: nn.Module
    data: Source
    order: Order
    batch_size: BatchSize
    optimizer: OptimizerSpec = "sgd"
    options: dict[str, Any] = field(default_factory=dict)
    loss: Callable[[Tensor, Tensor], Tensor] = squared
    tail: Tail = "short"
    mean_weight: float = 1.0
    micro_batch: int | None = None
    clip_norm: float | None = None
    ema_decay: float | None = None
    seed: int = 5

    def __post_init__(self) -> None:
        optimizer = make_optimizer(self.optimizer, self.model, **self.options)
        self.updater = Updater(optimizer, self.model, clip_norm=self.clip_norm, ema_decay=self.ema_decay)
        rule = GradientRule(self.loss, self.mean_weight, self.micro_batch)
        self.engine = AutogradEngine(self.updater, self.model, rule, self.seed)
        self.progress = Progress()
        self.losses: list[float] = []

    def each(
        self, *, ends: ChunkEnds = ONE_BY_ONE, depth: int = 0, rate_factor: Callable[[int], float] = no_schedule
    ) -> Iterator[Steps]:
        """Train from `progress` on, for ever."""
        at = self.progress
        flow = chunks(
            self.data,
            self.order,
            batch_size=self.batch_size,
            tail=self.tail,
            start=at.cursor,
            rows_seen=at.rows_seen,
            steps_done=at.steps_done,
            ends=ends,
        )
        for done in steps(ahead(flow, depth=depth), self.engine, rate_factor=rate_factor, start=at):
            self.progress = done.progress
            self.losses += done.losses.tolist()
            yield done

    def run(self, until_step: int, **how: Any) -> Training:
        """Train until that many steps are done; chunks must end there."""
        if self.progress.steps_done < until_step:
            for done in self.each(**how):
                if done.progress.steps_done >= until_step:
                    break
        assert self.progress.steps_done == until_step, "a chunk went past the step asked for"
        return self
