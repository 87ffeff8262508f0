"""A problem's name in, its arrays and how they are to be learnt out: the same for every peer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# n rows · F columns · C classes
Array = NDArray[np.float32] | NDArray[np.int64]
NARROW = 28
SGD_RATES = {1: 0.0005, 8: 0.004, 32: 0.01, 256: 0.05, 2048: 0.1}  # beside a momentum of 0.9
LINEAR_RATES = {1: 0.005, 8: 0.02, 32: 0.05, 256: 0.2, 2048: 0.5}  # without momentum, which SGDClassifier lacks
FLIGHTS = Path(__file__).parents[1] / "examples" / "flights.parquet"
ROWS_SCORED = 4_096


@dataclass(frozen=True)
class Problem:
    """`widths` from inputs to outputs; one output is logistic, several are classes. `loss_below`: learnt, if under it."""

    name: str
    n_rows: int
    widths: tuple[int, ...]
    loss_below: float
    rates: Mapping[int, float]
    activation: str = "relu"
    momentum: float = 0.9
    optimizer: str = "sgd"
    loss: str = "log_loss"
    note: str = field(default="", compare=False)

    @property
    def title(self) -> str:
        kind = "" if self.activation == "relu" or len(self.widths) == 2 else f", {self.activation}"
        return f"{self.name}: {'-'.join(map(str, self.widths))}{kind}, {self.n_rows:,} rows{self.note}"


def _network(name: str, activation: str = "relu", *, hidden: int = 128) -> Problem:
    return Problem(name, 200_000, (NARROW, hidden, hidden, 1), 0.45, SGD_RATES, activation=activation)


PROBLEMS = {
    problem.name: problem
    for problem in (
        _network("reference"),
        Problem("logistic", 1_000_000, (NARROW, 1), 0.45, LINEAR_RATES, momentum=0.0),
        Problem("digits", 60_000, (784, 256, 10), 1.0, SGD_RATES),
        _network("gelu", "gelu"),
        _network("silu", "silu"),
        _network("tanh", "tanh"),
        _network("wide", hidden=1024),
        Problem(
            "table",
            327_346,
            (48, 256, 256, 1),
            0.5,
            {32: 5e-4, 256: 2e-3},
            optimizer="adamw",
            loss="squared_error",
            note=", numbers and categories of the flights, AdamW",
        ),
    )
}


def arrays(problem: Problem) -> tuple[list[Array], Array]:
    """Inputs (n, F) each, and targets (n,): 0 and 1, classes, or numbers of spread 1. Bits follow from a fixed seed."""
    if problem.name == "table":
        return flights()
    chance = np.random.default_rng(0)
    X = chance.standard_normal((problem.n_rows, problem.widths[0]), dtype=np.float32)
    if problem.widths[-1] > 1:
        y = chance.integers(problem.widths[-1], size=problem.n_rows)
        X += 0.1 * chance.standard_normal((problem.widths[-1], problem.widths[0]), dtype=np.float32)[y]
        return [X], y
    score = X[:, :4] @ np.array([3, -2, 2, 1], np.float32) + (X[:, 4] * X[:, 5] if len(problem.widths) > 2 else 0)
    return [X], (chance.random(problem.n_rows) < 1 / (1 + np.exp(-score))).astype(np.float32)


def flights() -> tuple[list[Array], Array]:
    """The flights as the table model sees them: numbers, category codes, and delays of mean 0 and spread 1."""
    import pyarrow.parquet as pq

    from mbgd.data.encode.encoder import learn_encoder
    from mbgd.data.table import open_table

    table = open_table(FLIGHTS)
    delays = pq.read_table(FLIGHTS, columns=["arr_delay"])["arr_delay"].to_numpy()
    known = np.flatnonzero(~np.isnan(delays))
    encoded = learn_encoder(table, training_rows=known, drop=("arr_delay",)).encode(table)
    delays = delays[known]
    y = ((delays - delays.mean()) / delays.std()).astype(np.float32)
    return [np.ascontiguousarray(part[known]) for part in (encoded.numbers, encoded.codes)], y


def loss_of(problem: Problem, outputs: NDArray[np.floating], y: Array) -> float:
    """Mean loss of logits (n,) or (n, C), or of predictions (n,), in float64."""
    z = outputs.astype(np.float64).reshape(len(y), -1)
    if problem.loss == "squared_error":
        return float(np.mean((z[:, 0] - y) ** 2))
    if z.shape[1] == 1:
        return float(np.mean(np.logaddexp(0, z[:, 0]) - z[:, 0] * y))
    z -= z.max(1, keepdims=True)
    return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]))
