"""Law: stop after any step, put the captured state into a new model, and the end is bit-identical (within one process)."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mbgd.data.order import Order
from mbgd.data.stream import ChunkEnds
from mbgd.step.state import capture, global_generators, set_global_generators
from problems import Training, flat, mlp, source

N, WIDTH, M = 61, 6, 8  # 8 steps an epoch, the last with 5 rows
STEPS = 24

PLANS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam", "options": {"learning_rate": 0.01}},
    "adamw": {"optimizer": "adamw", "options": {"learning_rate": 0.01}, "clip_norm": 0.5},
    "momentum": {"options": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}, "tail": "even"},
    "a class": {"optimizer": torch.optim.RMSprop, "options": {"learning_rate": 0.01}, "tail": "drop"},
}


def training(plan: dict[str, Any], dtype: torch.dtype = torch.float32, *, blank: bool = False) -> Training:
    model = mlp(WIDTH, dropout=0.25, norm=True, dtype=dtype)
    if blank:  # what is not restored shows
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.5)
    data = source(N, WIDTH, dtype=dtype, weighted=True)
    return Training(model, data, Order(N, seed=3), M, ema_decay=0.8, mean_weight=1.5, **plan)


def all_of(state: Training) -> list[Tensor]:
    assert state.updater.average is not None
    return [flat(state.model), *state.updater.average, *capture(state.updater).tensors.values()]


def rate(rows_seen: int) -> float:
    return 1.0 / (1.0 + rows_seen / 100)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", PLANS)
def test_stopping_after_any_step_and_resuming_changes_nothing(name: str, dtype: torch.dtype) -> None:
    steps = STEPS - 3 if name == "a class" else STEPS  # its tail is dropped
    whole = training(PLANS[name], dtype)
    saved = [(whole.engine.capture(), whole.progress)]
    flow = whole.each(rate_factor=rate)
    for _ in range(steps):
        next(flow)
        saved.append((whole.engine.capture(), whole.progress))
    assert whole.progress.cursor.epoch == 3
    for cut, (state, progress) in enumerate(saved):
        second = training(PLANS[name], dtype, blank=True)
        second.engine.restore(state)
        second.progress = progress
        second.run(steps, rate_factor=rate, ends=ChunkEnds(max_batches=1 + cut % 7, every_steps=(steps,)))
        assert second.progress == whole.progress
        assert second.losses == whole.losses[cut:]
        assert all(torch.equal(a, b) for a, b in zip(all_of(second), all_of(whole), strict=True))


def test_a_captured_state_is_a_copy_and_can_be_restored_twice() -> None:
    at = training(PLANS["adam"]).run(5)
    state, position = at.engine.capture(), at.progress
    ends = []
    for _ in range(3):
        at.engine.restore(state)
        at.progress = position
        ends.append(all_of(at.run(12)))
    assert all(torch.equal(a, b) for later in ends[1:] for a, b in zip(ends[0], later, strict=True))


def test_buffers_outside_the_state_dict_are_state_too() -> None:
    class Momentous(nn.Module):
        """Keeps a running mean that `state_dict` leaves out."""

        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(WIDTH, 1).double()
            self.register_buffer("seen", torch.zeros(WIDTH, dtype=torch.float64), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                self.seen += 0.1 * (x.mean(0) - self.seen)
            return self.last(x - self.seen)

    def fresh() -> Training:
        torch.manual_seed(0)
        return Training(Momentous(), source(N, WIDTH), Order(N, seed=0), M)

    whole, first, second = fresh().run(20), fresh().run(9), fresh()
    second.engine.restore(first.engine.capture())
    second.progress = first.progress
    assert torch.equal(flat(second.run(20).model), flat(whole.model))


def test_layers_that_use_global_generators_resume_with_them() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(WIDTH, 1).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x + torch.from_numpy(np.random.normal(size=x.shape))) * random.gauss(1.0, 0.1)

    def fresh() -> Training:
        torch.manual_seed(0)
        return Training(Noisy(), source(N, WIDTH), Order(N, seed=0), M)

    np.random.seed(1)
    random.seed(1)
    first = fresh().run(7)
    state, position, chance = first.engine.capture(), first.progress, global_generators()
    whole = first.run(15)
    np.random.seed(99)
    random.seed(99)
    second = fresh()
    second.engine.restore(state)
    second.progress = position
    set_global_generators(chance)
    assert torch.equal(flat(second.run(15).model), flat(whole.model))
