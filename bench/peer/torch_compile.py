"""torch.compile: eight steps unrolled into one function, gradient and update included, with the C++ wrapper.

Rows are shuffled all at once before; what is left over of eight batches, and the short last batch, is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, grad

from peer import Job
from peer.modules import criterion, module, outputs_of, tensors
from problems import Array

UNROLLED = 8
State = tuple[dict[str, Tensor], dict[str, Tensor]]  # parameters, velocities


class CompiledPeer:
    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)
        self.job, self.model, self.criterion = job, module(job), criterion(job)
        first = {name: value.detach() for name, value in self.model.named_parameters()}
        self.state: State = (first, {name: torch.zeros_like(value) for name, value in first.items()})
        self.eight_steps = torch.compile(self.steps, fullgraph=True, dynamic=False, options={"cpp_wrapper": True})

    def train(self, n_rows: int, epochs: int) -> int:
        X, y = tensors(self.job, n_rows)
        rows = UNROLLED * self.job.batch_size
        calls = n_rows // rows
        for _ in range(epochs):
            order = torch.randperm(n_rows)[: calls * rows]
            for part_X, part_y in zip(X[order].split(rows), y[order].split(rows), strict=True):
                self.state = self.eight_steps(self.state, part_X, part_y)
        return calls * rows * epochs

    def steps(self, state: State, X: Tensor, y: Tensor) -> State:
        parameters, velocity = state
        for x_B, y_B in zip(X.chunk(UNROLLED), y.chunk(UNROLLED), strict=True):
            slope = grad(self.loss)(parameters, x_B, y_B)
            velocity = {name: self.job.problem.momentum * velocity[name] + slope[name] for name in slope}
            parameters = {name: parameters[name] - self.job.rate * velocity[name] for name in slope}
        return parameters, velocity

    def loss(self, parameters: dict[str, Tensor], x_B: Tensor, y_B: Tensor) -> Tensor:
        return self.criterion(functional_call(self.model, parameters, (x_B,)), y_B)

    def outputs(self, inputs: list[Array]) -> NDArray[np.float32]:
        self.model.load_state_dict(self.state[0])
        return outputs_of(self.model, inputs)

    def facts(self) -> dict[str, Any]:
        return {}


def make(job: Job) -> CompiledPeer:
    return CompiledPeer(job)
