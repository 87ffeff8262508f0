"""Law: a training in which BatchNorm would meet one value a channel is refused in a sentence, and no other is.

The oracle is torch: a forward pass in training mode over the batches cut by hand.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mbgd
from mbgd import DataError, PlanError
from mbgd.errors import MBGDError
from oracles import cut

CHANCE = torch.Generator().manual_seed(5)


def flat_model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


def long_model() -> nn.Module:
    """One row brings three values a channel."""
    return nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 1), nn.BatchNorm1d(2), nn.Flatten(), nn.Linear(6, 1))


def pooled_model() -> nn.Module:
    """The first BatchNorm meets three values a channel, the second one."""
    after = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.BatchNorm1d(2), nn.Flatten(), nn.Linear(2, 1))
    return nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 1), nn.BatchNorm1d(2), *after)


def frozen_model() -> nn.Module:
    model = flat_model()
    model[1].eval()  # type: ignore[index]
    return model


MODELS = {"flat": flat_model, "long": long_model, "pooled": pooled_model, "frozen": frozen_model}


def rows(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n, 3, generator=CHANCE), torch.randn(n, generator=CHANCE)


def torch_refuses(model: nn.Module, n: int, m: int, tail: str) -> bool:
    """What torch says of one forward pass a batch; `auto` is even where a short tail would be one row."""
    if tail == "auto":
        tail = (
            "even"
            if m > 1 and n % m == 1 and any(type(part) is nn.BatchNorm1d and part.training for part in model.modules())
            else "short"
        )
    x, _ = rows(n)
    try:
        for batch in cut(np.arange(n), min(m, n), tail):  # type: ignore[arg-type]
            model(x[batch])
    except ValueError as error:
        return "more than 1 value per channel" in str(error)
    return False


@pytest.mark.parametrize("tail", ["auto", "short", "even", "drop"])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 4), (2, 2), (3, 2), (9, 1), (9, 4), (9, 2), (10, 4), (9, 8), (10, 9)])
@pytest.mark.parametrize("name", MODELS)
def test_it_is_refused_where_torch_would_refuse(name: str, n: int, m: int, tail: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]()
    refused = torch_refuses(copy.deepcopy(model), n, m, tail)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    words: Any = {"loss": "squared_error", "learning_rate": 0.01, "epochs": 1, "batch_size": m, "tail": tail}
    if not refused:
        mbgd.fit(model, rows(n), **words)
        return
    with pytest.raises(
        (PlanError, DataError), match=r"BatchNorm1d \(\d\), whose statistics in training need two"
    ) as said:
        mbgd.fit(model, rows(n), **words)
    assert isinstance(said.value, DataError) == (n == 1)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())  # nor has it been touched


def test_every_door_says_it() -> None:
    x, y = rows(65)
    words: Any = {"loss": "squared_error", "learning_rate": 0.01, "epochs": 1}
    lazy = DataLoader(TensorDataset(x, y), batch_size=1)
    estimator = mbgd.MBGDEstimator(flat_model(), batch_size=1, **words)
    for door in (
        lambda: mbgd.fit(flat_model(), lazy, **words),
        lambda: next(mbgd.steps(flat_model(), (x, y), batch_size=1, **words)),
        lambda: estimator.fit(x.numpy(), y.numpy()),
        lambda: mbgd.MBGDEstimator(flat_model(), **words).partial_fit(x.numpy()[:1], y.numpy()[:1]),
        lambda: mbgd.fit(flat_model(), (x, y), batch_size=64, tail="short", **words),
        lambda: mbgd.fit(flat_model(), (x, y), batch_size=8, micro_batch=7, allow_batch_norm=True, **words),
    ):
        with pytest.raises(MBGDError, match="or use GroupNorm or LayerNorm, which look at one row"):
            door()  # type: ignore[no-untyped-call]
    run = mbgd.fit(flat_model(), (x, y), batch_size=64, tail="drop", **words)  # what the sentence recommends
    assert run.steps_done == 1
