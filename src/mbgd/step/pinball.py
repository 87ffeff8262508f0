"""Levels in, the formula of a loss with one output for the quantile of each out: one network, several quantiles.

B rows of a batch · Q levels
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from mbgd.errors import PlanError
from mbgd.step.formula import Formula, Known


def pinball(spec: Any, *, output_shape: tuple[int, ...], levels: tuple[float, ...]) -> Formula:
    """The mean over levels t of t (y - o) above the output and (1 - t) (o - y) below (Koenker and Bassett 1978).

    Its predictions are the outputs of a row in rising order (Chernozhukov, Fernandez-Val and Galichon 2010): they never
    cross, and are never further from the quantiles than the outputs were. Trained are the outputs as they come.
    """
    if spec != "quantile":
        raise PlanError(f"levels belong to loss='quantile', got loss={spec!r}; leave the loss out")
    if output_shape != (len(levels),):
        raise PlanError(
            f"loss='quantile' must have one output a level, {len(levels)}, got outputs of shape {('B', *output_shape)}; "
            "give the last layer as many"
        )
    known = Known("quantile", 0.0, levels)
    return Formula("quantile", "quantiles", "real", partial(_elements, levels=levels), _in_order, known=known)


def _elements(output_BQ: Tensor, y_B: Tensor, *, levels: tuple[float, ...]) -> Tensor:
    above_BQ, level_Q = y_B[:, None] - output_BQ, output_BQ.new_tensor(levels)
    return torch.maximum(level_Q * above_BQ, (level_Q - 1) * above_BQ)


def _in_order(output_BQ: Tensor) -> Tensor:
    return output_BQ.sort(dim=1).values
