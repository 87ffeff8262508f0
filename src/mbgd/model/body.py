"""The layers of a multilayer perceptron, with start values that are a function of a seed alone."""

from __future__ import annotations

import math
import os

import torch
from torch import Tensor, nn

from mbgd.errors import PlanError, did_you_mean
from mbgd.model.outline import MOST_UNITS
from mbgd.seeds import Purpose, counter

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}
EMBEDDING_SPREAD = 0.1
"""Standard deviation of embeddings at the start: small beside the numbers, which have spread 1."""


class Heads(nn.Module):
    """The last layer of M members, a product of its own for each: (M, B, in_features) in, (M, B, out_features) out."""

    def __init__(self, members: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.weight = nn.Parameter(torch.empty(members, out_features, in_features, device="meta"))
        self.bias = nn.Parameter(torch.empty(members, out_features, device="meta"))

    def forward(self, h_MBI: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[:, None], h_MBI, self.weight.mT)


def body(
    n_inputs: int,
    n_outputs: int,
    hidden_layer_sizes: tuple[int, ...],
    *,
    activation: str,
    dropout: float,
    members: int = 1,
) -> nn.Sequential:
    """Layers without memory yet: nothing is drawn from torch's own generator. Of several members the last is `Heads`."""
    if activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise PlanError(f"activation must be one of {known}, got {activation!r}{did_you_mean(activation, ACTIVATIONS)}")
    if not 0 <= dropout < 1:
        raise PlanError(f"dropout must be at least 0 and below 1, got {dropout}; 0.1 leaves out every tenth unit")
    layers: list[nn.Module] = []
    for size in hidden_layer_sizes:
        layers += [
            nn.Linear(n_inputs, at_least_one("hidden_layer_sizes", size), device="meta"),
            ACTIVATIONS[activation](),
        ]
        if dropout:
            layers.append(nn.Dropout(dropout))
        n_inputs = size
    n_outputs = at_least_one("n_outputs", n_outputs)
    if members > 1:
        return nn.Sequential(*layers, Heads(members, n_inputs, n_outputs))
    return nn.Sequential(*layers, nn.Linear(n_inputs, n_outputs, device="meta"))


def start(model: nn.Module, seed: int | None) -> None:
    """Start values, parameter by parameter in the order of `named_parameters`, from one generator on the CPU. Without a seed
    parameters stay shapes without memory.

    A layer of d inputs: weights and biases U(-1/sqrt(d), 1/sqrt(d)), torch's own rule; embeddings N(0, 0.1^2);
    embeddings of numbers 0, scales of inputs 1, those of several members N(0, 1).
    """
    if seed is None:
        return
    _give_memory(model, torch.get_default_device())
    if torch.get_default_device().type == "meta":
        return
    generator = torch.Generator().manual_seed(int(counter(seed, Purpose.INIT).random_raw()))
    bound = 0.0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
            if name == "scale" and parameter.ndim == 2:
                parameter.copy_(drawn.normal_(generator=generator))
                continue
            if name in ("number_embedding", "scale"):
                parameter.fill_(float(name == "scale"))
                continue
            if name.startswith("embeddings."):
                parameter.copy_(drawn.normal_(0.0, EMBEDDING_SPREAD, generator=generator))
                continue
            if name.endswith("weight"):
                bound = 1 / math.sqrt(parameter.shape[-1])  # a layer's bias follows its weight
            parameter.copy_(drawn.uniform_(-bound, bound, generator=generator))


def _give_memory(model: nn.Module, device: torch.device) -> None:
    """What `to_empty` does, without the half second in which it loads torch's symbolic shapes."""
    if device.type == "cpu":
        _check_room(model)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            module.register_parameter(
                name, nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype, device=device))
            )


def _check_room(model: nn.Module) -> None:
    """Raises PlanError for more parameters than the machine's memory holds: a system may promise more than it has."""
    n = sum(parameter.numel() for parameter in model.parameters())
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    if (has := memory_of_machine()) is not None and size > has:
        raise PlanError(
            f"model must fit in memory, got {n:,} parameters of {size / 1e9:,.0f} GB where there are {has / 1e9:,.0f} GB; "
            "give smaller hidden_layer_sizes"
        )


def memory_of_machine() -> int | None:
    """Bytes; None where the system does not say."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None


def at_least_one(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise PlanError(f"{name} must be a whole number of at least 1, got {value!r}; give a positive number")
    if value > MOST_UNITS:
        raise PlanError(f"{name} must be at most {MOST_UNITS:,}, got {value:,}; give a smaller one")
    return value
