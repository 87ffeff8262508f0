"""The target, checked once and in the shape and dtype that a loss wants; errors name the row.

n rows · C classes · * positions of a row
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mbgd.data.source import mapped, named_tensors
from mbgd.errors import DataError
from mbgd.step.label_weights import LabelWeights

Demand = Literal["real", "at least 0", "above 0", "share", "binary", "label", "distribution", "any"]
"""What a loss asks of y: a number, one bounded below, 0 to 1, 0 or 1, a class number, a probability of each class, or what the
user's own loss takes."""
ADD_UP_WITHIN = 1e-3  # probabilities of a row, which may come in half precision


Shape = Any
"""What one row of outputs has: (), (1,) or (C, *) of a tensor; a tuple or dict of such where a model returns one."""


@dataclass(frozen=True)
class Wanted:
    """The y that a loss can take from a model of this output shape."""

    loss: str
    demand: Demand
    output_shape: Shape
    dtype: torch.dtype
    weights: LabelWeights | None = None
    varying: bool = False  # each batch has a shape of its own


def is_scalar(output_shape: Shape) -> bool:
    """One output a row, with or without a trailing 1."""
    return output_shape in ((), (1,))


def is_one(output_shape: Shape) -> bool:
    """Whether a model returns one tensor, and no tuple or dict of them."""
    return isinstance(output_shape, tuple) and all(isinstance(size, int) for size in output_shape)


def shape_from_json(said: Any) -> Shape:
    """A shape as it was before JSON made lists of its tuples."""
    if isinstance(said, Mapping):
        return {name: shape_from_json(part) for name, part in said.items()}
    return tuple(shape_from_json(part) for part in said) if isinstance(said, (list, tuple)) else said


def prepare(y: Any, wanted: Wanted) -> Any:
    """y in the shape and dtype of `wanted`, every value allowed; raises DataError with the first row that is not.

    Shapes: (n,) for one output or for labels, a trailing 1 squeezed, (n, *) for labels of positions; otherwise that of the
    outputs. Whole numbers in a float column are taken as labels.
    """
    if wanted.demand == "any":
        names = iter([name for name, _ in named_tensors(y, "y")])
        return mapped(
            y, lambda leaf: _not_nan(leaf if leaf.dtype != torch.float64 else leaf.to(wanted.dtype), leaf, next(names))
        )
    if not isinstance(y, Tensor):
        raise DataError(
            f"y must be one array for loss={wanted.loss!r}, got {kind_of(y)}; a function loss(outputs, y) of one value a row "
            "takes several targets"
        )
    y = _shaped(y, wanted)
    if wanted.demand == "label":
        return _labels(y, wanted)
    numbers = y.to(wanted.dtype)
    _finite(numbers, y)
    _bounded(numbers, y, wanted)
    return numbers


def kind_of(held: Any) -> str:
    """A tuple, list or dict of several in a message."""
    names = f" ({', '.join(map(repr, held))})" if isinstance(held, Mapping) else ""
    return f"a {type(held).__name__} of {len(held)}{names}"


def are_shares(y: Any, output_shape: Shape) -> bool:
    """Whether y holds a number for each class of outputs (n, C, *), as class probabilities do."""
    return (
        isinstance(y, Tensor)
        and y.is_floating_point()
        and tuple(y.shape[1:]) == output_shape
        and not is_scalar(output_shape)
    )


def _shaped(y: Tensor, wanted: Wanted) -> Tensor:
    labels = wanted.demand == "label"
    inner = wanted.output_shape[1:] if labels else () if is_scalar(wanted.output_shape) else wanted.output_shape
    one_a_row = inner == ()
    if one_a_row and y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    fits = y.ndim == 1 + len(inner) if wanted.varying else y.ndim > 0 and tuple(y.shape[1:]) == inner
    if not fits:
        raise DataError(
            f"y must have shape {_shape(inner)} for loss={wanted.loss!r} and outputs of shape {_shape(wanted.output_shape)}, "
            f"got {_shape(tuple(y.shape[1:]))}; {_reshape_hint(y, wanted)}"
        )
    return y


def _reshape_hint(y: Tensor, wanted: Wanted) -> str:
    inner, outputs = tuple(y.shape[1:]), wanted.output_shape
    if inner == (1, *(outputs[1:] if wanted.demand == "label" else outputs)):
        return "pass y.squeeze(1)"
    if (1, *inner) == outputs and y.ndim > 1 and wanted.demand != "label":
        return "pass y.unsqueeze(1)"
    if wanted.demand == "label" and inner == outputs:
        return "for one-hot rows pass y.argmax(1)" + (", or y.float() as probabilities" if wanted.weights else "")
    if wanted.demand == "label":
        return "give one label for each position of the outputs"
    if y.ndim == 1:
        return "the model must give one output a row"
    return "give the last layer as many outputs as y has columns"


def _shape(inner: tuple[int, ...]) -> str:
    return "(" + ", ".join(["n", *map(str, inner)]) + ("," if not inner else "") + ")"


def _labels(y: Tensor, wanted: Wanted) -> Tensor:
    n_classes, weights = wanted.output_shape[0], wanted.weights or LabelWeights()
    if y.is_floating_point():
        _finite(y, y)
        _refuse(y != y.round(), y, "must hold whole class labels", "make it integers, or use a regression loss")
    one_a_row = len(wanted.output_shape) == 1
    labels = y.to(torch.int64) if one_a_row or y.is_floating_point() or y.dtype == torch.bool else y
    last = n_classes - 1
    if labels.numel():
        lowest, highest = (int(end) for end in torch.aminmax(labels))
        if lowest < 0 or highest > last:
            wrong, ignored = (labels < 0) | (labels > last), weights.ignored(labels) if wanted.weights else None
            _refuse(
                wrong if ignored is None else wrong & ~ignored,
                y,
                f"must hold class labels 0 to {last} for a model with {n_classes} outputs",
                "number the classes from 0, or give the last layer one output a class"
                + (", or an ignore_index to the loss" if wanted.weights else ""),
            )
    return labels


def _finite(numbers: Tensor, y: Tensor) -> None:
    # One sum tells whether all are finite, at the speed of memory; it may overflow, so what it says is checked again.
    if not bool(torch.isfinite(numbers.sum())):
        name = str(numbers.dtype).removeprefix("torch.")
        _refuse(~torch.isfinite(numbers), y, f"must be finite in {name}", "leave that row out or mend it")


def _not_nan(prepared: Tensor, y: Tensor, name: str) -> Tensor:
    if prepared.is_floating_point():
        _refuse(torch.isnan(prepared), y, "must not be missing", "leave that row out or mend it", name=name)
    return prepared


def _bounded(numbers: Tensor, y: Tensor, wanted: Wanted) -> None:
    if wanted.demand == "real" or not numbers.numel():
        return
    # both ends at the speed of memory; the row at fault is looked for only where there is one
    lowest, highest = (float(end) for end in torch.aminmax(numbers))
    loss = f"for loss={wanted.loss!r}"
    if wanted.demand == "at least 0" and lowest < 0:
        _refuse(numbers < 0, y, f"must be at least 0 {loss}", "use loss='squared_error' for values of both signs")
    elif wanted.demand == "above 0" and lowest <= 0:
        _refuse(
            numbers <= 0,
            y,
            f"must be above 0 {loss}",
            "use loss='poisson' where 0 occurs, 'squared_error' for both signs",
        )
    elif wanted.demand == "distribution":
        total = numbers.sum(1)
        _refuse(
            (numbers < 0) | (numbers > 1 + ADD_UP_WITHIN), y, f"must hold probabilities {loss}", "labels are integers"
        )
        bad = ((total - 1).abs() > ADD_UP_WITHIN).unsqueeze(1).expand_as(numbers)
        _refuse(bad, y, f"must hold probabilities that add up to 1 over the classes {loss}", _SEVERAL)
    elif wanted.demand == "share" and (lowest < 0 or highest > 1):
        bad = (numbers < 0) | (numbers > 1)
        _refuse(bad, y, f"must be 0 or 1, or a probability between, {loss} with one output", _label_hint(numbers))
    elif wanted.demand == "binary":
        bad = (numbers != 0) & (numbers != 1)
        if bool(bad.any()):
            _refuse(bad, y, f"must be 0 or 1 {loss} with one output", _label_hint(numbers))


_SEVERAL = "several labels a row go with nn.BCEWithLogitsLoss"


def _label_hint(numbers: Tensor) -> str:
    if bool((numbers.abs() == 1).all()):
        return "for labels -1 and 1 pass (y + 1) / 2"
    return "for more than two classes give the model one output a class"


def _refuse(bad: Tensor, y: Tensor, demand: str, remedy: str, *, name: str = "y") -> None:
    if bool(bad.any()):
        place = tuple(bad.nonzero()[0].tolist())
        where = f"row {place[0]}" + (f", column {', '.join(map(str, place[1:]))}" if len(place) > 1 else "")
        raise DataError(f"{name} {demand}, got {float(y[place]):g} in {where}; {remedy}")
