"""A preset's name and the words given in, values for the knobs that were not given out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"hidden_layer_sizes": (128, 128)},  # about a third of the seconds
    "default": {},
    "best": {"folds": 8},  # 7.5 to 8 times the seconds: 8 models of 7/8 of the rows, for one of 9/10
}
SHARE_OF_PASSES: Mapping[str, float] = {"fast": 0.6}  # of the passes that "auto" comes to
MEMBERS = 7  # in place of folds, where the rows that stop a model are given


def preset_values(name: str | None, words: Mapping[str, Any]) -> dict[str, Any]:
    """The preset's values, as far as they go with the words; a name that is none has no values, and a plan refuses it."""
    values = dict(PRESETS.get(name or "default", {}))
    if "folds" in values and not _may_be_folded(words):
        del values["folds"]
        values["members"] = MEMBERS
    return values


def _may_be_folded(words: Mapping[str, Any]) -> bool:
    marked = str(words.get("split", "")).startswith(("time:", "column:"))
    return not marked and not words.get("validation")
