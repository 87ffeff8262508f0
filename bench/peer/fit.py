"""MBGD as users call it: one whole `mbgd.fit`, with its shuffle, finite check and history."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mbgd
from peer import Job
from peer.modules import module, outputs_of, tensors
from problems import Array


class FitPeer:
    def __init__(self, job: Job, **knobs: Any) -> None:
        self.job, self.knobs = job, knobs
        self.model, self.calls = module(job), 0
        self.run: mbgd.Run | None = None

    def train(self, n_rows: int, epochs: int) -> int:
        *inputs, y = tensors(self.job, n_rows)
        problem = self.job.problem
        momentum = {"momentum": problem.momentum} if problem.optimizer == "sgd" else {}
        self.run = mbgd.fit(
            self.model,
            (tuple(inputs) if len(inputs) > 1 else inputs[0], y),
            loss=problem.loss,
            optimizer=problem.optimizer,
            learning_rate=self.job.rate,
            batch_size=self.job.batch_size,
            epochs=epochs,
            threads=1 if self.job.threads == 1 else None,  # on every core the rule of `fit` chooses
            seed=self.calls,
            **momentum,
            **self.knobs,
        )
        self.calls += 1
        return n_rows * epochs

    def outputs(self, inputs: list[Array]) -> NDArray[np.float32]:
        return outputs_of(self.model, inputs)

    def facts(self) -> dict[str, Any]:
        """The engine, and what a fit costs beside its steps: the milliseconds of one that has a single batch."""
        assert self.run is not None
        found = self.run.resolved
        costs = sorted(self.seconds_of_one_batch() for _ in range(5))
        engine = {name: found[name] for name in ("engine", "engine_reason", "threads") if name in found}
        return {**engine, "milliseconds_of_a_fit_of_one_batch": round(1e3 * median(costs), 3)}

    def seconds_of_one_batch(self) -> float:
        start = time.perf_counter()
        self.train(self.job.batch_size, 1)
        return time.perf_counter() - start


def make(job: Job) -> FitPeer:
    return FitPeer(job)
