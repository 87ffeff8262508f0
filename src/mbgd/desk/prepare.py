"""A model, rows and a plan in, the parts that train it out: shapes, types and targets checked once, here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mbgd.data.given import as_source
from mbgd.data.order import IntArray
from mbgd.data.source import ArraySource, MappedSource, Rows, Source, call, inputs_of, row_bytes
from mbgd.data.split import hold_out
from mbgd.desk.machine import choose_device, fits
from mbgd.desk.parts import Held, Parts, assemble
from mbgd.desk.plan import Plan
from mbgd.errors import DataError, PlanError
from mbgd.measure.evaluate import evaluating
from mbgd.seeds import Purpose
from mbgd.step.loss import Loss, make_loss


def prepare(model: nn.Module, data: Any, *, plan: Plan, sample_weight: Any = None) -> Parts:
    """Check model, data and plan against each other and make the parts. Raises PlanError and DataError, changes nothing
    but the device of the model."""
    if not isinstance(model, nn.Module):
        raise PlanError(f"model must be a torch.nn.Module, got {type(model).__name__}; wrap a function in a Module")
    device = choose_device(plan.device, model)
    model.to(device)
    source = as_source(data, sample_weight=sample_weight, workers=plan.workers)
    source, outputs = _fitting_inputs(model, source, device)
    loss = make_loss(
        _loss_spec(plan),
        output_shape=outputs,
        dtype=_dtype(model),
        label_smoothing=plan.label_smoothing,
        quantile=plan.quantile,
        huber_delta=plan.huber_delta,
    )
    source = prepared(source, loss, device)
    chosen, validation = _validation(source, plan, model, loss, device)
    return assemble(
        model,
        source,
        plan=plan,
        loss=loss,
        output_shape=outputs,
        chosen=chosen,
        validation=validation,
        device=device,
        n_classes=outputs[0] if loss.kind == "multiclass" else 2,
    )


def _loss_spec(plan: Plan) -> Any:
    if plan.loss is None:
        raise PlanError("loss must be given, got none; 'squared_error' for numbers, 'log_loss' for classes")
    return plan.loss


def _fitting_inputs(model: nn.Module, source: Source, device: torch.device) -> tuple[Source, tuple[int, ...]]:
    """The source with inputs in the model's dtype, and the model's output shape a row, seen on two rows."""
    dtype = _dtype(model)

    def cast(rows: Rows) -> Rows:
        return Rows(_map_floats(rows, dtype), rows.y, rows.w)

    source = ArraySource(cast(source.data)) if isinstance(source, ArraySource) else MappedSource(source, cast)
    try:
        return source, output_shape(model, source, device)
    except RuntimeError as error:
        x = inputs_of(source.read(slice(0, 1)).x)
        shapes = ", ".join(f"{tuple(leaf.shape[1:])} {str(leaf.dtype).removeprefix('torch.')}" for leaf in x)
        why = str(error).strip().splitlines()[0]
        raise DataError(f"X must fit the model, got rows of shape {shapes}, which the model refuses: {why}") from error


def _dtype(model: nn.Module) -> torch.dtype:
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())


def _map_floats(rows: Rows, dtype: torch.dtype) -> Any:
    inputs = Rows(rows.x, None, None)
    return inputs.map(lambda leaf: leaf.to(dtype) if leaf.is_floating_point() else leaf).x


def output_shape(model: nn.Module, source: Source, device: torch.device) -> tuple[int, ...]:
    """What the model returns for one row, () or (1,) or (C,); it is called once, in eval mode, on two rows."""
    rows = source.read(slice(0, min(2, source.n_rows))).map(lambda leaf: leaf.to(device))
    with evaluating(model), torch.inference_mode(), torch.random.fork_rng(devices=[]):
        output = call(model, rows.x)
    n = len(rows.leaves()[0])
    if not isinstance(output, Tensor):
        raise PlanError(
            f"model must return one tensor, got {type(output).__name__}; wrap it and pick what the loss needs"
        )
    if output.ndim == 0 or output.shape[0] != n:
        raise PlanError(
            f"model must return one output a row, got shape {tuple(output.shape)} for {n} rows; check its forward"
        )
    return tuple(output.shape[1:])


def prepared(source: Source, loss: Loss, device: torch.device) -> Source:
    """Targets checked and converted once where they are in memory, else chunk by chunk; class weights made row weights."""

    def change(rows: Rows) -> Rows:
        if rows.y is None:
            raise DataError("data must have a target, got inputs alone; pass (X, y)")
        y = loss.prepare(rows.y)
        if loss.class_weight is None:
            return Rows(rows.x, y, rows.w)
        of_class = loss.class_weight.to(y.device)[y.long()]
        return Rows(rows.x, y, of_class if rows.w is None else of_class * rows.w)

    if not isinstance(source, ArraySource):
        return MappedSource(source, change)
    ready = ArraySource(change(source.data))
    return ready.to(device) if fits(row_bytes(ready) * ready.n_rows, device) else ready


def _validation(
    source: Source, plan: Plan, model: nn.Module, loss: Loss, device: torch.device
) -> tuple[IntArray | None, Held | None]:
    """(row ids to train on or None for all, rows held out or None)."""
    given = plan.validation
    if given is None:
        return None, None
    if isinstance(given, float):
        kept, held = hold_out(source.n_rows, given, seed=plan.seed, purpose=Purpose.VALIDATION_ROWS)
        return kept, Held(source, held)
    if isinstance(given, str):
        raise PlanError(
            f"validation must be a share, a mask or (X, y), got the text {given!r}; files go with fit_table"
        )
    if isinstance(given, (np.ndarray, Tensor)):
        mask = np.asarray(given)
        if mask.dtype != bool or mask.shape != (source.n_rows,) or mask.all() or not mask.any():
            what = f"{mask.dtype} of shape {mask.shape}"
            raise PlanError(
                f"validation must be a boolean mask of shape ({source.n_rows},) that leaves rows on both sides, got {what}"
            )
        return np.flatnonzero(~mask), Held(source, np.flatnonzero(mask))
    own = as_source(given, workers=plan.workers)
    own, _ = _fitting_inputs(model, own, device)
    return None, Held(prepared(own, replace(loss, class_weight=None), device), None)
