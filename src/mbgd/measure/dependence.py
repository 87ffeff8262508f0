"""Rows and values of one column in, the mean prediction of all rows with that column set to each out: partial dependence.

N rows · G values · K outputs (Friedman 2001, section 8.2)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mbgd.data.order import IntArray
from mbgd.measure.exchange import Array, Inputs, Predict


def dependence(predict: Predict, inputs: Inputs, *, column: int, donors: Inputs) -> Array:
    """(G, K) mean predictions of `inputs` where all have the column of the first donor, of the second, and so on."""
    at_once = (donors.take(np.array([row])) for row in range(len(donors)))
    return np.stack([predict(inputs.exchanged(column, donor)).mean(axis=0) for donor in at_once])


def rows_at_quantiles(values_N: ArrayLike, *, most: int) -> IntArray:
    """Rows whose values rise from the least to the greatest at even steps of rank; one a value where these are few.

    A value that occurs stands for each quantile, so that it can be encoded as the row's was. NaN is nobody's value.
    """
    values = np.asarray(values_N, np.float64)
    order = np.argsort(values, kind="stable")
    order = order[: len(order) - int(np.isnan(values).sum())]  # NaN is last
    _, first = np.unique(values[order], return_index=True)
    if len(first) > most:
        at = np.round(np.linspace(0, len(order) - 1, most)).astype(np.int64)
        _, first = np.unique(values[order[at]], return_index=True)
        first = at[first]
    return order[first]


def rows_of_labels(codes_N: IntArray, *, most: int) -> IntArray:
    """The first row of each of the most frequent codes, these first; among equals the code that comes first."""
    _, first, counts = np.unique(codes_N, return_index=True, return_counts=True)
    return first[np.lexsort((first, -counts))[:most]]
