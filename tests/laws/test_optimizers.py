"""Law: every optimizer is torch's own: equal to a hand-written loop over slices of the same order, unfused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mbgd.data.order import Order
from mbgd.data.stream import ChunkEnds
from mbgd.step.update import OPTIMIZERS
from oracles import cut
from problems import Training, arrays, flat, mlp, source

N, WIDTH, M, EPOCHS = 37, 4, 8, 4
Make = Callable[[Any], torch.optim.Optimizer]
# ours by name and options, and torch's own with the documented meaning
CASES: dict[str, tuple[Any, dict[str, Any], Make]] = {
    "sgd": ("sgd", {"learning_rate": 0.1}, lambda p: torch.optim.SGD(p, lr=0.1, fused=False)),
    "sgd by default": ("sgd", {}, lambda p: torch.optim.SGD(p, lr=0.1, fused=False)),
    "momentum": (
        "sgd",
        {"learning_rate": 0.05, "momentum": 0.9},
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, fused=False),
    ),
    "nesterov": (
        "sgd",
        {"learning_rate": 0.05, "momentum": 0.8, "nesterov": True},
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True, fused=False),
    ),
    "sgd with decay": (
        "sgd",
        {"learning_rate": 0.1, "weight_decay": 0.02, "momentum": 0.5},
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5, weight_decay=0.02, fused=False),
    ),
    "adam": ("adam", {"learning_rate": 0.01}, lambda p: torch.optim.Adam(p, lr=0.01, fused=False)),
    "adam by default": ("adam", {}, lambda p: torch.optim.Adam(p, lr=1e-3, fused=False)),
    "adam with decay": (
        "adam",
        {"learning_rate": 0.01, "weight_decay": 0.1},
        lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1, fused=False),
    ),
    "adamw": ("adamw", {"learning_rate": 0.01}, lambda p: torch.optim.AdamW(p, lr=0.01, fused=False)),
    "adamw without decay": (
        "adamw",
        {"learning_rate": 0.01, "weight_decay": 0.0},
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.0, fused=False),
    ),
    "a class": (
        torch.optim.RMSprop,
        {"learning_rate": 0.01, "weight_decay": 0.01},
        lambda p: torch.optim.RMSprop(p, lr=0.01, weight_decay=0.01),
    ),
    "a class with its own rate": (torch.optim.Adagrad, {}, torch.optim.Adagrad),
    "a partial": (
        partial(torch.optim.Adam, betas=(0.8, 0.9), amsgrad=True),
        {"learning_rate": 0.02},
        lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.9), amsgrad=True),
    ),
}


def hand_written(
    model: nn.Module, optimizer: torch.optim.Optimizer, order: Order, *, clip: float | None = None
) -> list[float]:
    """The loop everybody writes, over slices of the shuffled rows, its last batch divided by M too."""
    x, y, _ = (torch.tensor(part) for part in arrays(N, WIDTH))
    losses = []
    for epoch in range(EPOCHS):
        for batch in cut(order.rows(epoch), M, "short"):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x[batch])[:, 0], y[batch], reduction="sum") / 2
            losses.append(loss.item() / len(batch))
            (loss / M).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
    return losses


def assert_same(ours: nn.Module, theirs: nn.Module) -> None:
    # float64; fused kernels round in another order, and Adam's division by sqrt(v) magnifies 1e-16 by up to 1e3
    np.testing.assert_allclose(flat(ours).numpy(), flat(theirs).numpy(), atol=1e-11)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("max_batches", [1, 256])
def test_equal_to_torchs_own(name: str, max_batches: int) -> None:
    spec, options, make = CASES[name]
    order, theirs, ours = Order(N, seed=9), mlp(WIDTH), mlp(WIDTH)
    start = flat(ours)
    losses = hand_written(theirs, make(theirs.parameters()), order)
    training = Training(ours, source(N, WIDTH), order, M, optimizer=spec, options=options)
    training.run(len(losses), ends=ChunkEnds(max_batches=max_batches, every_steps=(len(losses),)))
    assert_same(ours, theirs)
    assert not torch.allclose(flat(ours), start, atol=1e-4)
    np.testing.assert_allclose(training.losses, losses, atol=1e-11)


def test_every_name_is_among_the_cases() -> None:
    assert set(OPTIMIZERS) == {spec for spec, _, _ in CASES.values() if isinstance(spec, str)}


@pytest.mark.parametrize("learning_rate", [None, 0.003])
def test_an_instance_keeps_its_own_rates_unless_one_is_given(learning_rate: float | None) -> None:
    def groups(model: nn.Sequential, rates: tuple[float, float]) -> torch.optim.Optimizer:
        first, last = model[0], model[-1]
        return torch.optim.Adam(
            [{"params": first.parameters(), "lr": rates[0]}, {"params": last.parameters(), "lr": rates[1]}]
        )

    order, theirs, ours = Order(N, seed=9), mlp(WIDTH), mlp(WIDTH)
    rates = (0.01, 0.05)
    used = rates if learning_rate is None else (learning_rate, learning_rate)
    losses = hand_written(theirs, groups(theirs, used), order)
    Training(
        ours, source(N, WIDTH), order, M, optimizer=groups(ours, rates), options={"learning_rate": learning_rate}
    ).run(len(losses))
    assert_same(ours, theirs)


def test_clipping_by_norm_is_torchs_own_on_the_whole_gradient() -> None:
    order, theirs, ours = Order(N, seed=9), mlp(WIDTH), mlp(WIDTH)
    losses = hand_written(theirs, torch.optim.SGD(theirs.parameters(), lr=0.3), order, clip=0.05)
    Training(ours, source(N, WIDTH), order, M, options={"learning_rate": 0.3}, clip_norm=0.05, micro_batch=3).run(
        len(losses)
    )
    assert_same(ours, theirs)


def test_frozen_parameters_stay_and_are_not_decayed() -> None:
    model = mlp(WIDTH)
    model[0].requires_grad_(False)
    before = model[0].weight.detach().clone()
    Training(model, source(N, WIDTH), Order(N, seed=0), M, optimizer="adamw", options={"weight_decay": 0.5}).run(10)
    assert torch.equal(model[0].weight, before)
    assert not torch.equal(model[-1].weight, mlp(WIDTH)[-1].weight)


def test_a_schedule_sets_the_rate_by_rows_seen_before_each_step() -> None:
    x, y, _ = (torch.tensor(part) for part in arrays(N, WIDTH))
    order, theirs, ours = Order(N, seed=9), mlp(WIDTH), mlp(WIDTH)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=1.0)
    rows_seen, rates = 0, []
    for epoch in range(2):
        for batch in cut(order.rows(epoch), M, "short"):
            rates.append(0.1 / (1 + rows_seen / 10))
            optimizer.param_groups[0]["lr"] = rates[-1]
            optimizer.zero_grad()
            (nn.functional.mse_loss(theirs(x[batch])[:, 0], y[batch], reduction="sum") / 2 / M).backward()
            optimizer.step()
            rows_seen += len(batch)
    training = Training(ours, source(N, WIDTH), order, M)  # base rate 0.1
    seen = []
    for done in training.each(
        ends=ChunkEnds(max_batches=3, every_steps=(len(rates),)), rate_factor=lambda rows: 1 / (1 + rows / 10)
    ):
        seen += done.rate_factors.tolist()
        if done.progress.steps_done == len(rates):
            break
    assert_same(ours, theirs)
    np.testing.assert_allclose(seen, np.array(rates) * 10, rtol=1e-12)
