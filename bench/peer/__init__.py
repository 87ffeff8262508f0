"""Who trains: one file a peer, each with `make(job)`, a job in and a Peer out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from problems import Array, Problem


@dataclass(frozen=True)
class Job:
    """What to train on, in batches of how many rows, on how many threads."""

    problem: Problem
    batch_size: int
    threads: int
    inputs: list[Array]
    y: Array

    @property
    def rate(self) -> float:
        return self.problem.rates[self.batch_size]


class Peer(Protocol):
    def train(self, n_rows: int, epochs: int) -> int:
        """Go on training for some epochs over the first `n_rows` rows, in a new order each; rows done, in all."""

    def outputs(self, inputs: list[Array]) -> NDArray[Any] | None:
        """Logits or predictions of the model as it is now; None for what learns nothing."""

    def facts(self) -> dict[str, Any]:
        """What a reader of the numbers should know."""
