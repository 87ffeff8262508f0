"""scikit-learn's SGDClassifier: logistic regression one row at a time, whatever the batch size of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import SGDClassifier

from peer import Job
from problems import LINEAR_RATES, Array


class SGDPeer:
    def __init__(self, job: Job) -> None:
        self.job, self.y = job, job.y.astype(np.int64)
        self.model = SGDClassifier(
            loss="log_loss",
            penalty=None,
            alpha=0.0,
            learning_rate="constant",
            eta0=LINEAR_RATES[1],
            tol=None,
            warm_start=True,
            random_state=0,
        )

    def train(self, n_rows: int, epochs: int) -> int:
        self.model.set_params(max_iter=epochs)
        self.model.fit(self.job.inputs[0][:n_rows], self.y[:n_rows])
        return n_rows * epochs

    def outputs(self, inputs: list[Array]) -> NDArray[np.float64]:
        return self.model.decision_function(inputs[0])

    def facts(self) -> dict[str, Any]:
        return {"batch_size": 1}


def make(job: Job) -> SGDPeer:
    return SGDPeer(job)
