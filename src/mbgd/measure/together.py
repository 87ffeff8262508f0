"""Columns of ordered values in, the pairs that rise and fall together out, by the correlation of their ranks (Spearman 1904).

N rows · D columns
"""

from __future__ import annotations

import numpy as np

from mbgd.data.ranks import centred_ranks
from mbgd.measure.exchange import Array

SCARCE = 20  # rows below which ranks correlate by chance


def pairs_together(values_ND: Array, *, at_least: float) -> list[tuple[int, int, float]]:
    """(first column, second, correlation) of each pair whose ranks correlate by so much, up or down; the strongest first.

    Equal values share the mean of their ranks. A missing value, NaN, has the mean rank of its column, which takes part in no
    correlation; a column of one value correlates with nothing.
    """
    if len(values_ND) < SCARCE or not values_ND.shape[1]:
        return []
    ranks_ND = np.stack([_unit_ranks(values_N) for values_N in values_ND.T], axis=1)
    correlation_DD = np.clip(ranks_ND.T @ ranks_ND, -1.0, 1.0)
    found = np.argwhere(np.triu(np.abs(correlation_DD) >= at_least, k=1))
    pairs = [(int(a), int(b), float(correlation_DD[a, b])) for a, b in found]
    return sorted(pairs, key=lambda pair: -abs(pair[2]))


def _unit_ranks(values_N: Array) -> Array:
    """Ranks less their mean, of length 1; zeros where there is no order."""
    there_N = ~np.isnan(values_N)
    ranks_N = np.zeros(len(values_N))
    if there_N.any():
        ranks_N[there_N] = centred_ranks(values_N[there_N])
    length = float(np.sqrt(ranks_N @ ranks_N))
    return ranks_N / length if length > 0 else ranks_N
