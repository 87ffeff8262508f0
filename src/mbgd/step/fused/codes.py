"""The words of torch and of MBGD -> the words by which kernels go: activations and losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from mbgd.step.loss import Loss
from mbgd.step.targets import is_scalar


@dataclass(frozen=True)
class Named:
    """A kernel by name, and the slope, alpha, quantile or share that it takes."""

    name: str
    setting: float = 0.0


NONE = Named("none")
RELU = Named("relu")
ACTIVATIONS: dict[type[nn.Module], Callable[[Any], Named | None]] = {
    nn.ReLU: lambda _: RELU,
    nn.LeakyReLU: lambda layer: Named("leaky_relu", float(layer.negative_slope)),
    nn.ELU: lambda layer: Named("elu", float(layer.alpha)),
    nn.SELU: lambda _: Named("selu"),
    nn.GELU: lambda layer: {"none": Named("gelu"), "tanh": Named("gelu_tanh")}.get(layer.approximate),
    nn.SiLU: lambda _: Named("silu"),
    nn.Mish: lambda _: Named("mish"),
    nn.Tanh: lambda _: Named("tanh"),
    nn.Sigmoid: lambda _: Named("sigmoid"),
}
LOSSES = ("squared_error", "absolute_error", "huber", "quantile", "poisson", "gamma", "log_loss", "hinge")
OF_LABELS = ("log_loss", "hinge")


def loss_named(loss: Loss, output_shape: tuple[int, ...]) -> tuple[Named, bool] | None:
    """(the kernel, whether it takes labels), or None where none knows the loss."""
    if loss.known is None or loss.known.name not in LOSSES:
        return None
    by_label = not is_scalar(output_shape) and loss.known.name in OF_LABELS and loss.kind == "multiclass"
    return Named(loss.known.name, loss.known.setting), by_label
