"""Batches for a model with BatchNorm, which needs two rows or more in each: how an epoch is cut, and what is refused."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mbgd.data.order import IntArray, Tail, batch_sizes
from mbgd.data.source import Source, call, first_row
from mbgd.desk.plan import Plan
from mbgd.errors import DataError, PlanError
from mbgd.step.evaluation import evaluating

_WHY = "whose statistics in training need two values a channel"
_ELSE = "or use GroupNorm or LayerNorm, which look at one row"


def has_batch_norm(model: nn.Module) -> bool:
    """Whether some BatchNorm will take batch statistics: a model in evaluation mode is trained in training mode."""
    return bool(_training(model))


def chosen_tail(plan: Plan, model: nn.Module, n_rows: int, batch_size: int) -> Tail:
    """`auto`: even sizes where BatchNorm would meet a single row in training, else a short last batch."""
    if plan.tail != "auto":
        return plan.tail
    return "even" if batch_size > 1 and n_rows % batch_size == 1 and has_batch_norm(model) else "short"


def check_batch_norm(
    model: nn.Module, plan: Plan, source: Source, *, n_rows: int, batch_size: int, tail: Tail, device: torch.device
) -> None:
    """Raises PlanError, or DataError where there is one row in all, for a BatchNorm that would meet one value a channel;
    PlanError for micro-batches, unless they are allowed."""
    if not has_batch_norm(model):
        return
    micro = plan.micro_batch
    if micro is not None and not plan.allow_batch_norm:
        raise PlanError(
            f"micro_batch must be None for a model with BatchNorm, got {micro}: statistics of a part of the batch "
            "are another model; use GroupNorm, or allow_batch_norm=True to take them so"
        )
    sizes = batch_sizes(n_rows, batch_size=batch_size, tail=tail)
    alone = 1 in sizes
    if not (alone or (micro is not None and 1 in _parts(sizes, micro))):
        return
    name = _of_one_value(model, source, device)
    if name is None:
        return
    if n_rows == 1:
        raise DataError(f"data must have at least 2 rows for {name}, {_WHY}, got 1; give more rows, {_ELSE}")
    if batch_size == 1:
        raise PlanError(f"batch_size must be at least 2 for {name}, {_WHY}, got 1; 32 is usual, {_ELSE}")
    if alone:
        raise PlanError(
            f"batch_size must leave no batch of one row for {name}, {_WHY}, got {n_rows:,} rows in batches of {batch_size} "
            f"and a last one of 1; give tail='drop', another batch_size, {_ELSE}"
        )
    raise PlanError(f"micro_batch must leave no part of one row for {name}, {_WHY}, got {micro}; give another, {_ELSE}")


def _training(model: nn.Module) -> dict[nn.Module, str]:
    """Every BatchNorm that takes statistics of a batch, with its name."""
    kinds = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return {m: f"{type(m).__name__} ({name})" for name, m in kinds if m.training or not model.training}


def _parts(sizes: IntArray, micro: int) -> set[int]:
    """How many rows the last part of each batch has, and of a whole part."""
    return {int(size) % micro or micro for size in set(sizes.tolist())} | {micro}


def _of_one_value(model: nn.Module, source: Source, device: torch.device) -> str | None:
    """The first BatchNorm to which one row brings one value a channel; images and sequences bring more."""
    found: list[str] = []

    def seen(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs[0].numel() == inputs[0].shape[1]:
            found.append(named[module])

    named = _training(model)
    hooks = [module.register_forward_pre_hook(seen) for module in named]
    try:
        with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
            call(model, first_row(source).map(lambda leaf: leaf.to(device)).x)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None
