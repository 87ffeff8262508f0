"""A checked plan for the user's own module, with the settings of the DataLoader that it is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mbgd.desk.knobs import Knobs
from mbgd.desk.loader_plan import words_of
from mbgd.desk.plan import Plan, make_plan
from mbgd.errors import PlanError

_ELSEWHERE = {  # knobs of a table -> what to do with a module of one's own
    "target": "pass (X, y)",
    "weight": "pass sample_weight",
    "class_weight": "pass a torch loss with weight, or sample_weight",
    "hidden_layer_sizes": "build the model so",
    "dropout": "build the model so",
    "dropout_fades": "set the rates between two of its steps",
    "number_embeddings": "build the model so",
    "input_scales": "build the model so",
    "shared_members": "build the model so",
    "test": "keep test rows out of data",
    "quantiles": "loss='quantile' trains one of them, or several outputs of one level",
    "threshold_for": "choose it from predict_proba of rows held out",
}


def module_plan(words: Mapping[str, Any], data: Any) -> Plan:
    """A checked plan for a module of the user's own. Raises PlanError also for what only a table has."""
    plan = make_plan({**words_of(data, words), **words})
    for word in words:
        if word not in Knobs.__annotations__:
            remedy = _ELSEWHERE.get(word, "leave it out")
            raise PlanError(f"{word} belongs to fit_table, got it with a module of your own; {remedy}")
    return plan
