"""Rows and background rows in, what each column adds to each prediction out: Shapley values by permutations of the columns.

N rows · B background rows · S walks, two a background row · M places between the ends of a walk · D columns ·
F numbers that a model takes · K outputs
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mbgd.data.order import IntArray
from mbgd.measure.exchange import Array, Inputs, Predict
from mbgd.seeds import Purpose, counter

ROWS_AT_ONCE = 8192  # predicted in one call, about


@dataclass(frozen=True)
class Contributions:
    """predictions = base + the sum over columns, to the rounding of float64."""

    base: Array  # (K,) the mean prediction of the background rows
    predictions: Array  # (N, K)
    columns: Array  # (N, D, K)


def contributions(predict: Predict, inputs: Inputs, background: Inputs, *, seed: int) -> Contributions:
    """Shapley values of the game v(A) = mean over background rows of f(columns A as in the row, others as in that one).

    From each background row to the row leads a walk that takes over one column after the other, in an order of chance, and
    one in the reverse order (Mitchell et al. 2022); a column has the mean of what its steps add. That is exact where columns
    add up, and where they act in pairs, since each of two comes first once; the more of them act together, the more depends
    on the orders, which are a function of the seed, the same for all rows.
    """
    before_BK, after_NK = predict(background), predict(inputs)
    n_rows, n_columns = len(inputs), len(inputs.names)
    orders_SD = _orders(len(background), n_columns, seed=seed)
    found = np.zeros((n_rows, n_columns, after_NK.shape[1]))
    block = max(1, ROWS_AT_ONCE // n_columns)
    for start in range(0, n_rows, block):
        rows = np.arange(start, min(start + block, n_rows))
        walks = max(1, ROWS_AT_ONCE // (n_columns * len(rows)))
        for at in range(0, len(orders_SD), walks):
            order_SD = orders_SD[at : at + walks]
            came_from = np.arange(at, at + len(order_SD)) // 2
            steps = _steps(
                predict,
                inputs.take(rows),
                background.take(came_from),
                order_SD=order_SD,
                before_SK=before_BK[came_from],
                after_NK=after_NK[rows],
            )
            found[rows] += steps.sum(axis=0).transpose(1, 0, 2)
    return Contributions(before_BK.mean(axis=0), after_NK, found / len(orders_SD))


def _orders(n_background: int, n_columns: int, *, seed: int) -> IntArray:
    """(S, D) columns in the order in which a walk takes them over: one of chance, then its reverse."""
    words = counter(seed, Purpose.SAMPLE, 1).random_raw(n_background * n_columns).reshape(n_background, n_columns)
    order_BD = np.argsort(words, axis=1, kind="stable")
    return np.stack([order_BD, order_BD[:, ::-1]], axis=1).reshape(2 * n_background, n_columns)


def _steps(
    predict: Predict, inputs: Inputs, begun: Inputs, *, order_SD: IntArray, before_SK: Array, after_NK: Array
) -> Array:
    """(S, D, N, K) by how much the prediction of each row moves when a walk takes over each column."""
    (n_walks, n_columns), (n_rows, n_outputs) = order_SD.shape, after_NK.shape
    values = np.empty((n_walks, n_columns + 1, n_rows, n_outputs))
    values[:, 0], values[:, -1] = before_SK[:, None], after_NK
    place_SD = np.argsort(order_SD, axis=1)  # when each column is taken over
    if n_columns > 1:
        taken_SMD = place_SD[:, None, :] < np.arange(1, n_columns)[:, None]
        between = predict(_between(inputs, begun, taken_SMD))
        values[:, 1:-1] = between.reshape(n_walks, n_columns - 1, n_rows, n_outputs)
    return np.take_along_axis(np.diff(values, axis=1), place_SD[:, :, None, None], axis=1)


def _between(inputs: Inputs, begun: Inputs, taken_SMD: NDArray[np.bool_]) -> Inputs:
    """(S M N) rows: at each place of each walk, for each row, its own columns where they are taken over."""
    taken_SM1F = taken_SMD[:, :, None, inputs.of]
    values_SMNF = np.where(taken_SM1F, inputs.values, begun.values[:, None, None, :])
    return replace(inputs, values=values_SMNF.reshape(-1, values_SMNF.shape[3]))
