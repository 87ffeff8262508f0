"""A plan and the target that it names in; one sentence where the one asks for what the other cannot give."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from mbgd.data.encode.target import Target
from mbgd.data.encode.targets import Targets
from mbgd.data.order import IntArray
from mbgd.desk.bounds import shown
from mbgd.desk.plan import Plan
from mbgd.errors import PlanError

NAMED = 8  # classes in a message


def check_words(plan: Plan) -> None:
    """Raises PlanError for what can be told from the plan alone."""
    if plan.weight is not None and plan.weight in plan.targets:
        raise PlanError(
            f"weight must be another column than the target, got {plan.weight!r} for both; leave weight out"
        )
    if (column := plan.split.partition(":")[2]) and column in plan.targets:
        raise PlanError(f"split must go by another column than the target, got {plan.split!r}; leave split out")
    if both := [name for name in plan.drop if name in plan.targets]:
        raise PlanError(f"drop must name other columns than the target, got {both[0]!r} for both; leave it out of drop")
    if plan.quantiles and plan.loss not in (None, "quantile"):
        raise PlanError(f"quantiles have a loss of their own, got loss={shown(plan.loss)} as well; leave the loss out")
    if plan.quantiles and plan.quantile != 0.5:
        raise PlanError(
            f"quantiles and quantile exclude each other, got quantile={plan.quantile:g} as well; leave it out"
        )
    if plan.threshold_for is not None and plan.validation in (None, "none") and plan.folds is None:
        raise PlanError("threshold_for needs validation rows to choose by, got none; give validation=0.1")


def check_asked(plan: Plan, target: Target | Targets) -> None:
    """Raises PlanError for quantiles of classes or of several targets, and for a threshold without two classes."""
    if plan.quantiles and target.classes:
        raise PlanError(
            f"quantiles need a target of numbers, got the classes of {target.name!r}; leave quantiles out, "
            "or give task='regression'"
        )
    if plan.quantiles and len(target.names) > 1:
        raise PlanError(
            f"quantiles need one target, got {len(target.names)}: {target.name}; train a model for each, or leave them out"
        )
    if plan.threshold_for is not None and len(target.classes) != 2:
        given = f"{len(target.classes)}" if target.classes else "numbers"
        named = ", ".join(map(repr, target.classes[:NAMED])) + (", ..." if len(target.classes) > NAMED else "")
        raise PlanError(
            f"threshold_for needs a target of two classes, got {given} of {target.name!r}"
            f"{f' ({named})' if named else ''}; leave it out"
        )


def rarer_class(y: NDArray[Any], training: IntArray) -> int:
    """Of two classes the number of the one that fewer training rows have; 1 where they are as many."""
    ones = int((y[training] == 1).sum())
    return int(2 * ones <= len(training))
