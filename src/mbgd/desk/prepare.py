"""Prepare the training of a module: its rows, shapes and types are checked once, here."""

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
from mbgd.data.iterable import iterable_of
from mbgd.data.order import IntArray
from mbgd.data.source import ArraySource, Rows, Source, batch_rows, first_row, row_bytes
from mbgd.data.sparse import SparseSource
from mbgd.data.split import hold_out
from mbgd.desk.inputs import dtype_of, fitting_inputs
from mbgd.desk.iterable_plan import as_stream, said_of_stream
from mbgd.desk.loader_plan import draws_of, rows_of_a_sampler
from mbgd.desk.machine import choose_device, fits
from mbgd.desk.parts import Held, Parts, assemble
from mbgd.desk.plan import Plan
from mbgd.errors import DataError, PlanError
from mbgd.forks import after_fork
from mbgd.seeds import Purpose
from mbgd.step.label_weights import IGNORED, LabelWeights
from mbgd.step.loss import Loss, make_loss
from mbgd.step.targets import Shape, are_shares
from mbgd.step.torch_loss import unweighted


@after_fork()
@kept_aside()
def prepare(model: nn.Module, data: Any, *, plan: Plan, sample_weight: Any = None) -> Parts:
    """Check model, data and plan against each other and make the parts. Raises PlanError and DataError, changes nothing
    but the device of the model."""
    if not isinstance(model, nn.Module):
        raise PlanError(f"model must be a torch.nn.Module, got {type(model).__name__}; wrap a function in a Module")
    device = choose_device(plan.device, model)
    model.to(device)
    stream = as_stream(data, model, plan=plan, sample_weight=sample_weight)
    source = stream or as_source(data, sample_weight=sample_weight, workers=plan.workers)
    source, outputs = fitting_inputs(model, source, device=device)
    spec, y = _loss_spec(plan), first_row(source).y
    how: dict[str, Any] = {"outputs": outputs, "y": y, "varying": batch_rows(source) is not None}
    loss = _loss(spec, plan, model, **how)
    for_scores = loss if unweighted(spec) is spec else _loss(unweighted(spec), plan, model, **how)
    ready = prepared(source, loss, device)
    scored = ready if for_scores is loss else prepared(source, for_scores, device)
    chosen, validation = _validation(scored, plan, model, loss=for_scores, device=device)
    parts = assemble(
        model,
        ready,
        plan=plan,
        loss=loss,
        for_scores=for_scores,
        labels_weigh=loss.label_weights is not None and _weigh(loss.label_weights, source),
        output_shape=outputs,
        chosen=chosen,
        validation=validation,
        device=device,
        draws=draws_of(data, seed=plan.seed, chosen=chosen),
        n_classes=outputs[0] if loss.kind == "multiclass" else 2,
    )
    if stream is None:
        return parts
    return replace(parts, notices=said_of_stream(stream, plan, weighted=first_row(ready).w is not None))


def _loss(spec: Any, plan: Plan, model: nn.Module, *, outputs: Shape, y: Any, varying: bool) -> Loss:
    return make_loss(
        spec,
        output_shape=outputs,
        dtype=dtype_of(model),
        label_smoothing=plan.label_smoothing,
        quantile=plan.quantile,
        huber_delta=plan.huber_delta,
        shares=are_shares(y, outputs),
        varying=varying,
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
            numbers = range(self.n_rows)[rows] if isinstance(rows, slice) else rows.tolist()
            for place, row in enumerate(numbers):
                one = found.map(lambda leaf, at=place: leaf[at : at + 1])  # type: ignore[misc]  # mypy and defaults
                try:
                    self.change(one)
                except DataError as error:
                    raise DataError(str(error).replace("in row 0", f"in row {row}")) from None
            raise


def prepared(source: Source, loss: Loss, device: torch.device) -> Source:
    """Targets checked and converted once where they are in memory, else chunk by chunk; what labels weigh made row weights."""
    weights = loss.label_weights
    weigh = weights is not None and first_row(source).y is not None and _weigh(weights, source)

    def change(rows: Rows) -> Rows:
        if rows.y is None:
            raise DataError("data must have a target, got inputs alone; pass (X, y)")
        y = loss.prepare(rows.y)
        if weights is None or not weigh:
            _refuse_ignored(weights, y)
            return Rows(rows.x, y, rows.w)
        w = weights.of_rows(y, loss.dtype)
        return Rows(rows.x, weights.filled(y) if y.ndim == 1 else y, w if rows.w is None else w * rows.w)

    if isinstance(source, SparseSource):
        return SparseSource(change(source.data))
    if not isinstance(source, ArraySource):
        return PreparedSource(source, change)
    ready = ArraySource(change(source.data))
    return ready.to(device) if fits(row_bytes(ready) * ready.n_rows, device) else ready


def _weigh(weights: LabelWeights, source: Source) -> bool:
    """Whether labels count differently. Of rows that are read one by one, which may: such a row with one label takes a weight or
    an ignore_index of the user's own, since what rows weigh on the average is known only once all have been read."""
    if isinstance(source, (ArraySource, SparseSource)):
        return source.data.y is not None and weights.differ(source.data.y)
    y = first_row(source).y
    return (y is not None and y.ndim > 1) or weights.of_class is not None or weights.ignore != IGNORED


def _refuse_ignored(weights: LabelWeights | None, y: Tensor) -> None:
    ignored = None if weights is None else weights.ignored(y)
    if ignored is not None and bool(ignored.any()):
        raise DataError(
            f"y must hold a class for every row of a dataset, got {IGNORED}, which is ignored, in row {int(ignored.nonzero()[0])}; "
            "leave that row out, as with torch.utils.data.Subset, or give the loss another ignore_index"
        )


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
    mask = None if isinstance(given, float) else _as_mask(given)
    if iterable_of(source) is not None and (isinstance(given, float) or mask is not None):
        shown = f"the share {given}" if mask is None else "a mask"
        raise PlanError(
            f"validation must be (X, y) for an iterable dataset, whose rows have no numbers, got {shown}; give such rows"
        )
    if isinstance(given, float):
        if source.n_rows < 2:
            raise PlanError(f"validation must leave rows on both sides, got {given} of 1 row; leave it out")
        kept, held = hold_out(source.n_rows, given, seed=plan.seed, purpose=Purpose.VALIDATION_ROWS)
        return kept, Held(source, held)
    if mask is None:
        own = as_source(given, workers=plan.workers)
        own, _ = fitting_inputs(model, own, device=device, name="X of validation")
        try:
            return None, Held(prepared(own, loss, device), rows_of_a_sampler(given, plan.seed))
        except DataError as error:
            raise DataError(str(error).replace("y must", "y of validation must", 1)) from None
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
