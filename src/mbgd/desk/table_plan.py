"""The words for a table's training in, a checked plan with the defaults of tables out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbgd.desk.plan import Plan, from_json, make_plan, shallow

TABLE_DEFAULTS: Mapping[str, Any] = {
    "number_embeddings": True,
    "input_scales": True,
    "dropout": "auto",
    "optimizer": "adamw",
    "learning_rate": "auto",
    "batch_size": "auto",
    "epochs": "auto",
    "schedule": "one_cycle",
    "validation": 0.1,
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
        words["target"] = target[0]
    for name in ("validation", "test"):
        given = words.get(name)
        if isinstance(given, str | Path) and str(given) not in ("", "none"):
            words[name] = os.path.abspath(given)
        elif isinstance(given, str) and given and name == "validation":
            words[name] = None
    if like is not None:
        return make_plan(words, defaults=shallow(from_json(like)))
    defaults = dict(PLAIN if plain else TABLE_DEFAULTS)
    if words.get("steps") is not None and words.get("epochs") is None:
        defaults["epochs"] = None
    if words.get("optimizer") == "sgd" and not plain:
        defaults["learning_rate"] = 0.05
    return make_plan(words, defaults=defaults)
