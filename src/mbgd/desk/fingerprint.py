"""A few facts that tell the rows of a run from others; they are compared when the run is resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbgd.data.source import ArraySource, Rows, Source, first_row
from mbgd.data.sparse import SparseSource
from mbgd.desk.parts import Held
from mbgd.errors import DataError
from mbgd.seeds import Purpose, generator

WHOLE = 1 << 30  # bytes of rows up to which every one is hashed, in 0.6 s; of longer ones as many are
STRETCHES = 4096  # equal ones that longer rows are cut into, in each of which some rows are hashed
SPREAD = 4096  # single rows, evenly spread, all that an older version hashed
AT_ONCE = 1 << 24  # bytes of rows that are read together


def fingerprint(
    source: Source, validation: Held | None, *, seed: int, as_before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Row count, weights, shapes and types; of arrays also a SHA-256 over rows, and how many those are, all of them up to 1 GiB.
    A dataset may draw at random. `as_before` is an earlier one to compare with: where an older version hashed other rows, so
    does this.
    """
    before = as_before or {}
    facts = _of(source, seed=seed, as_before=before)
    if validation is None or validation.rows is not None:
        return facts
    return {**facts, "validation": _of(validation.source, seed=seed, as_before=before.get("validation") or {})}


def compared(facts: Mapping[str, Any] | None) -> str:
    """What two equal ones say that the rows have in common."""
    facts = facts or {}
    named = ", ".join(word for word in ("rows", "shapes", "types") if word in facts)
    if "sha256" not in facts:
        return f"their {named} alone, since their values were not recorded" if named else "nothing was recorded"
    hashed = facts.get("hashed_rows", min(SPREAD, facts["rows"]))
    return f"{named} and the values of " + (
        f"all {hashed:,} rows"
        if hashed == facts["rows"]
        else f"{hashed:,} of {facts['rows']:,} rows, drawn over all of them"
    )


def _of(source: Source, *, seed: int, as_before: Mapping[str, Any]) -> dict[str, Any]:
    first = _by_name(first_row(source))
    facts: dict[str, Any] = {
        "rows": source.n_rows,
        "weights": first.w is not None,
        "shapes": [list(leaf.shape[1:]) for leaf in first.leaves()],
        "types": [str(leaf.dtype).removeprefix("torch.") for leaf in first.leaves()],
    }
    if not isinstance(source, (ArraySource, SparseSource)):
        return facts
    if "sha256" in as_before and "hashed_rows" not in as_before:
        return {**facts, "sha256": _of_spread_rows(source)}
    row_bytes = _row_bytes(source)
    pieces = _pieces(source.n_rows, row_bytes=row_bytes, seed=seed)
    rows = sum(stop - start for start, stop in pieces)
    return {**facts, "hashed_rows": rows, "sha256": _hashed(source, pieces, at_once=max(1, AT_ONCE // row_bytes))}


def _row_bytes(source: ArraySource | SparseSource) -> int:
    dense = source.data if isinstance(source, ArraySource) else Rows((), source.data.y, source.data.w)
    held = sum(leaf.numel() * leaf.element_size() for leaf in dense.leaves())
    return max(1, held // source.n_rows + (source.entry_bytes if isinstance(source, SparseSource) else 0))


def _pieces(n_rows: int, *, row_bytes: int, seed: int) -> list[tuple[int, int]]:
    """(start, stop) of rows to hash: all, or in each stretch some side by side, at a place that is drawn: a change to more rows
    than two stretches have is found for certain."""
    if n_rows * row_bytes <= WHOLE:
        return [(0, n_rows)]
    ends = np.linspace(0, n_rows, min(STRETCHES, n_rows) + 1).astype(np.int64)
    each = max(1, WHOLE // row_bytes // (len(ends) - 1))
    free = np.maximum(1, np.diff(ends) - each + 1)  # places in a stretch where so many rows may begin
    starts = ends[:-1] + generator(seed, Purpose.CHECKED_ROWS).integers(0, free)
    return list(zip(starts.tolist(), np.minimum(starts + each, ends[1:]).tolist(), strict=True))


def _hashed(source: ArraySource | SparseSource, pieces: list[tuple[int, int]], *, at_once: int) -> str:
    """One hash a tensor, so that it is the same wherever the pieces are cut; then one over those."""
    hashes: list[Any] = []
    for start, stop in pieces:
        for low in range(start, stop, at_once):
            leaves = _leaves(source, slice(low, min(stop, low + at_once)))
            hashes = hashes or [hashlib.sha256() for _ in leaves]
            for digest, leaf in zip(hashes, leaves, strict=True):
                digest.update(_bytes(leaf))
    return hashlib.sha256(b"".join(digest.digest() for digest in hashes)).hexdigest()


def _leaves(source: ArraySource | SparseSource, rows: slice) -> list[Tensor]:
    """The tensors of some rows; of sparse ones how many entries each has, in place of where they begin."""
    if isinstance(source, ArraySource):
        return _by_name(source.read(rows)).leaves()
    starts, *others = source.entries(np.arange(rows.start, rows.stop))
    return [starts.diff(), *others]


def _bytes(leaf: Tensor) -> Any:
    return leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def _of_spread_rows(source: ArraySource | SparseSource) -> str:
    """What an older version hashed."""
    rows = np.unique(np.linspace(0, source.n_rows - 1, SPREAD).astype(np.int64))
    leaves = source.entries(rows) if isinstance(source, SparseSource) else _by_name(source.read(rows)).leaves()
    return hashlib.sha256(b"".join(_bytes(leaf).tobytes() for leaf in leaves)).hexdigest()


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
