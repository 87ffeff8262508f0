"""torch's optimizer in, its settings tensor by tensor out, as the kernels of `updates` take them: or why they cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mbgd.step.rows import KINDS

STATES = {
    "sgd": (),
    "momentum": ("momentum_buffer",),
    "nesterov": ("momentum_buffer",),
    "adam": ("exp_avg", "exp_avg_sq"),
}


def no_form_of_optimizer(optimizer: torch.optim.Optimizer) -> str:
    """Why the kernels cannot make this optimizer's updates; empty where they can."""
    name = type(optimizer).__name__
    if type(optimizer) not in KINDS:
        return f"optimizer {name} has no fused form"
    wrapped = "step" in vars(optimizer) and not counts_for_a_scheduler(optimizer)
    if wrapped or optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return f"the step of optimizer {name} is wrapped or has hooks"
    for group in optimizer.param_groups:
        for word in ("dampening", "amsgrad", "maximize", "differentiable", "capturable"):
            if group.get(word):
                return f"optimizer {name} with {word}={group[word]} has no fused form"
        if any(isinstance(beta, Tensor) for beta in group.get("betas", ())):
            return f"optimizer {name} with a tensor among its betas has no fused form"
    return ""


def counts_for_a_scheduler(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its own step stands behind nothing but the note that torch's schedulers make: that it was called."""
    step: Any = optimizer.step
    if not hasattr(step, "_wrapped_by_lr_sched"):
        return False
    inner = getattr(step, "__wrapped__", None)
    return getattr(inner, "__func__", inner) is type(optimizer).step


def rule_of(group: Mapping[str, Any]) -> str:
    """Which kernel moves the tensors of a parameter group."""
    if "betas" in group:
        return "adam"
    if not group["momentum"]:
        return "sgd"
    return "nesterov" if group["nesterov"] else "momentum"


def settings_of(group: Mapping[str, Any], base_rate: float) -> list[float]:
    """(rate, decay, momentum or beta, beta 2, eps, 1 for decoupled decay)."""
    beta, beta_2 = group.get("betas", (group.get("momentum", 0.0), 0.0))
    decoupled = float(bool(group.get("decoupled_weight_decay")))
    return [
        base_rate,
        float(group["weight_decay"]),
        float(beta),
        float(beta_2),
        float(group.get("eps", 0.0)),
        decoupled,
    ]
