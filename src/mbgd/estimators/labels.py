"""Targets as scikit-learn has them, made those of a loss; and predictions made labels or numbers again.

n rows · C classes · L labels a row, each 0 or 1 · T targets
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from mbgd.errors import DataError
from mbgd.estimators.arrays import Spread, spread, without_nothing

STANDARDISED = ("squared_error", "absolute_error", "huber", "quantile")
POSITIVE = ("poisson", "gamma")  # their mean is e to the output, times that of y
KINDS = ("binary", "multiclass", "multilabel-indicator")  # scikit-learn's words for what may be learned here
Kind = Literal["binary", "multiclass", "multilabel"]


@dataclass(frozen=True)
class Labels:
    """The classes of a target in rising order, or the label numbers of an indicator matrix (n, L)."""

    kind: Kind
    classes: NDArray[Any]

    @property
    def n_outputs(self) -> int:
        """Outputs of a network: one for two classes, else one a class or label."""
        return 1 if self.kind == "binary" else len(self.classes)

    def encode(self, y: Any, *, dtype: np.dtype[Any], among: str = "classes") -> NDArray[Any]:
        """0 and 1 as floats for two classes and for labels, class numbers for more. Raises DataError for another label."""
        if self.kind == "multilabel":
            return _indicator(y, len(self.classes)).astype(dtype)
        y = column_or_1d(y, warn=True)
        if self.kind == "binary":
            codes = y == self.classes[1]
            wrong = np.flatnonzero(~(codes | (y == self.classes[0])))
        else:
            codes = np.searchsorted(self.classes, y) if len(y) else np.zeros(0, dtype=np.int64)
            codes = np.minimum(codes, len(self.classes) - 1)
            wrong = np.flatnonzero(self.classes[codes] != y)
        if len(wrong):
            known = ", ".join(map(repr, self.classes[:8].tolist())) + (", ..." if len(self.classes) > 8 else "")
            raise DataError(
                f"y must hold labels of the {among} ({known}), got {y[wrong[:1]].tolist()[0]!r} in row {wrong[0]}; "
                "leave such rows out, or in partial_fit name all classes at the first call"
            )
        encoded: NDArray[Any] = codes.astype(dtype if self.kind == "binary" else np.int64)
        return encoded

    def decide(self, outputs: NDArray[np.float64]) -> NDArray[Any]:
        """Labels from outputs (n,) or (n, C), one for each row; of labels (n, L) those whose output is above 0."""
        if self.kind == "multilabel":
            return (outputs > 0).astype(np.int64)
        best = (outputs > 0).astype(np.int64) if self.kind == "binary" else outputs.argmax(axis=1)
        found: NDArray[Any] = self.classes[best]
        return found


def learn_labels(y: Any) -> Labels:
    """From a column of labels, or an indicator matrix of several labels a row. Raises ValueError for what is none."""
    numbers = isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "biu"
    if numbers and len(classes := np.unique(y)) <= len(y) // 2:  # scikit-learn would look through all of them once more
        return of_classes(classes)
    kind = type_of_target(y, input_name="y")
    if kind not in KINDS:
        check_classification_targets(y)  # says what is wrong with it
    if kind == "multilabel-indicator":
        return Labels("multilabel", np.arange(_indicator(y).shape[1]))
    if kind.endswith("multioutput"):
        raise DataError(
            "y must be one column of classes or an indicator matrix of 0 and 1, got several columns of classes; "
            "train a model for each"
        )
    return of_classes(np.unique(column_or_1d(y)))


def named_labels(classes: Any, y: Any) -> Labels:
    """From the `classes` of a first partial_fit: those of a column of labels, or the columns of an indicator matrix."""
    if np.ndim(y) != 2 or y.shape[1] == 1:
        return of_classes(classes)
    columns = np.arange(y.shape[1])
    if not np.array_equal(np.sort(np.asarray(classes), axis=None), columns):
        raise DataError(
            f"classes must be the numbers of the {len(columns)} columns of y where a row has several labels, got {classes!r}; "
            f"give classes=range({len(columns)})"
        )
    return Labels("multilabel", columns)


def of_classes(classes: Any) -> Labels:
    """From the classes themselves. Raises DataError for fewer than two."""
    known = np.unique(column_or_1d(classes))
    if len(known) < 2:
        raise DataError(
            f"y must hold at least two classes, got one class alone: {known.tolist()!r}; add rows of another"
        )
    return Labels("binary" if len(known) == 2 else "multiclass", known)


def _indicator(y: Any, n_labels: int | None = None) -> NDArray[Any]:
    array = np.asarray(y.toarray() if hasattr(y, "toarray") else y)
    if array.ndim != 2 or (n_labels is not None and array.shape[1] != n_labels):
        raise DataError(f"y must have a column for each of {n_labels} labels, got shape {array.shape}; as in training")
    return array


def in_own_words(metric: Any, target: Labels | Scale) -> Any:
    """The user's own metric over what a network learns, handed on as `predict` and y have it: labels, or numbers in their units."""

    def measured(y: Any, found: Any, **weight: Any) -> Any:
        if isinstance(target, Scale):
            return metric.function(target.restore(y), target.restore(found), **weight)
        if target.kind == "multilabel":
            return metric.function(y, found, **weight)
        labels = found if metric.of_probabilities else target.classes[found]
        return metric.function(target.classes[y], labels, **weight)

    return replace(metric, function=measured)


@dataclass(frozen=True)
class Scale:
    """Numbers centred and scaled as a network learns them: (y - center) / scale, by target; each () or (T,)."""

    center: NDArray[np.float64]
    scale: NDArray[np.float64]

    def standardise(self, y: NDArray[Any], *, dtype: np.dtype[Any]) -> NDArray[Any]:
        scaled: NDArray[Any] = ((y.astype(np.float64) - self.center) / self.scale).astype(dtype)
        return scaled

    def restore(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return outputs * self.scale + self.center


def learn_scale(y: NDArray[Any], *, weight: NDArray[np.float64] | None, loss: str | None) -> Scale:
    """By a loss of this name: weighted mean and standard deviation of each target; for poisson and gamma its mean alone,
    so that e^0 is right from the start; none for a loss of another name, or without one."""
    if loss in STANDARDISED:
        return Scale(*spread(y.astype(np.float64), weight))
    center, mean = np.zeros(y.shape[1:]), np.ones(y.shape[1:])
    if loss in POSITIVE:
        mean = np.asarray(np.average(y.astype(np.float64), axis=0, weights=weight))
        mean = mean if (np.asarray(y) >= 0).all() else np.ones_like(mean)  # refused as they are
    return Scale(center, np.where(mean > 0, mean, 1.0))


def scale_for(seen: Spread, *, shape: tuple[int, ...], loss: str | None) -> Scale:
    """`learn_scale` of the rows that targets were seen in, (T,), for targets of this shape."""
    center, scale = np.zeros(shape), np.ones(shape)
    if loss in STANDARDISED:
        center = seen.mean.reshape(shape)
        scale = without_nothing(center, seen.deviation.reshape(shape), np.dtype(np.float64))
    elif loss in POSITIVE:
        scale = np.where((seen.mean > 0) & (seen.low >= 0), seen.mean, 1.0).reshape(shape)
    return Scale(center, scale)
