"""A column and the time of each row in, whether it is the time in other words out: later rows lie beyond all its values.

N rows
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.data.encode.numbers import FloatArray
from mbgd.data.ranks import centred_ranks

RANKS = 0.9  # correlation of ranks, at least: means of few times may rise by chance
ONE_WAY = 0.99  # share of all moves of the mean from one time to the next


def tells_time(values_N: FloatArray, times_N: NDArray[Any]) -> bool:
    """Whether they never fall, or never rise, as time goes on: a year, a month within one, a running number.

    What merely trends, like yesterday's price, moves both ways and is kept.
    """
    there = ~np.isnan(values_N)
    value_N, time_N = values_N[there], times_N[there]
    if not len(value_N):
        return False
    rank_N, late_N = centred_ranks(value_N), centred_ranks(time_N)
    spread = float(np.linalg.norm(rank_N) * np.linalg.norm(late_N))
    if not spread or abs(float(rank_N @ late_N)) < RANKS * spread:
        return False
    _, index_N, counts = np.unique(time_N, return_inverse=True, return_counts=True)
    moves = np.diff(np.bincount(index_N, weights=rank_N) / counts)
    up, down = int((moves > 0).sum()), int((moves < 0).sum())
    return max(up, down) >= ONE_WAY * (up + down)
