"""A multilayer perceptron behind the center and scale of each column."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mbgd.model.body import at_least_one, body, start

# B rows · F columns


class ScaledMLP(nn.Module):
    """A multilayer perceptron over (x - center) / scale, cut off at `bound` to both sides.

    center, scale and bound (F,) are part of what is saved; they are set after it is made, and nothing trains them.
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int = 1,
        *,
        hidden_layer_sizes: Sequence[int] = (),
        activation: str = "relu",
        dropout: float = 0.0,
        seed: int | None = 0,
    ) -> None:
        super().__init__()
        self.n_inputs, self.n_outputs = at_least_one("n_inputs", n_inputs), n_outputs
        self.hidden_layer_sizes, self.activation = tuple(hidden_layer_sizes), activation
        self.dropout = dropout
        self.body = body(n_inputs, n_outputs, self.hidden_layer_sizes, activation=activation, dropout=dropout)
        start(self, seed)
        self.register_buffer("center", torch.zeros(n_inputs))
        self.register_buffer("scale", torch.ones(n_inputs))
        self.register_buffer("bound", torch.full((n_inputs,), torch.inf))

    def forward(self, x_BF: Tensor) -> Tensor:
        z_BF = (x_BF - self.center) / self.scale
        output: Tensor = self.body(z_BF.clamp(-self.bound, self.bound))
        return output.squeeze(1) if self.n_outputs == 1 else output

    center: Tensor
    scale: Tensor
    bound: Tensor
