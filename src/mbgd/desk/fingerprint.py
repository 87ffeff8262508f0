"""The rows of a run in, a few facts that tell them from others out; compared when the run is gone on with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mbgd.data.source import ArraySource, Source
from mbgd.desk.parts import Held
from mbgd.errors import DataError

SAMPLE = 4096  # rows whose every bit counts, evenly spread: enough to notice other data, and read at once


def fingerprint(source: Source, validation: Held | None) -> dict[str, Any]:
    """Row count, shapes and types; of arrays also a SHA-256 over evenly spread rows. A dataset may draw at random."""
    facts = _of(source)
    return (
        facts if validation is None or validation.rows is not None else {**facts, "validation": _of(validation.source)}
    )


def _of(source: Source) -> dict[str, Any]:
    first = source.read(slice(0, 1)).leaves()
    facts: dict[str, Any] = {
        "rows": source.n_rows,
        "shapes": [list(leaf.shape[1:]) for leaf in first],
        "types": [str(leaf.dtype).removeprefix("torch.") for leaf in first],
    }
    if isinstance(source, ArraySource):
        rows = np.unique(np.linspace(0, source.n_rows - 1, SAMPLE).astype(np.int64))
        facts["sha256"] = hashlib.sha256(
            b"".join(leaf.cpu().contiguous().view(torch.uint8).numpy().tobytes() for leaf in source.read(rows).leaves())
        ).hexdigest()
    return facts


def check_same(then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
    """Raises DataError naming what differs; a run that wrote none is not checked."""
    for name, value in (then or {}).items():
        if isinstance(value, Mapping):
            check_same(value, now.get(name) or {})
        elif now.get(name) != value:
            given = "other values" if name == "sha256" else f"{name} {now.get(name)}, they were {value}"
            raise DataError(
                f"data must be the rows that the run was begun with, got {given}; give those, in the same order"
            )
