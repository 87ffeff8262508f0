"""A module in, each tensor's own share of learning rate and decay out: what makes wide and narrow layers learn alike.

RealMLP (Holzmueller et al. 2024) writes a layer of d inputs as h = u W / sqrt(d) + b. Under Adam that is a plain layer
whose weights have the rate eta / sqrt(d), eps sqrt(d) and the decay lambda sqrt(d): with W' = g W, g = d^-1/2, the gradient
of W is g times that of W', and so is Adam's step, which does not see the size of a gradient beside eps.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from torch import nn

from mbgd.model.body import Heads
from mbgd.model.table import TableModel

EPS = 1e-8
BIAS, NUMBER_EMBEDDING, SCALE = 0.1, 0.1, 6.0  # of the rate


class Factors(NamedTuple):
    """A tensor's share of the learning rate, of the decay and of Adam's eps."""

    rate: float
    decay: float = 1.0
    eps: float = 1.0


def parameter_groups(model: nn.Module, *, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for torch.optim.AdamW over the parameters that require a gradient: `params`, `lr`, `eps`, `weight_decay`.

    Weights of a Linear of d inputs: 1/sqrt(d) of the rate. Biases: 0.1 and no decay. Of a TableModel the embeddings of
    numbers: 0.1; the scales of the inputs: 6. All others: 1.
    """
    groups: dict[Factors, list[nn.Parameter]] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                groups.setdefault(_factors(module, name), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * factors.rate,
            "eps": EPS * factors.eps,
            "weight_decay": weight_decay * factors.decay,
        }
        for factors, parameters in groups.items()
    ]


def _factors(module: nn.Module, name: str) -> Factors:
    if name == "bias":
        return Factors(BIAS, decay=0.0)
    if isinstance(module, nn.Linear | Heads):
        root = math.sqrt(module.in_features)
        return Factors(1 / root, decay=root, eps=root)
    own = {"number_embedding": NUMBER_EMBEDDING, "scale": SCALE} if isinstance(module, TableModel) else {}
    return Factors(own.get(name, 1.0))
