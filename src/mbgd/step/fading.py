"""A step and how many are planned in, the share of its dropout or weight decay that is kept out; a model that keeps so much."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import cos, pi

import numpy as np
from numpy.typing import NDArray
from torch import nn


def fade(step: int, steps: int | None) -> float:
    """1 up to half of the planned steps, then down to 0 along half a cosine (Holzmueller et al. 2024, RealMLP's schedule
    `flat_cos`); 1 always where nothing is planned. `step` counts the updates before."""
    if steps is None or 2 * step <= steps:
        return 1.0
    return 0.5 * (1.0 + cos(pi * (2.0 * min(step / steps, 1.0) - 1.0)))


def fading(start: int, count: int, steps: int | None) -> NDArray[np.float64]:
    """`fade` of `count` steps from `start` on. It is called for steps that fade alone: with one row a batch, a call for
    each took three quarters of a linear model's time."""
    shares = np.ones(count)
    if steps is not None:
        for i in range(max(0, steps // 2 - start), count):
            shares[i] = fade(start + i, steps)
    return shares


@contextmanager
def faded(model: nn.Module, share: float) -> Iterator[None]:
    """Every dropout of the model at that share of its rate inside."""
    if share == 1.0:
        yield
        return
    layers = [m for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    rates = [layer.p for layer in layers]
    try:
        for layer, rate in zip(layers, rates, strict=True):
            layer.p = rate * share
        yield
    finally:
        for layer, rate in zip(layers, rates, strict=True):
            layer.p = rate
