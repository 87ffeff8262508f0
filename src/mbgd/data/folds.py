"""Row numbers, classes or groups in, the fold of each row out: every row is in exactly one."""

from __future__ import annotations

from heapq import heapify, heapreplace

import numpy as np

from mbgd.data.order import IntArray
from mbgd.errors import PlanError
from mbgd.seeds import Purpose, hash_rows


def folds_of_rows(rows: IntArray, count: int, *, seed: int, labels: IntArray | None = None) -> IntArray:
    """The fold, 0 to count - 1, of each of `rows`: they are dealt out in turn by their hashes, class after class.

    So the sizes of any two folds differ by at most one row, and by at most one row of each class where `labels`, shape
    (len(rows),), is given. The hash is that of validation rows.
    """
    if count > len(rows):
        raise PlanError(
            f"folds must be at most the number of rows besides the test rows, {len(rows):,}, got {count}; give fewer"
        )
    hashed = hash_rows(rows, seed=seed, purpose=Purpose.VALIDATION_ROWS)
    order = np.argsort(hashed, kind="stable") if labels is None else np.lexsort((hashed, labels))
    fold = np.empty(len(rows), dtype=np.int64)
    fold[order] = np.arange(len(rows)) % count
    return fold


def folds_of_groups(groups: IntArray, count: int, *, seed: int) -> IntArray:
    """The same of whole groups, shape (n_rows,) codes: the largest first, each to the fold that has the fewest rows yet."""
    names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if count > len(names):
        raise PlanError(
            f"folds must be at most the number of groups besides those of the test rows, {len(names):,}, got {count}; give fewer"
        )
    hashed = hash_rows(names.astype(np.int64), seed=seed, purpose=Purpose.VALIDATION_ROWS)
    of_group = np.empty(len(names), dtype=np.int64)
    filled = [(0, fold) for fold in range(count)]
    heapify(filled)
    for group in np.lexsort((hashed, -sizes)):
        rows, fold = filled[0]
        of_group[group] = fold
        heapreplace(filled, (rows + int(sizes[group]), fold))
    return of_group[inverse]
