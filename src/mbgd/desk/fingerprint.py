"""A few facts that tell the rows of a run from others; they are compared when the run is resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mbgd.data.source import ArraySource, Rows, Source, first_row
from mbgd.data.sparse import SparseSource
from mbgd.desk.parts import Held
from mbgd.errors import DataError

SAMPLE = 4096  # rows whose every bit counts, evenly spread: enough to notice other data, and read at once


def fingerprint(source: Source, validation: Held | None) -> dict[str, Any]:
    """Row count, weights, shapes and types; of arrays also a SHA-256 over evenly spread rows. A dataset may draw at random."""
    facts = _of(source)
    return (
        facts if validation is None or validation.rows is not None else {**facts, "validation": _of(validation.source)}
    )


def _of(source: Source) -> dict[str, Any]:
    first = _by_name(first_row(source))
    facts: dict[str, Any] = {
        "rows": source.n_rows,
        "weights": first.w is not None,
        "shapes": [list(leaf.shape[1:]) for leaf in first.leaves()],
        "types": [str(leaf.dtype).removeprefix("torch.") for leaf in first.leaves()],
    }
    if isinstance(source, (ArraySource, SparseSource)):
        rows = np.unique(np.linspace(0, source.n_rows - 1, SAMPLE).astype(np.int64))
        leaves = source.entries(rows) if isinstance(source, SparseSource) else _by_name(source.read(rows)).leaves()
        facts["sha256"] = hashlib.sha256(
            b"".join(leaf.cpu().contiguous().view(torch.uint8).numpy().tobytes() for leaf in leaves)
        ).hexdigest()
    return facts


def _by_name(rows: Rows) -> Rows:
    """A dict of inputs or targets sorted by name: to the model and the loss its order is nothing."""

    def ordered(part: Any) -> Any:
        return dict(sorted(part.items())) if isinstance(part, dict) else part

    return replace(rows, x=ordered(rows.x), y=ordered(rows.y))


def check_same(then: Mapping[str, Any] | None, now: Mapping[str, Any], *, name: str = "data") -> None:
    """Raises DataError naming the first that differs, the plainest first; what a run has not written is not checked."""
    then = then or {}
    for fact in ("rows", "weights", "shapes", "types", "sha256"):
        if fact in then and now.get(fact) != then[fact]:
            given = _difference(fact, then[fact], now.get(fact))
            raise DataError(
                f"{name} must be the rows that the run was begun with, got {given}; give those, in the same order"
            )
    if "validation" in then:
        check_same(then["validation"], now.get("validation") or {}, name="validation")


def _difference(fact: str, then: Any, now: Any) -> str:
    if fact == "weights":
        return "rows with weights, they had none" if now else "rows without weights, they had some"
    if fact == "sha256":
        return "other values"
    if isinstance(then, list):
        then, now = (
            " and ".join(str(part).replace("[", "(").replace("]", ")") for part in both) for both in (then, now)
        )
    return f"{fact} {now}, they were {then}"
