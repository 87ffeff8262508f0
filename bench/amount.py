"""A way to train and the seconds wanted in, how many rows and epochs one timed call shall train on out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

LONGEST_EPOCH = 3  # a whole epoch is run where it takes at most so many times the seconds wanted, else fewer rows
GUESSES = 8  # each call is longer than the one before, or the last

Train = Callable[[int, int], int]
"""Rows and epochs in, rows trained on in all out."""


def amount(
    train: Train, *, n: int, m: int, threads: int, wanted: float, clock: Callable[[], float] = time.process_time
) -> tuple[int, int]:
    """Rows and epochs, over n rows in batches of m, of a call that takes about the seconds wanted, and at least half.

    What a call costs besides its rows makes a short one seem slow by the row: so the guess is made again, from longer and
    longer calls, until one takes half of the time. CPU time says so, since others start beside this.
    """
    rows, epochs = min(n, m * max(4, min(64, 4_096 // m))), 1
    for _ in range(GUESSES):
        train(rows, epochs)  # compiles what it may
        start = clock()
        done = train(rows, epochs)
        seconds = max(clock() - start, 1e-6) / threads
        if seconds >= wanted / 2:
            break
        enough = wanted * done / seconds
        if n <= LONGEST_EPOCH * enough:
            rows, epochs = n, max(1, round(enough / n))
        else:
            rows = min(n, m * math.ceil(enough / m))
    return rows, epochs
