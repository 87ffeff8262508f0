"""Why a run ended: a reason whose value is the sentence shown, and the patience that waits for a better score."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import isnan
from typing import Any


class StopReason(Enum):
    """Every way in which training ends."""

    EPOCHS = "all planned epochs are done"
    STEPS = "all planned steps are done"
    TIME = "the time limit is reached"
    TARGET_LOSS = "the target loss is reached"
    NO_PROGRESS = "the validation score has stopped getting better"
    ASKED = "the callback asked for the end"
    MODELS = "all models are trained"
    INTERRUPTED = "interrupted; the weights stand on a step boundary"


@dataclass(frozen=True)
class Ending:
    """Why it ended, with the facts that belong to it."""

    reason: StopReason
    facts: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.reason.value


@dataclass(frozen=True)
class Best:
    """The best score so far, where it was, and how many looks have passed without a better one. Ties keep the later."""

    score: float | None = None
    steps_done: int = 0
    epoch: int = 0
    looks_since: int = 0

    def after(self, score: float, *, steps_done: int, epoch: int, greater_is_better: bool) -> Best:
        """The state after one more look; a score that is not a number is never better."""
        if isnan(score) or (self.score is not None and _is_worse(score, self.score, greater_is_better)):
            return Best(self.score, self.steps_done, self.epoch, self.looks_since + 1)
        return Best(score, steps_done, epoch, self.looks_since + 1 if score == self.score else 0)


def _is_worse(score: float, best: float, greater_is_better: bool) -> bool:
    return score < best if greater_is_better else score > best
