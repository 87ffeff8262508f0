"""scikit-learn's MLPClassifier: plain SGD with momentum, the same batches, no penalty, no early stop."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from peer import Job
from problems import Array


class MLPPeer:
    def __init__(self, job: Job) -> None:
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is to stop after the epochs asked for
        self.job, self.y = job, job.y.astype(np.int64)
        self.model = MLPClassifier(
            hidden_layer_sizes=job.problem.widths[1:-1],
            solver="sgd",
            alpha=0.0,
            batch_size=job.batch_size,
            learning_rate_init=job.rate,
            momentum=job.problem.momentum,
            nesterovs_momentum=False,
            n_iter_no_change=10**9,
            warm_start=True,
            random_state=0,
        )

    def train(self, n_rows: int, epochs: int) -> int:
        self.model.set_params(max_iter=epochs)
        self.model.fit(self.job.inputs[0][:n_rows], self.y[:n_rows])
        return n_rows * epochs

    def outputs(self, inputs: list[Array]) -> NDArray[np.float64]:
        logs = np.log(np.clip(self.model.predict_proba(inputs[0]).astype(np.float64), 1e-30, 1))
        return logs[:, 1] - logs[:, 0] if logs.shape[1] == 2 else logs

    def facts(self) -> dict[str, Any]:
        return {}


def make(job: Job) -> MLPPeer:
    return MLPPeer(job)
