"""Scores by a metric of the user's own, which takes the predictions and targets of all rows at once.

B rows of a chunk · N rows in all · C classes
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.data.source import leaves_of, mapped
from mbgd.errors import PlanError
from mbgd.measure.own_metric import OwnMetric
from mbgd.measure.threshold import Threshold

Array = NDArray[Any]


class OwnScorer:
    """A `Scorer` that calls the metric with y_true and y_pred, arrays (N,) or (N, T) as `predict` gives them: numbers, or class
    labels; (N,) probabilities of the second of two classes, or (N, C), where it is of probabilities. Of labels at positions all
    that count, one behind the other; of several labels a row 0 and 1, (N, L). Of a loss of the user's own the outputs and
    targets as they are, tuples and dicts as well. Rows of weight 0 are left out; other weights go to a metric that has
    sample_weight."""

    def __init__(
        self,
        own: OwnMetric,
        *,
        kind: str,
        classes: tuple[Any, ...] = (),
        threshold: Threshold | None = None,
        several_labels: bool = False,
    ) -> None:
        self._own, self._kind, self._classes, self._threshold = own, kind, classes, threshold
        self._several_labels = several_labels
        self._kept: list[tuple[Any, Any, Array]] = []

    def add(self, prediction: Any, y: Any, w: Any = None) -> None:
        w_B = np.ones(len(leaves_of(y)[0])) if w is None else np.asarray(w, np.float64)
        counts = w_B > 0
        self._kept.append(
            (*(mapped(part, lambda leaf: np.asarray(leaf)[counts]) for part in (prediction, y)), w_B[counts])
        )

    def result(self) -> dict[str, float]:
        own = self._own
        prediction, y, w_N = (_joined([part[i] for part in self._kept]) for i in range(3))
        if self._kind in ("binary", "multiclass"):
            prediction, y = self._labels(prediction, y)
        elif self._several_labels and bool(((y == 0) | (y == 1)).all()):
            y = y.astype(np.int64)
            prediction = prediction if own.of_probabilities else (prediction > 0.5).astype(np.int64)
        weighs = own.takes_weight and len(w_N) > 0 and bool((w_N != w_N[0]).any())
        try:
            value = own.function(y, prediction, **({"sample_weight": w_N} if weighs else {}))
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise PlanError(
                f"metric {own.name} must take the validation rows as (y_true, y_pred), got {type(error).__name__}: {why}"
            ) from error
        try:
            return {own.name: float(value)}
        except (TypeError, ValueError):
            raise PlanError(
                f"metric {own.name} must return a number, got {type(value).__name__}; average what it gives"
            ) from None

    def _labels(self, p: Array, y: Array) -> tuple[Array, Array]:
        """(what the metric takes for predictions, class labels)."""
        one = p.ndim == 1
        if not self._own.of_probabilities:
            p_NC = np.stack([1 - p, p], 1) if one else p
            found = p_NC.argmax(1) if self._threshold is None else self._threshold.found(p_NC)
            p = self._named(found)
        elif not one and p.shape[1] == 2:
            p = p[:, 1]
        whole = y.ndim == 1 and bool((y == np.round(y)).all())
        return p, self._named(y.astype(np.int64)) if whole else y

    def _named(self, codes: Array) -> Array:
        return np.array(self._classes)[codes] if self._classes else codes


def _joined(parts: list[Any]) -> Any:
    """The arrays of several chunks, one behind the other, in the structure of the first."""
    leaves = iter([np.concatenate(leaf) for leaf in zip(*(leaves_of(part) for part in parts), strict=True)])
    return mapped(parts[0], lambda _: next(leaves))
