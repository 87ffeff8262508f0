"""skorch's NeuralNet on the same module, loss and optimizer, without a validation split or printing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet

from peer import Job
from peer.modules import criterion, module, outputs_of
from problems import Array


class SkorchPeer:
    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)
        self.job = job
        self.net = NeuralNet(
            module(job),
            criterion(job),
            optimizer=torch.optim.SGD,
            lr=job.rate,
            optimizer__momentum=job.problem.momentum,
            batch_size=job.batch_size,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
        ).initialize()

    def train(self, n_rows: int, epochs: int) -> int:
        self.net.partial_fit(self.job.inputs[0][:n_rows], self.job.y[:n_rows], epochs=epochs)
        return n_rows * epochs

    def outputs(self, inputs: list[Array]) -> NDArray[np.float32]:
        return outputs_of(self.net.module_, inputs)

    def facts(self) -> dict[str, Any]:
        return {}


def make(job: Job) -> SkorchPeer:
    return SkorchPeer(job)
