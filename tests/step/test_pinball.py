"""Several quantiles at once: one value a row, as a loop by hand has it; predictions that never cross; both engines alike."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engines import Case, both, close, engine, train
from mbgd.errors import DataError, PlanError
from mbgd.step.loss import make_loss

LEVELS = (0.05, 0.3, 0.5, 0.95)


def by_hand(output: Tensor, y: Tensor, levels: tuple[float, ...]) -> list[float]:
    """Row by row, level by level: what lies above the output costs its level, what lies below the rest of 1."""
    losses = []
    for row, value in zip(output.tolist(), y.tolist(), strict=True):
        costs = [
            level * (value - o) if value >= o else (1 - level) * (o - value)
            for level, o in zip(levels, row, strict=True)
        ]
        losses.append(sum(costs) / len(costs))
    return losses


def numbers(n: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    chance = np.random.default_rng(seed)
    return torch.from_numpy(chance.normal(size=(n, width))), torch.from_numpy(chance.normal(size=n))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_row_is_the_mean_over_levels_of_what_a_miss_costs(dtype: torch.dtype) -> None:
    output, y = numbers(50, len(LEVELS))
    output[7, 2] = y[7]
    found = make_loss("quantile", output_shape=(4,), levels=LEVELS, dtype=dtype).per_row(output.to(dtype), y.to(dtype))
    assert found.shape == (50,)
    assert found.dtype == dtype
    within = 1e-6 if dtype == torch.float32 else 1e-14
    assert found.tolist() == pytest.approx(by_hand(output, y, LEVELS), rel=within, abs=within)


def test_the_constant_of_least_loss_is_the_quantile_of_each_level() -> None:
    """Of 0, 1, ..., 100 the quantile of level t is 100 t, up to rounding to a neighbour."""
    y, levels = torch.arange(101.0), (0.105, 0.5, 0.905)
    loss = make_loss("quantile", output_shape=(3,), levels=levels)
    best = [
        min(range(101), key=lambda c, level=level: sum(by_hand(torch.full((101, 1), float(c)), y, (level,))))  # type: ignore[misc]
        for level in levels
    ]
    assert best == [10, 50, 91]
    at_best = float(loss.per_row(torch.tensor([best] * 101, dtype=torch.float32), y).mean())
    for place in range(3):
        for step in (-1, 1):
            other = [value + step * (place == q) for q, value in enumerate(best)]
            assert float(loss.per_row(torch.tensor([other] * 101, dtype=torch.float32), y).mean()) > at_best


def test_predictions_are_in_order_and_what_is_trained_is_not() -> None:
    output, y = numbers(200, 4)
    loss = make_loss("quantile", output_shape=(4,), levels=LEVELS, dtype=torch.float64)
    found = loss.prediction(output)
    assert (found.diff(dim=1) >= 0).all()
    assert found.tolist() == [sorted(row) for row in output.tolist()]
    assert (loss.kind, loss.levels) == ("quantiles", LEVELS)
    assert make_loss("quantile", output_shape=(), quantile=0.3).levels == ()
    per_row = loss.per_row
    assert (per_row(found, y) <= per_row(output, y) + 1e-12).all()  # order never costs


@pytest.mark.parametrize(
    ("output", "y"), [((5, 3), (5,)), ((5, 4), (4,)), ((5,), (5,)), ((5, 4), (5, 4)), ((4, 4), (4, 2))]
)
def test_shapes_that_do_not_fit_are_refused(output: tuple[int, ...], y: tuple[int, ...]) -> None:
    loss = make_loss("quantile", output_shape=(4,), levels=LEVELS)
    with pytest.raises(DataError, match="outputs and y must have the same rows and fit each other"):
        loss.per_row(torch.zeros(output), torch.zeros(y))


def test_levels_without_their_loss_or_their_outputs_are_refused() -> None:
    with pytest.raises(PlanError, match=r"levels belong to loss='quantile', got loss='huber'; leave the loss out"):
        make_loss("huber", output_shape=(4,), levels=LEVELS)
    with pytest.raises(PlanError, match=r"must have one output a level, 4, got outputs of shape \('B', 3\)"):
        make_loss("quantile", output_shape=(3,), levels=LEVELS)


def case(dtype: torch.dtype, *, width: int = 9, **how: Any) -> Case:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(7, width), nn.Tanh(), nn.Linear(width, 4)).to(dtype)
    chance = np.random.default_rng(1)
    x, w = torch.tensor(chance.normal(size=(61, 7))).to(dtype), torch.tensor(chance.uniform(0.1, 3, 61)).to(dtype)
    y = torch.tensor(chance.normal(size=61))
    return Case(model, x, y, loss="quantile", w=w, outputs=(4,), loss_options={"levels": LEVELS}, **how)


@pytest.mark.parametrize("m", [1, 8, 61])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_engines_agree_to_rounding(m: int, optimizer: str) -> None:
    """Over 50 updates in float64, weights and a short last batch included."""
    fused, autograd = both(case(torch.float64, m=m, optimizer=optimizer, options={"learning_rate": 0.01}))
    close(fused.numbers(), autograd.numbers(), within=1e-10)
    close(fused.losses, autograd.losses, within=1e-10)


def test_a_team_of_threads_agrees_and_so_does_a_target_that_is_met_exactly() -> None:
    """Half of the gradient is either side's where output and target are equal, as torch has it."""
    made = case(torch.float64, m=20)
    alone, team = engine(made, fused=True), engine(made, fused=True, team=2)
    close(train(made, team).numbers(), train(made, alone).numbers(), within=1e-12)
    zero = copy.deepcopy(made)
    with torch.no_grad():
        for parameter in zero.model[2].parameters():
            parameter.zero_()
    zero.y = torch.zeros_like(zero.y)
    zero.steps = 1
    fused, autograd = both(zero)
    close(fused.numbers(), autograd.numbers(), within=1e-12)
    assert fused.numbers().ne(flat(zero.model)).any()


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])
