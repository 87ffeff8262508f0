"""Choose the rows that are held out: by a share, a hash, times or groups."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.data.order import IntArray
from mbgd.errors import PlanError
from mbgd.seeds import Purpose, hash_rows


def hold_out(
    n_rows: int, share: float, *, seed: int, purpose: Purpose, labels: IntArray | None = None
) -> tuple[IntArray, IntArray]:
    """Split row numbers 0..n_rows-1 into (kept, held out), both in rising order.

    The held-out rows are those of lowest hash of (seed, row), within each class where `labels` (n_rows,) is given; so
    membership is a pure function of the row and never of the order in which rows were read.
    """
    check_share(share)
    hashed = hash_rows(np.arange(n_rows, dtype=np.int64), seed=seed, purpose=purpose)
    held = np.zeros(n_rows, dtype=bool)
    if labels is None:
        held[np.argsort(hashed, kind="stable")[: round(share * n_rows)]] = True
        return _both_sides(held, hashed)
    order = np.lexsort((hashed, labels))  # class behind class, each by its hashes
    _, first, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    counts = np.minimum(np.rint(share * sizes), sizes - 1)  # a class that nobody learns cannot be scored
    held[order] = np.arange(n_rows) - np.repeat(first, sizes) < np.repeat(counts, sizes)
    return _both_sides(held, hashed)


def hold_out_latest(times: NDArray[Any], share: float) -> tuple[IntArray, IntArray]:
    """(kept, held out) by time, shape (n_rows,) in any sortable unit: the latest rows are held out.

    Rows of one instant stay together, so that nothing held out lies before or beside anything kept.
    """
    check_share(share)
    count = max(1, round(share * len(times)))
    threshold = np.partition(times, len(times) - count)[len(times) - count]
    held = times >= threshold
    if held.all():  # the latest instant fills more than the share: it is all there is to hold out
        held = times > threshold
    if not held.any() or held.all():
        raise PlanError(
            "split by time needs at least two different times among the rows, got one; split at random instead"
        )
    return np.flatnonzero(~held), np.flatnonzero(held)


def hold_out_groups(groups: IntArray, share: float, *, seed: int, purpose: Purpose) -> tuple[IntArray, IntArray]:
    """(kept, held out) by group, shape (n_rows,) codes: whole groups of lowest hash, until they hold `share` of the rows."""
    check_share(share)
    names, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise PlanError(f"split by group needs at least two groups, got {len(names)}; split at random instead")
    order = np.argsort(hash_rows(names.astype(np.int64), seed=seed, purpose=purpose), kind="stable")
    rows_before = np.cumsum(counts[order]) - counts[order]
    chosen = np.zeros(len(names), dtype=bool)
    chosen[order[: max(1, int((rows_before < share * len(groups)).sum()))]] = True
    if chosen.all():
        chosen[order[-1]] = False
    held = chosen[inverse]
    return np.flatnonzero(~held), np.flatnonzero(held)


def check_share(share: float) -> None:
    if not 0 < share < 1:
        raise PlanError(f"a held-out share must be above 0 and below 1, got {share:g}; give 0.1 for every tenth row")


def _both_sides(held: NDArray[np.bool_], hashed: NDArray[np.uint64]) -> tuple[IntArray, IntArray]:
    """At least one row on each side, where there are two."""
    if len(held) > 1 and not held.any():
        held[np.argmin(hashed)] = True
    if len(held) > 1 and held.all():
        held[np.argmax(hashed)] = False
    return np.flatnonzero(~held), np.flatnonzero(held)
