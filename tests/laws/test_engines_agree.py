"""Law: the fused engine makes the updates of autograd, step by step, whatever the layers, loss, optimizer and data.

A covering array: every pair of values of any two of its columns occurs in some case.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engines import Case, both, close, engine, target
from mbgd.data.order import Order
from mbgd.data.stream import chunks
from oracles import cut

WIDTH, N = 7, 61
LAYERS: dict[str, Callable[[], list[nn.Module]]] = {
    "none": list,
    "relu": lambda: [nn.ReLU()],
    "leaky_relu": lambda: [nn.LeakyReLU(0.2)],
    "elu": lambda: [nn.ELU(0.7)],
    "selu": lambda: [nn.SELU()],
    "gelu": lambda: [nn.GELU()],
    "gelu_tanh": lambda: [nn.GELU(approximate="tanh")],
    "silu": lambda: [nn.SiLU()],
    "mish": lambda: [nn.Mish()],
    "tanh": lambda: [nn.Tanh()],
    "sigmoid": lambda: [nn.Sigmoid()],
    "two at once": lambda: [nn.ReLU(), nn.Tanh(), nn.Identity()],
    "no dropout": lambda: [nn.Dropout(0.0), nn.ReLU()],
}
LOSSES: dict[str, tuple[str, int, dict[str, Any]]] = {  # loss, outputs, options
    "squared_error": ("squared_error", 1, {}),
    "squared_error of 3": ("squared_error", 3, {}),
    "absolute_error": ("absolute_error", 1, {}),
    "huber": ("huber", 1, {"huber_delta": 0.4}),
    "quantile of 2": ("quantile", 2, {"quantile": 0.8}),
    "poisson": ("poisson", 1, {}),
    "gamma": ("gamma", 1, {}),
    "log_loss": ("log_loss", 1, {}),
    "log_loss smoothed": ("log_loss", 1, {"label_smoothing": 0.2}),
    "hinge": ("hinge", 1, {}),
    "classes": ("log_loss", 4, {}),
    "classes smoothed": ("log_loss", 5, {"label_smoothing": 0.1}),
    "classes hinge": ("hinge", 3, {}),
}


def groups(model: nn.Module) -> torch.optim.Optimizer:
    """Weights and biases with rates, decays and momenta of their own."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    first = {"params": weights, "weight_decay": 0.01, "momentum": 0.8, "nesterov": True}
    return torch.optim.SGD([first, {"params": biases, "lr": 0.02}], lr=0.03)


OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sgd": ("sgd", {}),
    "sgd with decay": ("sgd", {"weight_decay": 0.1}),
    "momentum": ("sgd", {"momentum": 0.9, "learning_rate": 0.02, "weight_decay": 0.01}),
    "nesterov": ("sgd", {"momentum": 0.8, "nesterov": True, "learning_rate": 0.02}),
    "adam": ("adam", {"learning_rate": 0.01, "weight_decay": 0.05}),
    "adamw": ("adamw", {"learning_rate": 0.01, "weight_decay": 0.3}),
    "groups": (groups, {}),
}
COLUMNS: dict[str, list[Any]] = {
    "layer": list(LAYERS),
    "loss": list(LOSSES),
    "optimizer": list(OPTIMIZERS),
    "weighted": [False, True],
    "tail": ["short", "even", "drop"],
    "m": [1, 3, 8, 40, 61],
    "bias": [True, False],
    "clip": [None, 0.3],
    "ema": [None, 0.9],
}


def covering_array() -> list[dict[str, Any]]:
    """Greedy, from a fixed seed: each row is the best of some random ones at covering pairs not yet covered."""
    chance, names = random.Random(4), list(COLUMNS)
    left = {
        ((a, x), (b, y))
        for a, b in itertools.combinations(names, 2)
        for x, y in itertools.product(map(str, COLUMNS[a]), map(str, COLUMNS[b]))
    }
    rows = []
    while left:
        (a, x), (b, y) = min(left)
        tried = [{name: chance.choice(COLUMNS[name]) for name in names} for _ in range(20)]
        for row in tried:
            row[a] = next(v for v in COLUMNS[a] if str(v) == x)
            row[b] = next(v for v in COLUMNS[b] if str(v) == y)
        best = max(tried, key=lambda row: len(_pairs(row) & left))
        left -= _pairs(best)
        rows.append(best)
    return rows


def _pairs(row: dict[str, Any]) -> set[Any]:
    return set(itertools.combinations([(name, str(value)) for name, value in row.items()], 2))


CASES = covering_array()


def case(row: dict[str, Any], dtype: torch.dtype) -> Case:
    loss, outputs, loss_options = LOSSES[row["loss"]]
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Linear(WIDTH, 9, bias=row["bias"]),
        nn.Sequential(*LAYERS[row["layer"]](), nn.Linear(9, 6)),
        *LAYERS[row["layer"]](),
        nn.Linear(6, outputs, bias=row["bias"]),
    ).to(dtype)
    chance = np.random.default_rng(1)
    optimizer, options = OPTIMIZERS[row["optimizer"]]
    return Case(
        model,
        torch.tensor(chance.normal(size=(N, WIDTH))).to(dtype),
        target(loss, N, outputs),
        loss=loss,
        w=torch.tensor(chance.uniform(0.1, 3, N)).to(dtype) if row["weighted"] else None,
        m=row["m"],
        optimizer=optimizer,
        options=options,
        loss_options=loss_options,
        tail=row["tail"],
        clip_norm=row["clip"],
        ema_decay=row["ema"],
        outputs=(outputs,),
    )


@pytest.mark.parametrize("row", CASES, ids=lambda row: "-".join(str(v) for v in row.values()))
def test_in_float64_to_rounding(row: dict[str, Any]) -> None:
    fused, autograd = both(case(row, torch.float64))
    close(fused.numbers(), autograd.numbers(), within=1e-10)
    close(fused.losses, autograd.losses, within=1e-10)


@pytest.mark.parametrize("row", CASES[::4], ids=lambda row: "-".join(str(v) for v in row.values()))
def test_in_float32_to_its_rounding(row: dict[str, Any]) -> None:
    """20 steps: 6e-8 a number and step, times what a step magnifies: Adam divides by the root of a square near 0."""
    short = case(row, torch.float32)
    short.steps = 20
    fused, autograd = both(short)
    close(fused.numbers(), autograd.numbers(), within=2e-4)


def test_the_covering_array_covers() -> None:
    """Every pair occurs: counted anew, from the cases alone."""
    for a, b in itertools.combinations(COLUMNS, 2):
        found = {(str(row[a]), str(row[b])) for row in CASES}
        assert len(found) == len(COLUMNS[a]) * len(COLUMNS[b]), (a, b)


def by_hand(x: Tensor, y: Tensor, model: nn.Module, batches: list[list[int]], m: int) -> None:
    """The loop everybody writes: momentum, and the short last batch divided by m."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=False)
    for batch in batches:
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(x[batch])[:, 0], y[batch], reduction="sum")
        (loss / m).backward()
        optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_the_loop_everybody_writes(dtype: torch.dtype) -> None:
    """Wide enough for every way of multiplying: transposed copies, several blocks of rows, a last one of another size."""
    n, m = 700, 150
    chance = np.random.default_rng(0)
    x, y = torch.tensor(chance.normal(size=(n, 28))).to(dtype), torch.tensor(chance.integers(0, 2, n)).to(dtype)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(28, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1)).to(dtype)
    options = {"learning_rate": 0.1, "momentum": 0.9}
    made = Case(model, x, y, loss="log_loss", m=m, options=options, steps=10)
    ours = engine(made, fused=True)
    at_a_constant_rate(made, ours)
    batches = [b for epoch in range(2) for b in cut(Order(n, seed=1).rows(epoch), m, "short")]
    by_hand(x, y, model, batches, m)
    within = 1e-12 if dtype == torch.float64 else 2e-5
    for a, b in zip(ours.model.parameters(), model.parameters(), strict=True):
        close(a.detach().flatten(), b.detach().flatten(), within=within)


@pytest.mark.parametrize("m", [2, 7, 9, 33, 130])
@pytest.mark.parametrize("widths", [(63, 70, 3), (64, 65, 1), (200, 170, 12)], ids=str)
def test_with_any_rows_a_batch_where_layers_are_wide(m: int, widths: tuple[int, int, int]) -> None:
    """Weights are multiplied as they lie, or from a transposed copy, by how many there are and how many rows."""
    a, b, outputs = widths
    chance = np.random.default_rng(0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(a, b), nn.Tanh(), nn.Linear(b, outputs)).double()
    x, y = torch.tensor(chance.normal(size=(150, a))), target("squared_error", 150, outputs)
    made = Case(
        model, x, y, loss="squared_error", m=m, options={"learning_rate": 0.01}, outputs=(outputs,) * (outputs > 1)
    )
    fused, autograd = both(made)
    close(fused.numbers(), autograd.numbers(), within=1e-10)
    close(fused.losses, autograd.losses, within=1e-10)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("clip", [None, 0.3])
def test_with_one_row_a_batch_where_layers_are_wide(optimizer: str, clip: float | None) -> None:
    """The product of one row is never written: its update goes by rows of weights, whole vectors or not."""
    chance = np.random.default_rng(0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(75, 67), nn.ReLU(), nn.Linear(67, 64), nn.Tanh(), nn.Linear(64, 3)).double()
    x, y = torch.tensor(chance.normal(size=(40, 75))), target("log_loss", 40, 3)
    kind, options = OPTIMIZERS[optimizer]
    made = Case(model, x, y, loss="log_loss", m=1, optimizer=kind, options=options, outputs=(3,), clip_norm=clip)
    fused, autograd = both(made)
    close(fused.numbers(), autograd.numbers(), within=1e-10)
    close(fused.losses, autograd.losses, within=1e-10)


def at_a_constant_rate(made: Case, by: Any) -> None:
    """Ten steps at a constant rate."""
    chunk = next(iter(chunks(made.source(), Order(made.n, seed=1), batch_size=made.m)))
    by.engine.run(chunk, range(10), rate_factors=np.ones(len(chunk)), steps_done=0)
