"""A checked plan for a table, with the defaults of tables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from mbgd.desk.bounds import shown
from mbgd.desk.knob_field import shallow
from mbgd.desk.plan import Plan, make_plan
from mbgd.desk.planned import from_json
from mbgd.desk.presets import preset_values
from mbgd.errors import PlanError

TABLE_DEFAULTS: Mapping[str, Any] = {
    "number_embeddings": True,
    "input_scales": True,
    "dropout": "auto",
    "dropout_fades": True,
    "optimizer": "adamw",
    "learning_rate": "auto",
    "batch_size": "auto",
    "epochs": "auto",
    "patience": "auto",
    "ema_decay": "auto",
    "schedule": "one_cycle",
    "validation": 0.1,
}
LATER: Mapping[str, Any] = {  # of a split by time, where a smaller network errs as little, in half the seconds
    "hidden_layer_sizes": (128, 128),
    "dropout_fades": False,  # what is peculiar to a time is learnt last
}
PLAIN: Mapping[str, Any] = {  # the textbook: nothing but w := w - eta * gradient
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "batch_size": 32,
    "epochs": 10.0,
    "schedule": "constant",
    "validation": 0.1,
}


def table_plan(words: Mapping[str, Any], *, plain: bool = False, like: Mapping[str, Any] | None = None) -> Plan:
    """A checked plan with the defaults of tables, or of `like`, the plan of another run; `steps` alone ends a run where it
    is given without `epochs`. Files are named by absolute paths: the run may be gone on with from another folder."""
    words = dict(words)
    target = words.get("target")
    if isinstance(target, list | tuple) and len(target) == 1:
        words["target"] = target = target[0]
    if isinstance(target, Integral) and not isinstance(target, bool):
        raise PlanError(
            f"target must be a name or names, got {target}; columns are named by text here, give {str(target)!r}"
        )
    if (na_values := words.get("na_values")) is not None:  # pandas takes numbers, too
        several = na_values if isinstance(na_values, list | tuple | set) else [na_values]
        words["na_values"] = tuple(str(one) if isinstance(one, Real) else one for one in several)
    if words.get("header", True) is None:  # as pandas has it
        words["header"] = False
    for name in ("validation", "test"):
        given = words.get(name)
        if isinstance(given, str | Path) and str(given) not in ("", "none"):
            words[name] = os.path.abspath(given)
        elif isinstance(given, str) and given and name == "validation":
            words[name] = None
    if words.get("preset") is not None and (plain or like is not None):
        other = "plain" if plain else "plan"
        raise PlanError(f"preset and {other} exclude each other, got both; leave one of them out")
    if like is not None:
        return _checked(words, shallow(from_json(like)))
    later = not plain and str(words.get("split", "")).startswith("time:")
    defaults = dict(PLAIN if plain else TABLE_DEFAULTS) | (dict(LATER) if later else {})
    defaults |= preset_values(words.get("preset"), words)
    if words.get("steps") is not None and words.get("epochs") is None:
        defaults["epochs"] = None
    if not plain:
        defaults["refit"] = _is_best_refit({**defaults, **words})
    if words.get("optimizer") == "sgd" and not plain:
        defaults["learning_rate"] = 0.05
    return _checked(words, defaults)


def _is_best_refit(words: Mapping[str, Any]) -> bool:
    """By time the validation rows are the latest, and most like what is to be predicted: every model takes them in at last."""
    by_time = str(words.get("split", "")).startswith("time:")
    return by_time and words.get("folds") is None and words.get("validation") is not None


def _checked(words: dict[str, Any], defaults: Mapping[str, Any]) -> Plan:
    """The plan, once folds and members have been seen to go with the rest."""
    if words.get("folds", defaults.get("folds")) is not None:
        words = {"validation": None, **words}
    plan = make_plan(words, defaults=defaults)
    _check_shared(plan)
    if plan.folds is not None and plan.validation is not None:
        raise PlanError(
            f"folds and validation exclude each other, got folds={plan.folds} and validation={shown(plan.validation)}: "
            "each fold is the validation rows of its model; leave validation out"
        )
    if plan.folds is not None and plan.split.startswith(("time:", "column:")):
        raise PlanError(
            f"folds need a random split or one by group, got split={plan.split!r}, which says itself which rows stop a "
            "model; give members instead"
        )
    if plan.refit and plan.folds is not None:
        raise PlanError(
            f"refit and folds exclude each other, got refit with folds={plan.folds}, which use every row already; leave one out"
        )
    return plan


def _check_shared(plan: Plan) -> None:
    """What members of one network have to have: layers to share, and scales to differ by."""
    if plan.shared_members > 1 and not plan.hidden_layer_sizes:
        raise PlanError(
            f"shared_members need hidden layers to share, got shared_members={plan.shared_members} for a linear model, whose "
            "members would be one linear model; leave it out"
        )
    if plan.shared_members > 1 and not plan.input_scales:
        raise PlanError(
            f"shared_members need the scales by which they differ, got shared_members={plan.shared_members} and "
            "input_scales=False; give input_scales=True"
        )
