"""A metric of the user's own: a function of (y_true, y_pred), and which way is better."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from mbgd.errors import PlanError

_BETTER = {"max": True, "min": False}
_BY_ENDING = {"_score": True, "_loss": False, "_error": False, "_deviance": False, "_distance": False}
_OF_PROBABILITIES = ("y_score", "y_proba", "y_prob")
_THOUGH_SAID_OTHERWISE = ("log_loss", "d2_log_loss_score")  # scikit-learn's, whose y_pred is probabilities


@dataclass(frozen=True)
class OwnMetric:
    """`function(y_true, y_pred)` gives a number; with `takes_weight` it has sample_weight, too."""

    function: Callable[..., Any]
    name: str
    greater_is_better: bool
    of_probabilities: bool = False
    takes_weight: bool = False

    @property
    def unwrapped(self) -> Any:
        """The function by which plan.json knows it."""
        return _inner(self.function)


def own_metric(given: Any) -> OwnMetric:
    """From a function, or (function, "max") or (function, "min"). Raises PlanError where nothing says which way is better.

    scikit-learn's words do: names that end with _score are better greater, with _error, _loss, _deviance or _distance smaller.
    A function whose second argument is y_score or y_proba gets probabilities.
    """
    if isinstance(given, OwnMetric):
        return given
    function, better = given if isinstance(given, tuple) else (given, None)
    inner = _inner(function)
    name = str(getattr(inner, "__name__", type(inner).__name__))
    arguments = _arguments(function)
    if hasattr(function, "_score_func"):
        raise PlanError(
            "metric must be a function of (y_true, y_pred), got a scorer of scikit-learn; give the function itself, with its "
            "settings by functools.partial: (partial(fbeta_score, beta=2), 'max')"
        )
    greater = _BETTER[better] if better else next((up for end, up in _BY_ENDING.items() if name.endswith(end)), None)
    if greater is None:
        raise PlanError(
            f"metric must say which way is better, got the function {name} alone; give (function, 'max') or (function, 'min')"
        )
    return OwnMetric(
        function,
        "own" if name == "<lambda>" else name,
        greater,
        of_probabilities=name in _THOUGH_SAID_OTHERWISE or any(word in _OF_PROBABILITIES for word in arguments[1:2]),
        takes_weight="sample_weight" in arguments,
    )


def _inner(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    return inspect.unwrap(function)


def _arguments(function: Any) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # of some compiled functions nothing is known
        return []


@dataclass(frozen=True)
class OwnBound:
    """A function, or one with which way is better."""

    demand: str = "a function f(y_true, y_pred), or (function, 'max') or (function, 'min')"

    def accepts(self, value: Any) -> bool:
        if isinstance(value, tuple):
            return len(value) == 2 and callable(value[0]) and value[1] in _BETTER
        return isinstance(value, OwnMetric) or (callable(value) and not isinstance(value, type))

    def plain(self, value: Any) -> OwnMetric:
        return own_metric(value)
