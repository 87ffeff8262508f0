"""Scales that move with the rows of `partial_fit`: those of all rows so far, and a network behind them.

Below `FEW` rows the scales say little, and so do the weights: these stay, as behind a StandardScaler whose partial_fit goes
along. From then on weights are put into the new units, so that predictions stay what they were.
F columns · T targets
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mbgd.data.sparse import is_sparse
from mbgd.estimators.arrays import Entries, Numbers, Spread, columns_of, mean_square, numbers_of, scale_of
from mbgd.estimators.labels import POSITIVE, Labels, Scale, scale_for

FEW = 1000  # rows
STILL = 1e-9  # of a spread: the same rows once more, summed in another order, move nothing
_POWERS = {"exp_avg": 1, "momentum_buffer": 1, "exp_avg_sq": 2, "max_exp_avg_sq": 2}  # in units of the gradient
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What all rows so far came to: of sparse ones the weighted mean square of their lengths stands for the columns."""

    rows: int
    columns: Spread | tuple[float, float] | None
    target: Spread | None

    def after(self, more: Seen) -> Seen:
        columns, target = more.columns, more.target
        if isinstance(self.columns, Spread) and isinstance(columns, Spread):
            columns = self.columns.after(columns)
        elif isinstance(self.columns, tuple) and isinstance(columns, tuple):
            total = self.columns[0] + columns[0]
            columns = total, self.columns[1] + columns[0] / total * (columns[1] - self.columns[1])
        if self.target is not None and target is not None:
            target = self.target.after(target)
        return Seen(self.rows + more.rows, columns, target)


def seen_in(rows: Any, y: Any, *, road: Any, target: Labels | Scale, weight: Array | None) -> Seen:
    """What these rows come to, for a network of that road and target."""
    if weight is not None and not weight.all():
        kept = weight > 0
        y, weight = np.asarray(y)[kept], weight[kept]
        rows = rows[kept] if isinstance(road, Numbers | Entries) else rows
    columns: Spread | tuple[float, float] | None = None
    if isinstance(road, Numbers) and len(y):
        columns = columns_of(rows.toarray() if is_sparse(rows) else rows, weight)
    elif isinstance(road, Entries) and len(y):
        columns = float(len(y) if weight is None else weight.sum()), mean_square(rows, weight)
    numbers = np.asarray(y, dtype=np.float64).reshape(len(y), -1) if isinstance(target, Scale) else np.zeros((0, 1))
    return Seen(len(y), columns, columns_of(numbers, weight) if len(numbers) else None)


def scaled_anew(network: Any, seen: Seen, *, before: Seen, loss: Any) -> Any:
    """The network with the scales of all rows `seen`; those that stand still stay, to the bit."""
    road, target, module = network.road, network.target, network.module
    keeps = before.rows >= FEW  # what it predicts
    if isinstance(road, Numbers) and isinstance(seen.columns, Spread):
        new = numbers_of(seen.columns, dtype=network.dtype, bounded=bool(np.isfinite(road.bound).any()))
        if _moved(road.center, road.scale, new.center, new.scale) or (new.bound > road.bound * (1 + STILL)).any():
            if keeps:
                optimizer = None if network.stand is None else network.stand.optimizer
                _new_inputs(module, (new.center - road.center) / road.scale, new.scale / road.scale, optimizer)
            road = new
    elif isinstance(road, Entries) and isinstance(seen.columns, tuple):
        scale = scale_of(seen.columns[1])
        if abs(scale - road.scale) > STILL * road.scale:
            if keeps:
                optimizer = None if network.stand is None else network.stand.optimizer
                _new_inputs(module, np.zeros(road.n_columns), np.full(road.n_columns, scale / road.scale), optimizer)
            road = replace(road, scale=scale)
    if isinstance(target, Scale) and seen.target is not None:
        scaled = scale_for(seen.target, shape=target.center.shape, loss=loss)
        if _moved(target.center, target.scale, scaled.center, scaled.scale):
            if keeps:
                _new_outputs(module, target, scaled, exponential=loss in POSITIVE)
            target = scaled
    return replace(network, road=road, target=target, seen=seen)


def _moved(center: Array, scale: Array, new_center: Array, new_scale: Array) -> bool:
    return bool((abs(new_center - center) > STILL * scale).any() or (abs(new_scale - scale) > STILL * scale).any())


@torch.no_grad()
def _new_inputs(module: nn.Module, shift: Array, ratio: Array, optimizer: torch.optim.Optimizer | None) -> None:
    """The first layer for z' where z = z' ratio + shift: W z + b = (W ratio) z' + (b + W shift)."""
    first = next(layer for layer in module.modules() if isinstance(layer, nn.Linear))
    bias, by = first.weight.double() @ torch.from_numpy(shift), torch.from_numpy(ratio)
    first.bias.add_(bias.to(first.bias.dtype))
    first.weight.mul_(by.to(first.weight.dtype))
    state: dict[str, Any] = {} if optimizer is None else optimizer.state.get(first.weight, {})
    for name, power in _POWERS.items():
        if isinstance(state.get(name), Tensor):
            state[name] /= (by**power).to(state[name].dtype)


@torch.no_grad()
def _new_outputs(module: nn.Module, old: Scale, new: Scale, *, exponential: bool) -> None:
    """The last layer for outputs o' with o' scale' + center' = o scale + center, or exp(o') scale' = exp(o) scale."""
    last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    ratio = torch.from_numpy(np.atleast_1d(old.scale / new.scale)).to(last.weight.dtype)
    if exponential:
        last.bias.add_(ratio.log())
        return
    shift = torch.from_numpy(np.atleast_1d((old.center - new.center) / new.scale))
    last.weight.mul_(ratio[:, None])
    last.bias.mul_(ratio).add_(shift.to(last.bias.dtype))
