"""Whether a model, loss or optimizer may draw from torch's global generator, which all threads of a process share."""

from __future__ import annotations

import torch
from torch import nn

from mbgd.step.dropout import is_plain
from mbgd.step.loss import Loss

_KNOWN, _OURS = "torch.nn.modules.", "mbgd.model."
_DRAW_ALWAYS = (nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def may_draw(
    model: nn.Module, loss: Loss, optimizer: torch.optim.Optimizer, *, plain_dropout_aside: bool = False
) -> bool:
    """False for what is known not to: layers of torch's and of MBGD's own without dropout, losses but functions of the user's
    own, torch's optimizers. Whatever else a user wrote may. `plain_dropout_aside`: torch's own `Dropout` is lent a generator
    (`step.dropout`)."""
    if loss.own or not type(optimizer).__module__.startswith("torch.optim."):
        return True
    return any(_may_draw(module, plain_dropout_aside) for module in model.modules())


def _may_draw(module: nn.Module, plain_dropout_aside: bool) -> bool:
    if any(getattr(module, hooks) for hooks in _HOOKS):
        return True
    if (plain_dropout_aside and is_plain(module)) or type(module).__module__.startswith(
        _OURS
    ):  # whose layers are torch's
        return False
    if not type(module).__module__.startswith(_KNOWN) or isinstance(module, _DRAW_ALWAYS):
        return True
    rates = (getattr(module, name, 0) for name in ("p", "dropout"))
    return any(isinstance(p, int | float) and p > 0 for p in rates)
