"""Refuse validation rows whose loss or metric is not a number, at the first look: training would stop by it unnoticed."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, isnan

import numpy as np

from mbgd.data.finite import not_finite
from mbgd.desk.parts import Held, Parts
from mbgd.errors import DataError, PlanError
from mbgd.measure.evaluate import losses
from mbgd.step.update import averaged


def check_scores(parts: Parts, held: Held, scores: Mapping[str, float]) -> None:
    """Raises DataError naming the rows whose loss is NaN, or infinite because an input is; PlanError for a metric that is not
    defined for these rows."""
    if isfinite(scores["loss"]) and isfinite(scores[parts.metric]):
        return
    nan, unread = _rows_at_fault(parts, held)
    if bad := nan or unread:
        of = "of validation=(X, y)" if held.rows is None else "of data, held out for validation"
        shown = ", ".join(map(str, bad[:8])) + (", ..." if len(bad) > 8 else "")
        why = "whose X is not finite" if unread else "though X is finite"
        raise DataError(
            f"validation rows must have a finite loss, got none in {'rows' if len(bad) > 1 else 'row'} {shown} {of}, {why}; "
            "fill what is missing there, or leave the rows out"
        )
    if isnan(scores["loss"]):
        raise DataError("validation rows must weigh something, got weights of 0 alone; hold out others")
    if isnan(scores[parts.metric]):
        raise PlanError(
            f"metric must be defined for the validation rows, got {parts.metric!r}, which is no number for them (of one class "
            "alone there is no area under a curve); hold out other rows, or leave metric out"
        )


def _rows_at_fault(parts: Parts, held: Held) -> tuple[list[int], list[int]]:
    """(rows whose loss is NaN, rows whose loss is not finite and whose inputs are not)."""
    nan: list[int] = []
    unread: list[int] = []
    at = 0
    with averaged(parts.engine.updater):
        for rows, loss_B in losses(
            parts.model,
            held.source,
            loss=parts.loss,
            rows=held.rows,
            device=parts.device,
            batch_rows=parts.rows_at_once(held.source),
        ):
            numbers = np.arange(at, at + len(loss_B)) if held.rows is None else held.rows[at : at + len(loss_B)]
            at += len(loss_B)
            nan += numbers[np.isnan(loss_B)].tolist()
            unread += numbers[~np.isfinite(loss_B) & not_finite(rows)].tolist()
    return nan, unread
