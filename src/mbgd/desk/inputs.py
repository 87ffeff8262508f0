"""The inputs of a module in the types that it takes, and the shape of its outputs, found on two rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mbgd.data.chance import torch_aside
from mbgd.data.source import (
    ArraySource,
    MappedSource,
    Rows,
    Source,
    call,
    first_row,
    inputs_of,
    leaves_of,
    mapped,
    named_tensors,
)
from mbgd.data.sparse import SparseSource
from mbgd.errors import DataError, MBGDError, PlanError
from mbgd.step.evaluation import evaluating
from mbgd.step.targets import Shape

SHOWN = 4  # shapes in a message
REFUSALS = (
    RuntimeError,
    TypeError,
    ValueError,
    IndexError,
    KeyError,
    AttributeError,
)  # what a forward raises at wrong inputs


def fitting_inputs(model: nn.Module, source: Source, *, device: torch.device, name: str = "X") -> tuple[Source, Shape]:
    """(the source with inputs as the model takes them, its output shape a row).

    Floats get the model's dtype. Whole numbers and booleans stay what they are where the model takes them so, as an
    Embedding does; where it refuses them it gets them as floats, if it takes those. Raises DataError and PlanError.
    """
    dtype = dtype_of(model)
    as_given, as_floats = (partial(_cast, dtype=dtype, whole=whole) for whole in (False, True))
    try:
        return _probed(model, source, as_given, device)
    except MBGDError:
        raise
    except REFUSALS as error:
        if any(not leaf.is_floating_point() for leaf in inputs_of(first_row(source).x)):
            try:
                return _probed(model, source, as_floats, device)
            except REFUSALS:  # then the first refusal says more
                pass
        raise _refused(source, error, name) from error


def as_the_model_takes_them(model: nn.Module, source: Source, *, device: torch.device) -> Source:
    """The same of rows to predict for: floats of the model's type, and whole numbers as such where it takes those, for which
    alone it is called once more."""
    if any(not leaf.is_floating_point() for leaf in inputs_of(first_row(source).x)):
        return fitting_inputs(model, source, device=device)[0]
    cast = partial(_cast, dtype=dtype_of(model), whole=False)
    if isinstance(source, (ArraySource, SparseSource)):
        return type(source)(cast(source.data))
    return MappedSource(source, cast)


def checked_outputs(source: Source, compute: Callable[[], Any]) -> Any:
    """What `compute` makes of the rows: an array with one entry each, or a tuple or dict of such arrays. Raises DataError
    where the model refuses them, or makes another number."""
    try:
        found = compute()
    except MBGDError:
        raise
    except REFUSALS as error:
        raise _refused(source, error, "X") from error
    if wrong := [part for part in leaves_of(found) if len(part) != source.n_rows]:
        shapes = " and ".join(str(tuple(leaf.shape[1:])) for leaf in inputs_of(first_row(source).x))
        raise DataError(
            f"X must have one output a row, got {len(wrong[0])} for {source.n_rows} rows of shape {shapes}; give (n, ...), one row "
            "as X[None]"
        )
    return found


def dtype_of(model: nn.Module) -> torch.dtype:
    """The floating type in which a model computes: that of its first such parameter."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())


def _cast(rows: Rows, *, dtype: torch.dtype, whole: bool) -> Rows:
    def cast(leaf: Tensor) -> Tensor:
        return leaf.to(dtype) if leaf.is_floating_point() or whole else leaf

    return Rows(Rows(rows.x, None, None).map(cast).x, rows.y, rows.w)


def _probed(
    model: nn.Module, source: Source, cast: Callable[[Rows], Rows], device: torch.device
) -> tuple[Source, Shape]:
    shape = output_shape(model, MappedSource(source, cast), device)
    if isinstance(source, (ArraySource, SparseSource)):
        return type(source)(cast(source.data)), shape
    return MappedSource(source, cast), shape


def output_shape(model: nn.Module, source: Source, device: torch.device) -> Shape:
    """What the model returns for one row, () or (1,) or (C,), or a tuple or dict of such; it is called once, in eval mode, on
    two rows."""
    rows = source.read(slice(0, min(2, source.n_rows))).map(lambda leaf: leaf.to(device))
    # no_grad and not inference_mode: parameters that a lazy module makes now have to be trained later
    with evaluating(model), torch.no_grad(), torch_aside():
        output: Any = call(model, rows.x)
    n = len(rows.leaves()[0])
    for name, leaf in named_tensors(output, "output"):
        if not isinstance(leaf, Tensor):
            raise PlanError(
                f"model must return a tensor, or a tuple or dict of tensors, got {type(leaf).__name__} as {name}; "
                "wrap it and pick what the loss needs"
            )
        if leaf.ndim == 0 or leaf.shape[0] != n:
            of = "" if leaf is output else f" of {name}"
            raise PlanError(
                f"model must return one output a row, got shape {tuple(leaf.shape)}{of} for {n} rows; check its forward"
            )
    if not leaves_of(output):
        raise PlanError(f"model must return a tensor, got an empty {type(output).__name__}; check its forward")
    shape = mapped(output, lambda leaf: tuple(leaf.shape[1:]))
    return tuple(shape) if isinstance(shape, list) else shape


def _refused(source: Source, error: Exception, name: str) -> DataError:
    """What to say of rows that a forward does not take, with their shapes and what it said."""
    x = first_row(source).x
    names = [f"{key} " for key in x] if isinstance(x, dict) else [""] * len(inputs_of(x))
    shown = ", ".join(
        f"{key}{tuple(leaf.shape[1:])} {str(leaf.dtype).removeprefix('torch.')}"
        for key, leaf in list(zip(names, inputs_of(x), strict=True))[:SHOWN]
    ) + (", ..." if len(names) > SHOWN else "")
    why = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return DataError(f"{name} must fit the model, got rows of shape {shown}, which its forward refuses: {why}")
