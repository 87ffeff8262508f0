"""Number of rows and of the split in, training and test rows out: the same for everybody who is compared."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

SHARE = 0.2  # of the rows are the test
Rows = NDArray[np.int64]


def at_random(n_rows: int, split: int) -> tuple[Rows, Rows]:
    """(training, test) rows in rising order, a function of both numbers alone."""
    order = np.random.default_rng([split, n_rows]).permutation(n_rows)
    count = round(SHARE * n_rows)
    return np.sort(order[count:]), np.sort(order[:count])


def latest(times: NDArray[np.int64]) -> tuple[Rows, Rows]:
    """(training, test) rows: about the latest fifth is the test, and rows of one instant stay together."""
    first = np.sort(times)[len(times) - round(SHARE * len(times))]
    return np.flatnonzero(times < first), np.flatnonzero(times >= first)


def fingerprint(test: Rows) -> str:
    """Twelve digits that two lists of rows share when they are the same: kept with each result."""
    return hashlib.sha256(np.ascontiguousarray(test, dtype="<i8").tobytes()).hexdigest()[:12]
