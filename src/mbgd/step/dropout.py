"""Let dropout draw from a generator of one training: torch's global one belongs to all threads of a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn


def plain_dropouts(model: nn.Module) -> list[nn.Dropout]:
    """Its layers that are torch's own `Dropout` and drop something."""
    return [
        module for module in model.modules() if isinstance(module, nn.Dropout) and is_plain(module) and module.p > 0
    ]


def is_plain(module: nn.Module) -> bool:
    return type(module) is nn.Dropout and "forward" not in vars(module)


@contextmanager
def drawing_from(generator: torch.Generator, layers: list[nn.Dropout]) -> Iterator[None]:
    """Inside, these layers draw from a generator of the CPU what they would from torch's global one in the same state."""
    for layer in layers:
        vars(layer)["forward"] = partial(_dropped, layer, generator)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


def _dropped(layer: nn.Dropout, generator: torch.Generator, x: Tensor) -> Tensor:
    """torch's `dropout` on the CPU, operation by operation: it takes no generator."""
    if not layer.training or layer.p == 0 or not x.numel():
        return x
    if layer.p == 1:
        kept = torch.zeros((), dtype=x.dtype)
    else:
        kept = torch.empty_like(x).bernoulli_(1 - layer.p, generator=generator).div_(1 - layer.p)
    return x.mul_(kept) if layer.inplace else x * kept
