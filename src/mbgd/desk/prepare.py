"""A model, rows and a plan in, the parts that train it out: shapes, types and targets checked once, here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mbgd.data.chance import kept_aside
from mbgd.data.given import as_source
from mbgd.data.order import IntArray
from mbgd.data.source import ArraySource, Rows, Source, row_bytes
from mbgd.data.sparse import SparseSource
from mbgd.data.split import hold_out
from mbgd.desk.inputs import dtype_of, fitting_inputs
from mbgd.desk.machine import choose_device, fits
from mbgd.desk.parts import Held, Parts, assemble
from mbgd.desk.plan import Plan
from mbgd.errors import DataError, PlanError
from mbgd.forks import after_fork
from mbgd.seeds import Purpose
from mbgd.step.loss import Loss, make_loss


@after_fork()
@kept_aside()
def prepare(model: nn.Module, data: Any, *, plan: Plan, sample_weight: Any = None) -> Parts:
    """Check model, data and plan against each other and make the parts. Raises PlanError and DataError, changes nothing
    but the device of the model."""
    if not isinstance(model, nn.Module):
        raise PlanError(f"model must be a torch.nn.Module, got {type(model).__name__}; wrap a function in a Module")
    device = choose_device(plan.device, model)
    model.to(device)
    source = as_source(data, sample_weight=sample_weight, workers=plan.workers)
    source, outputs = fitting_inputs(model, source, device=device)
    loss = make_loss(
        _loss_spec(plan),
        output_shape=outputs,
        dtype=dtype_of(model),
        label_smoothing=plan.label_smoothing,
        quantile=plan.quantile,
        huber_delta=plan.huber_delta,
    )
    plain = replace(loss, class_weight=None)  # class weights are for training: scores go without
    ready = prepared(source, loss, device)
    scored = ready if loss.class_weight is None else prepared(source, plain, device)
    chosen, validation = _validation(scored, plan, model, loss=plain, device=device)
    return assemble(
        model,
        ready,
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
    if isinstance(plan.loss, type):
        name = plan.loss.__name__
        raise PlanError(f"loss must be a name, an instance or a function, got the class {name}; call it: loss={name}()")
    return plan.loss


@dataclass(frozen=True)
class PreparedSource:
    """Another source's rows with their targets prepared as they are read; an error names the row of the source."""

    rows: Source
    change: Callable[[Rows], Rows]

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    def read(self, rows: IntArray | slice) -> Rows:
        found = self.rows.read(rows)
        try:
            return self.change(found)
        except DataError:
            for place, row in enumerate(np.arange(self.n_rows)[rows].tolist()):
                one = found.map(lambda leaf, at=place: leaf[at : at + 1])  # type: ignore[misc]  # mypy and defaults
                try:
                    self.change(one)
                except DataError as error:
                    raise DataError(str(error).replace("in row 0", f"in row {row}")) from None
            raise


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

    if isinstance(source, SparseSource):
        return SparseSource(change(source.data))
    if not isinstance(source, ArraySource):
        return PreparedSource(source, change)
    ready = ArraySource(change(source.data))
    return ready.to(device) if fits(row_bytes(ready) * ready.n_rows, device) else ready


def _validation(
    source: Source, plan: Plan, model: nn.Module, *, loss: Loss, device: torch.device
) -> tuple[IntArray | None, Held | None]:
    """(row ids to train on or None for all, rows held out or None)."""
    given = plan.validation
    if given is None:
        return None, None
    if isinstance(given, str):
        raise PlanError(
            f"validation must be a share, a mask or (X, y), got the text {given!r}; files go with fit_table"
        )
    if isinstance(given, float):
        if source.n_rows < 2:
            raise PlanError(f"validation must leave rows on both sides, got {given} of 1 row; leave it out")
        kept, held = hold_out(source.n_rows, given, seed=plan.seed, purpose=Purpose.VALIDATION_ROWS)
        return kept, Held(source, held)
    mask = _as_mask(given)
    if mask is None:
        own = as_source(given, workers=plan.workers)
        own, _ = fitting_inputs(model, own, device=device, name="X of validation")
        return None, Held(prepared(own, loss, device), None)
    if mask.shape != (source.n_rows,) or mask.all() or not mask.any():
        demand = f"a boolean mask of shape ({source.n_rows},) that leaves rows on both sides"
        raise PlanError(
            f"validation must be {demand}, got shape {mask.shape} with {int(mask.sum())} True; True holds a row out"
        )
    return np.flatnonzero(~mask), Held(source, np.flatnonzero(mask))


def _as_mask(given: Any) -> NDArray[np.bool_] | None:
    """Booleans of any make as an array, or None where it is something else."""
    if isinstance(given, Tensor):
        return given.detach().cpu().numpy() if given.dtype == torch.bool else None
    if isinstance(given, (list, tuple)):
        whole = len(given) > 0 and all(isinstance(part, (bool, np.bool_)) for part in given)
        return np.array(given, dtype=bool) if whole else None
    if str(getattr(given, "dtype", "")).lower() in ("bool", "boolean"):  # an array, or a column of a frame
        return np.asarray(given, dtype=bool)
    return None
