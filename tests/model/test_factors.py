"""Each tensor's share of rate and decay: a loop over layers that divide by sqrt(d), and the groups somebody would write."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mbgd.model.factors import parameter_groups
from mbgd.model.table import TableModel
from mbgd.step.update import make_optimizer


class Divided(nn.Module):
    """h = u W / sqrt(d) + b, as RealMLP writes a layer."""

    def __init__(self, like: nn.Linear) -> None:
        super().__init__()
        self.root = math.sqrt(like.in_features)
        self.weight = nn.Parameter(like.weight.detach() * self.root)
        self.bias = nn.Parameter(like.bias.detach().clone())

    def forward(self, u: Tensor) -> Tensor:
        return u @ self.weight.T / self.root + self.bias


def test_a_plain_layer_with_its_share_learns_as_one_that_divides_by_the_root_of_its_width() -> None:
    """Adam with decay, 60 steps, to 1e-10 in float64."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(7, 50), nn.ReLU(), nn.Linear(50, 1)).double()
    divided = nn.Sequential(Divided(plain[0]), nn.ReLU(), Divided(plain[2]))  # type: ignore[arg-type]
    x, y = torch.randn(60, 7).double(), torch.randn(60, 1).double()
    ours = make_optimizer("tabular", plain, learning_rate=0.03, weight_decay=0.02)
    weights, biases = ([p for n, p in divided.named_parameters() if n.endswith(kind)] for kind in ("weight", "bias"))
    groups = [{"params": weights, "weight_decay": 0.02}, {"params": biases, "lr": 0.003, "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=0.03, betas=(0.9, 0.95), eps=1e-8)
    for step in range(60):
        for model, optimizer in ((plain, ours), (divided, theirs)):
            optimizer.zero_grad()
            ((model(x[step : step + 9]) - y[step : step + 9]) ** 2).mean().backward()
            optimizer.step()
    assert torch.allclose(plain(x), divided(x), rtol=0, atol=1e-10)


def test_a_table_model_has_a_group_for_each_kind_of_tensor() -> None:
    model = TableModel(2, (3, 20), 1, hidden_layer_sizes=(16,), edges=((0.0, 1.0, 2.0), ()), scaled=True)
    found = {}
    for group in parameter_groups(model, learning_rate=0.2, weight_decay=0.01):
        for parameter in group["params"]:
            name = next(n for n, p in model.named_parameters() if p is parameter)
            found[name] = (round(group["lr"], 9), round(group["weight_decay"], 9))
    width = model.width
    assert found == {
        "embeddings.0": (0.2, 0.01),
        "number_embedding": (0.02, 0.01),
        "scale": (1.2, 0.01),
        "body.0.weight": (round(0.2 / math.sqrt(width), 9), round(0.01 * math.sqrt(width), 9)),
        "body.0.bias": (0.02, 0.0),
        "body.2.weight": (0.05, 0.04),
        "body.2.bias": (0.02, 0.0),
    }


@pytest.mark.parametrize("frozen", ["scale", "body.0.weight"])
def test_what_is_frozen_is_in_no_group(frozen: str) -> None:
    model = TableModel(2, hidden_layer_sizes=(4,), scaled=True)
    dict(model.named_parameters())[frozen].requires_grad_(False)
    held = [id(p) for group in parameter_groups(model, learning_rate=0.1, weight_decay=0.0) for p in group["params"]]
    assert len(held) == len(list(model.parameters())) - 1
    assert id(dict(model.named_parameters())[frozen]) not in held
