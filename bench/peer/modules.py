"""A job in; the torch module, loss and optimizer that every peer on torch shares out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from peer import Job
from problems import Array

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


def module(job: Job) -> nn.Module:
    """Layers as anybody writes them: outputs (B, 1) or (B, C)."""
    torch.manual_seed(0)
    if job.problem.name == "table":
        from mbgd import TableModel

        numbers, codes = job.inputs
        return TableModel(numbers.shape[1], (codes.max(0) + 1).tolist())
    widths, layers = job.problem.widths, []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), ACTIVATIONS[job.problem.activation]()]
    layers.pop()
    return nn.Sequential(*layers)


class OfOneOutput(nn.Module):
    """A mean loss of outputs (B, 1) or (B,) against targets (B,)."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, output: Tensor, y_B: Tensor) -> Tensor:
        return self.loss(output.view(-1), y_B)


def criterion(job: Job) -> nn.Module:
    if job.problem.loss == "squared_error":
        return OfOneOutput(nn.MSELoss())
    return nn.CrossEntropyLoss() if job.problem.widths[-1] > 1 else OfOneOutput(nn.BCEWithLogitsLoss())


def optimizer(job: Job, model: nn.Module) -> torch.optim.Optimizer:
    if job.problem.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=job.rate)
    return torch.optim.SGD(model.parameters(), lr=job.rate, momentum=job.problem.momentum)


def tensors(job: Job, n_rows: int) -> tuple[Tensor, ...]:
    """The first rows of each input, then of the target."""
    return tuple(torch.from_numpy(array[:n_rows]) for array in (*job.inputs, job.y))


@torch.inference_mode()
def outputs_of(model: nn.Module, inputs: list[Array]) -> NDArray[np.float32]:
    return model(*map(torch.from_numpy, inputs)).numpy()


class TorchPeer:
    """A module and the epoch that trains it: `epoch(parts, model, optimizer)`, parts being inputs and target."""

    def __init__(self, job: Job, epoch: Callable[..., None]) -> None:
        torch.set_num_threads(job.threads)
        self.job, self.epoch = job, epoch
        self.model, self.criterion = module(job), criterion(job)
        self.optimizer = optimizer(job, self.model)

    def train(self, n_rows: int, epochs: int) -> int:
        parts = tensors(self.job, n_rows)
        for _ in range(epochs):
            self.epoch(self, parts)
        return n_rows * epochs

    def step(self, inputs: Any, y: Tensor) -> None:
        """Forward, loss, zero_grad, backward, step."""
        loss = self.criterion(self.model(*inputs), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def outputs(self, inputs: list[Array]) -> NDArray[np.float32]:
        return outputs_of(self.model, inputs)

    def facts(self) -> dict[str, Any]:
        return {"kernels": torch.backends.cpu.get_cpu_capability()}
