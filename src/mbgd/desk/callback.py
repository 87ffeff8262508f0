"""The user's callback: called once an epoch with the scores so far, it returns True to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from mbgd.desk.train import Look
from mbgd.errors import PlanError
from mbgd.step.evaluation import evaluating

Callback = Callable[[Look], bool | None]


def check_callback(callback: Any) -> None:
    """Raises PlanError for what cannot be called."""
    if callback is not None and not callable(callback):
        raise PlanError(
            f"callback must be a function of what was seen in an epoch, got {type(callback).__name__}; "
            "it is called with a Look and returns True to stop"
        )


def asks_to_stop(callback: Callable[[Any], Any] | None, seen: Any) -> bool:
    """Call it, if there is one. Raises PlanError where it returns something else than a truth value or nothing."""
    found = None if callback is None else callback(seen)
    if found is None or isinstance(found, (bool, np.bool_)):
        return bool(found)
    raise PlanError(
        f"callback must return True to stop, or False or None to go on, got {type(found).__name__}; end it with 'return None'"
    )


def in_evaluation(callback: Callback | None, model: nn.Module) -> Callback | None:
    """The same with the model in evaluation mode meanwhile: it may predict, and training is not changed by that."""
    if callback is None:
        return None

    def called(look: Look) -> bool | None:
        with evaluating(model):
            return callback(look)

    return called
