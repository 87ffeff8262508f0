"""Why a run ended: a reason whose value is the sentence shown, and the patience that waits for a better score."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from math import inf, isnan
from typing import Any


class StopReason(Enum):
    """Every way in which training ends."""

    EPOCHS = "all planned epochs are done"
    STEPS = "all planned steps are done"
    ROWS = "the iterable dataset has no more rows"
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
    to_beat: float | None = None  # the last score that was better by more than `min_delta`

    def after(
        self, score: float, *, steps_done: int, epoch: int, greater_is_better: bool, min_delta: float = 0.0
    ) -> Best:
        """The state after one more look; a score that is not a number is never better. Whatever is better is the best; but only
        what is so by more than `min_delta` ends the wait, so that small gains count once they add up to that."""
        beaten = self.score if self.to_beat is None else self.to_beat
        if isnan(score):
            return replace(self, looks_since=self.looks_since + 1)
        gain = inf if beaten is None else (score - beaten if greater_is_better else beaten - score)
        waited = (0, score) if gain > min_delta else (self.looks_since + 1, beaten)
        if self.score is not None and _is_worse(score, self.score, greater_is_better):
            return Best(self.score, self.steps_done, self.epoch, *waited)
        return Best(score, steps_done, epoch, *waited)


def _is_worse(score: float, best: float, greater_is_better: bool) -> bool:
    return score < best if greater_is_better else score > best
