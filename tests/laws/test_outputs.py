"""Law: what an engine predicts is what the model gives in evaluation mode, row by row, and asking for it changes nothing."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engines import Case, Trained, close, engine, target, train
from mbgd.data.source import call
from mbgd.model.table import TableModel
from mbgd.step.fused.arena import rows_of_a_block
from mbgd.step.fused.step import FusedEngine

N = 333
chance = np.random.default_rng(4)
EDGES = [(-2.0, -0.5, 0.1, 0.7, 2.5), (), (-1.0, 1.0), (-3.0, 0.0, 0.5)]  # one number is not embedded


def table_case(dtype: torch.dtype, **options: Any) -> Case:
    torch.manual_seed(8)
    numbers, codes = torch.tensor(chance.normal(size=(N, 4))), torch.tensor(chance.integers(0, 3, (N, 2)))
    model = TableModel(4, (3, 30), hidden_layer_sizes=(20, 12), **options)
    return Case(model.to(dtype), (numbers.to(dtype), codes), target("squared_error", N, 1), m=9, steps=20)


def stack_case(dtype: torch.dtype, widths: tuple[int, ...], between: list[nn.Module], **more: Any) -> Case:
    torch.manual_seed(9)
    layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), *copy.deepcopy(between))]
    model = nn.Sequential(*layers[: len(layers) - len(between)])
    x = torch.tensor(chance.normal(size=(N, widths[0])))
    y = target("squared_error", N, widths[-1])
    return Case(model.to(dtype), x.to(dtype), y, m=9, steps=20, outputs=(widths[-1],), **more)


CASES = {
    "linear": lambda d: stack_case(d, (5, 1), []),
    "several outputs": lambda d: stack_case(d, (5, 3), []),
    "relu": lambda d: stack_case(d, (5, 17, 9, 1), [nn.ReLU()]),
    "dropout": lambda d: stack_case(d, (5, 17, 9, 2), [nn.GELU(), nn.Dropout(0.5)]),
    "blocks and blas": lambda d: stack_case(d, (20, 150, 600, 450, 3), [nn.Tanh()], options={"learning_rate": 0.001}),
    "blocks": lambda d: stack_case(d, (20, 700, 3), [nn.SiLU()], options={"learning_rate": 0.001}),
    "average": lambda d: stack_case(d, (5, 17, 1), [nn.ReLU()], ema_decay=0.9),
    "table": table_case,
    "table, scales, embedded numbers, dropout": lambda d: table_case(d, scaled=True, dropout=0.3, edges=EDGES),
}


def by_model(by: Trained, case: Case) -> Tensor:
    model = copy.deepcopy(by.model).eval()
    with torch.no_grad():
        found: Tensor = call(model, case.x)
    return found


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_outputs_are_the_models(name: str, dtype: torch.dtype) -> None:
    case = CASES[name](dtype)
    by = train(case, engine(case, fused=True))
    before, modes = by.numbers(), [module.training for module in by.model.modules()]
    expected = by_model(by, case)
    found = call(by.engine.predicting(), case.x)
    assert found.shape == (N, *case.outputs)
    assert found.dtype == dtype
    # sums of some hundred products of size 1
    close(found.flatten(), expected.flatten(), within=1e-12 if dtype == torch.float64 else 2e-5)
    assert torch.equal(by.numbers(), before)
    assert [module.training for module in by.model.modules()] == modes


@pytest.mark.parametrize("name", ["relu", "blocks", "table"])
def test_a_rows_outputs_do_not_depend_on_its_neighbours(name: str) -> None:
    case = CASES[name](torch.float32)
    by = engine(case, fused=True)
    assert isinstance(by.engine, FusedEngine)
    assert (rows_of_a_block(by.engine.program) < N) == (name == "blocks")
    outputs = by.engine.predicting()
    whole = call(outputs, case.x)
    for rows in (slice(0, 1), slice(7, 8), slice(3, 200), slice(N - 5, N), slice(0, 0)):
        x = case.x[rows] if isinstance(case.x, Tensor) else tuple(part[rows] for part in case.x)
        assert torch.equal(call(outputs, x), whole[rows]), rows


def test_inside_and_outside_of_a_training_and_after_a_change() -> None:
    case = CASES["relu"](torch.float64)
    by = engine(case, fused=True)
    first = call(by.engine.predicting(), case.x)
    with by.engine.bound():
        train(case, by, upto=5)
        inside = call(by.engine.predicting(), case.x)
    assert torch.equal(call(by.engine.predicting(), case.x), inside)
    assert not torch.equal(first, inside)
    with torch.no_grad():
        by.model[0].bias += 1.0  # type: ignore[index]
    close(call(by.engine.predicting(), case.x).flatten(), by_model(by, case).flatten(), within=1e-12)
