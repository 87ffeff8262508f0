"""Knobs of a plan that exclude each other."""

from __future__ import annotations

from typing import Any

from mbgd.desk.bounds import shown
from mbgd.desk.dialects import dialect_of
from mbgd.errors import PlanError


def check_together(plan: Any) -> None:
    """Raises PlanError; `plan` is a Plan, which is checked with this as it is made."""
    dialect_of(plan)  # which raises where its parts exclude each other
    if plan.nesterov and not plan.momentum:
        raise PlanError("nesterov needs momentum above 0, got momentum=0.0; give momentum=0.9")
    if plan.target is not None and len({*plan.targets}) != max(1, len(plan.targets)):
        raise PlanError(f"target must name different columns, got {shown(plan.target)}; name each of them once")
    if plan.patience not in (None, "auto") and plan.validation is None and plan.folds is None:
        raise PlanError("patience needs validation rows to look at, got none; give validation=0.1")
    if plan.min_delta and plan.patience is None:
        raise PlanError(f"min_delta needs patience, got min_delta={plan.min_delta:g} alone; give patience=10")
    if plan.metric is not None and plan.validation is None and plan.target is None:
        raise PlanError("metric needs validation rows to score, got none; give validation=0.1")
