"""A table with every kind of column, and a small model of it for every option that changes what is predicted."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

import mbgd
from command import table

QUICK: dict[str, Any] = {"epochs": 2, "hidden_layer_sizes": (16, 8), "batch_size": 32, "learning_rate": 0.02}
MODELS: dict[str, dict[str, Any]] = {
    "a number": {"target": "y", "drop": ("label",)},
    "a linear model": {"target": "y", "drop": ("label",), "hidden_layer_sizes": ()},
    "no embeddings": {"target": "y", "drop": ("label",), "number_embeddings": False, "input_scales": False},
    "categories": {"target": "y", "drop": ("label",), "categorical": ("two_or_three", "group", "key")},
    "the tabular recipe": {"target": "y", "drop": ("label",), "optimizer": "tabular"},
    "counts": {"target": "count", "loss": "poisson", "drop": ("label",)},
    "amounts": {"target": "count", "loss": "gamma", "drop": ("label",)},
    "one quantile": {"target": "y", "loss": "quantile", "quantile": 0.9, "drop": ("label",)},
    "quantiles": {"target": "y", "quantiles": (0.1, 0.25, 0.5, 0.75, 0.9), "drop": ("label",)},
    "quantiles without a median": {"target": "y", "quantiles": (0.1, 0.9), "drop": ("label",), "validation": 0.3},
    "two classes": {"target": "label", "drop": ("y",)},
    "a threshold": {"target": "label", "drop": ("y",), "threshold_for": "f1"},
    "truth": {"target": "truth"},
    "whole numbers as classes": {"target": "two_or_three"},
    "three classes": {"target": "c"},
    "hinge": {"target": "c", "loss": "hinge"},
    "several targets": {"target": ("y", "z"), "drop": ("label",)},
    "members": {"target": "y", "members": 2, "drop": ("label",)},
    "members of one network": {"target": "y", "shared_members": 3, "drop": ("label",)},
    "members of one network of classes": {"target": "c", "shared_members": 2, "optimizer": "tabular"},
    "folds of classes": {"target": "label", "folds": 2, "threshold_for": "f1", "drop": ("y",)},
    "folds of quantiles": {"target": "y", "folds": 2, "quantiles": (0.1, 0.5, 0.9), "drop": ("label",)},
}


def frame() -> pd.DataFrame:
    data = table().assign(two_or_three=np.arange(400) % 2 + 2, truth=np.arange(400) % 3 == 0)
    data["when"] = pd.to_datetime(data["when"]).dt.to_pydatetime()
    return data.assign(count=1.0 + np.arange(400) % 5, flag=np.arange(400) % 4 == 1)


def rows() -> list[dict[str, Any]]:
    """Rows of the table, and one with nothing in it, one with what was never seen, and one far out."""
    data = frame().drop(columns=["y", "label", "count"])
    data["when"] = data["when"].astype(str)
    some: list[dict[str, Any]] = data.iloc[[0, 3, 14, 399]].to_dict("records")
    far = {"x": 1e308, "z": -1e308, "c": "purple", "when": "0001-01-01", "part": "", "group": -5, "key": "k99999"}
    return [*some, dict.fromkeys(some[0]), some[0] | far, some[1] | {"x": "0.5", "when": "2024-02-29T12:00:00.25"}]


@cache
def trained(name: str) -> mbgd.Run:
    """One of `MODELS`, trained once for all tests of a process."""
    return mbgd.fit_table(frame(), **QUICK | MODELS[name])
