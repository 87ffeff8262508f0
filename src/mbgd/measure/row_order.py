"""A column of times in the order of the rows in, how far they come in an order of time out.

N rows
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbgd.data.ranks import centred_ranks


def sortedness(times_N: NDArray[np.int64]) -> float:
    """1 where times never fall, or never rise; else the greater of two correlations of ranks, 0 for an order of chance.

    Spearman's with the row number sees an order through all rows; that of a row with the next one, after Bartels (1982,
    the rank version of von Neumann's ratio), sees files that are sorted and come in any order. Equal times share the
    mean of their ranks; 0 where there is one time only.
    """
    steps = np.diff(times_N)
    if not steps.any():
        return 0.0
    if (steps >= 0).all() or (steps <= 0).all():
        return 1.0
    rank_N = centred_ranks(times_N)
    spread = np.square(rank_N).mean()
    with_next = 1 - np.square(np.diff(rank_N)).mean() / (2 * spread)
    return float(max(abs(np.corrcoef(rank_N, np.arange(len(rank_N)))[0, 1]), with_next))
