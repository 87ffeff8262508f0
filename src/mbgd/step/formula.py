"""The formula of a loss for a model's output shape: one value a row, shape (B,).

B rows of a batch · C classes or outputs · * positions of a row
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mbgd.data.source import leaves_of, mapped
from mbgd.errors import DataError, PlanError
from mbgd.step.label_weights import LabelWeights
from mbgd.step.targets import Demand, is_scalar

Kind = Literal["regression", "quantiles", "binary", "multiclass", "custom"]
PerRow = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Known:
    """The arithmetic of a loss as data, for an engine that does it itself: its name here, and delta, quantile or
    smoothing (1 for absolute_error: the slope on both sides)."""

    name: str
    setting: float = 0.0
    levels: tuple[float, ...] = ()  # of loss quantile, where there is an output for each of several


@dataclass(frozen=True)
class Formula:
    """A loss before it meets a model. `elements` maps two equal shapes to that shape or to (B,), or for labels (B, C, *),
    (B, *) to (B, *); for quantiles (B, C), (B,) to (B, C)."""

    name: str
    kind: Kind
    demand: Demand
    elements: PerRow
    prediction: Callable[[Tensor], Tensor]
    summed: bool = False  # several elements of a row are added, not averaged
    label_weights: LabelWeights | None = None
    weighted: bool = False  # the elements hold the weights of classes already
    known: Known | None = None


def per_row(formula: Formula, output_shape: tuple[int, ...]) -> PerRow:
    """The formula as one loss a row, exactly (B,): shapes are compared before any arithmetic, so nothing broadcasts."""
    if formula.demand == "label":
        return _of_labels(formula, n_classes=output_shape[0], n_dimensions=len(output_shape) + 1)
    if formula.kind == "quantiles":
        return _of_levels(formula.elements, n_levels=output_shape[0])
    if is_scalar(output_shape):
        return _of_one_output(formula.elements)
    return _of_several_outputs(formula.elements, summed=formula.summed)


def one_output(output: Tensor) -> Tensor:
    """(B, 1) as (B,); every other shape as it is."""
    return output[:, 0] if output.ndim == 2 and output.shape[1] == 1 else output


def _of_one_output(elements: PerRow) -> PerRow:
    def loss(output: Tensor, y: Tensor) -> Tensor:
        output_B, y_B = one_output(output), one_output(y)
        if output_B.ndim != 1 or output_B.shape != y_B.shape:
            raise _mismatch(output, y)
        return elements(output_B, y_B if y_B.dtype == output_B.dtype else y_B.to(output_B.dtype))

    return loss


def _of_several_outputs(elements: PerRow, *, summed: bool) -> PerRow:
    def loss(output: Tensor, y: Tensor) -> Tensor:
        if output.shape != y.shape or output.ndim < 2:
            raise _mismatch(output, y)
        of_each = elements(output, y if y.dtype == output.dtype else y.to(output.dtype))
        if of_each.ndim == 1:
            return of_each
        of_each = of_each.flatten(1)
        return of_each.sum(1) if summed else of_each.mean(1)

    return loss


def _of_labels(formula: Formula, *, n_classes: int, n_dimensions: int) -> PerRow:
    """(B, C), (B,) to (B,); with positions (B, C, *), (B, *) their weighted mean within a row."""
    weights, weighted = formula.label_weights or LabelWeights(), formula.weighted

    def loss(output: Tensor, y: Tensor) -> Tensor:
        labels = one_output(y) if n_dimensions == 2 else y
        fits = output.ndim == n_dimensions and output.shape[1] == n_classes
        if not fits or labels.shape != (*output.shape[:1], *output.shape[2:]):
            raise _mismatch(output, y)
        if labels.dtype != torch.int64:
            if labels.is_floating_point():
                raise DataError(f"y must hold class labels as integers, got {y.dtype}; convert it with y.long()")
            labels = labels.to(torch.int64)
        each = formula.elements(output, labels)
        if n_dimensions == 2:
            return each / weights.each(labels, each.dtype) if weighted else each
        return weights.mean(each, labels, weighted=weighted)

    return loss


def _of_levels(elements: PerRow, *, n_levels: int) -> PerRow:
    def loss(output: Tensor, y: Tensor) -> Tensor:
        y_B = one_output(y)
        if output.ndim != 2 or output.shape[1] != n_levels or y_B.shape != output.shape[:1]:
            raise _mismatch(output, y)
        return elements(output, y_B if y_B.dtype == output.dtype else y_B.to(output.dtype)).mean(1)

    return loss


def own_loss(loss: PerRow) -> PerRow:
    """A user's callable, its value checked: (B,), or (B, 1) squeezed; nothing else. Outputs and y are whatever the model returns
    and the data holds, tuples and dicts as well."""

    def checked(output: Any, y: Any) -> Tensor:
        value = loss(output, y)
        if not isinstance(value, Tensor) or value.ndim == 0:
            raise PlanError(
                "loss must return one value a row, shape (B,), got a single number; leave out the mean, as with reduction='none'"
            )
        loss_B = one_output(value)
        n_rows = len(leaves_of(y)[0])
        if loss_B.shape != (n_rows,):
            outputs, targets = (mapped(part, lambda leaf: tuple(leaf.shape)) for part in (output, y))
            raise PlanError(
                f"loss must return one value a row, shape ({n_rows},), got {tuple(value.shape)} from outputs {outputs} "
                f"and y {targets}; average what belongs to a row, and compare equal shapes"
            )
        return loss_B

    return checked


def _mismatch(output: Tensor, y: Tensor) -> DataError:
    return DataError(
        f"outputs and y must have the same rows and fit each other, got outputs {tuple(output.shape)} and y {tuple(y.shape)}; "
        "only a trailing 1 is squeezed, nothing is broadcast"
    )
