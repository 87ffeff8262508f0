"""Turn a model's outputs into predictions in NumPy, by the name of its loss, and name that step for other programs.

O outputs of a row
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Word = Literal["as they are", "exp", "sigmoid", "softmax", "in order"]
CLASSES: frozenset[str] = frozenset({"log_loss", "hinge", "BCEWithLogitsLoss", "BCELoss"})
"""Losses whose one output says how likely class 1 is; with several outputs the first two are of classes as well."""
TEMPERATURES = (1 / 20, 20.0)
"""The coldest and the hottest that outputs are divided by; their inverses have the same bounds."""
_LABELS = frozenset({"log_loss", "hinge", "CrossEntropyLoss", "NLLLoss", "MultiMarginLoss"})
_SIGMOID = frozenset({"log_loss", "hinge", "BCEWithLogitsLoss", "MultiLabelSoftMarginLoss"})
_EXP = frozenset({"poisson", "gamma", "PoissonNLLLoss", "NLLLoss"})


def prediction_word(loss: str, *, several: bool, levels: tuple[float, ...] = ()) -> Word:
    """What the predictions of a loss are made of outputs by, by its name in the model file; others stand as they are.

    `several`: whether a row has several outputs. Those of quantile levels are put in order.
    """
    if levels:
        return "in order"
    if loss in _EXP:
        return "exp"
    if several and loss in _LABELS:
        return "softmax"
    return "sigmoid" if loss in _SIGMOID else "as they are"


def predicts_classes(loss: str, *, several: bool) -> bool:
    """Whether predictions are probabilities of classes, of class 1 where there is one output."""
    return loss in (_LABELS if several else CLASSES)


def _sigmoid(output_O: Array) -> Array:
    small_O = np.exp(-np.abs(output_O))  # at most 1: nothing overflows
    found: Array = np.where(output_O >= 0, 1.0, small_O) / (1.0 + small_O)
    return found


def _softmax(output_O: Array) -> Array:
    share_O = np.exp(output_O - output_O.max())
    found: Array = share_O / share_O.sum()
    return found


def _exp(output_O: Array) -> Array:
    with np.errstate(over="ignore"):
        found: Array = np.exp(output_O)
    return found


def _as_they_are(output_O: Array) -> Array:
    return output_O


def _in_order(output_O: Array) -> Array:
    return np.sort(output_O)


PREDICTIONS: dict[Word, Callable[[Any], Array]] = {
    "as they are": _as_they_are,
    "exp": _exp,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "in order": _in_order,
}
"""From the outputs of one row, float64 (O,), to its predictions, as many."""
