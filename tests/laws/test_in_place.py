"""Law: rows that kernels pick by their numbers, block by block, are trained on as rows gathered beforehand, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engines import Case, engine, target, train
from mbgd.data.stream import ChunkEnds
from mbgd.model.table import TableModel

N = 230
DTYPES = [torch.float32, torch.float64]


def network(dtype: torch.dtype, *, outputs: int = 1, loss: str = "squared_error", **how: Any) -> Case:
    torch.manual_seed(0)
    hidden = [nn.Linear(13, 28), nn.GELU(), nn.Dropout(0.3), nn.Linear(28, outputs)]
    x = torch.tensor(np.random.default_rng(2).normal(size=(N, 13))).to(dtype)
    y = target(loss, N, 1 if "loss_options" in how else outputs)
    return Case(
        nn.Sequential(*hidden).to(dtype),
        x,
        y.to(dtype) if y.is_floating_point() else y,
        loss,
        outputs=(outputs,),
        **how,
    )


def table(dtype: torch.dtype) -> Case:
    """Numbers that bend, codes that are spread out and embedded, scales: three tensors a row with the target."""
    chance, cardinalities = np.random.default_rng(4), (5, 12)
    edges = tuple(tuple(np.sort(chance.normal(size=6)).tolist()) for _ in range(3))
    model = TableModel(3, cardinalities, hidden_layer_sizes=(9,), edges=edges, scaled=True, dropout=0.1, seed=3).to(
        dtype
    )
    codes = np.stack([chance.integers(0, size, N) for size in cardinalities], axis=1)
    x = (torch.tensor(chance.normal(size=(N, 3))).to(dtype), torch.tensor(codes))
    return Case(model, x, target("squared_error", N, 1).to(dtype), outputs=())


CASES: dict[str, Callable[[torch.dtype], Case]] = {
    "numbers": network,
    "several numbers": lambda dtype: network(dtype, outputs=3),
    "classes": lambda dtype: network(dtype, outputs=4, loss="log_loss"),
    "quantiles": lambda dtype: network(dtype, outputs=3, loss="quantile", loss_options={"levels": (0.1, 0.5, 0.9)}),
    "table": table,
}


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", CASES)
def test_picked_rows_have_the_bits_of_gathered_ones(kind: str, weighted: bool, dtype: torch.dtype) -> None:
    made = CASES[kind](dtype)
    made.optimizer, made.options, made.ema_decay = "adamw", {"learning_rate": 0.01}, 0.9
    made.w = torch.tensor(np.random.default_rng(3).uniform(0.1, 3, N)).to(dtype) if weighted else None
    for m, team in ((1, 1), (7, 1), (64, 1), (64, 2), (N - 1, 1)):
        made.m, made.steps = m, 12
        gathered = train(made, engine(made, fused=True, team=team), in_place=False)
        for ends in (ChunkEnds(), ChunkEnds(max_batches=1), ChunkEnds(max_rows=100)):
            picked = train(made, engine(made, fused=True, team=team), in_place=True, ends=ends)
            assert torch.equal(picked.numbers(), gathered.numbers())
            assert picked.losses == gathered.losses


def test_a_batch_of_several_blocks_is_picked_block_by_block() -> None:
    torch.manual_seed(0)
    chance = np.random.default_rng(1)
    x, y = torch.tensor(chance.normal(size=(3000, 40))), torch.tensor(chance.normal(size=3000))
    made = Case(nn.Sequential(nn.Linear(40, 200), nn.ReLU(), nn.Linear(200, 1)), x.float(), y.float(), m=2500, steps=4)
    made.options = {"learning_rate": 0.001}
    picked, gathered = (train(made, engine(made, fused=True), in_place=place) for place in (True, False))
    assert torch.equal(picked.numbers(), gathered.numbers())
    assert picked.losses == gathered.losses
