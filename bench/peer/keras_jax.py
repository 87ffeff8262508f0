"""Keras 3 on JAX: compiled, 32 steps a call."""

from __future__ import annotations

import os
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from numpy.typing import NDArray

from peer import Job
from problems import Array


class KerasPeer:
    def __init__(self, job: Job) -> None:
        keras.utils.set_random_seed(0)
        self.job = job
        *hidden, last = job.problem.widths[1:]
        layers = [keras.layers.Dense(width, activation=job.problem.activation) for width in hidden]
        self.model = keras.Sequential([keras.Input((job.problem.widths[0],)), *layers, keras.layers.Dense(last)])
        losses = keras.losses.SparseCategoricalCrossentropy, keras.losses.BinaryCrossentropy
        self.model.compile(
            optimizer=keras.optimizers.SGD(job.rate, momentum=job.problem.momentum),
            loss=losses[last == 1](from_logits=True),
            jit_compile=True,
            steps_per_execution=32,
        )

    def train(self, n_rows: int, epochs: int) -> int:
        X, y = self.job.inputs[0][:n_rows], self.job.y[:n_rows]
        self.model.fit(X, y, batch_size=self.job.batch_size, epochs=epochs, shuffle=True, verbose=0)
        return n_rows * epochs

    def outputs(self, inputs: list[Array]) -> NDArray[np.float32]:
        return np.asarray(self.model(inputs[0])).squeeze()

    def facts(self) -> dict[str, Any]:
        return {"backend": keras.backend.backend()}


def make(job: Job) -> KerasPeer:
    return KerasPeer(job)
