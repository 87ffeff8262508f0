"""Tables' rows and some that were held out of each in, what two dumb models of quantiles score on those out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mbgd.data.order import IntArray
from mbgd.desk.table import TableRows
from mbgd.measure.baselines import MAX_ROWS, linear
from mbgd.measure.quantiles import Array, Quantiles, constant_quantiles


def quantile_baselines(
    each: Iterable[tuple[TableRows, IntArray]], *, levels: tuple[float, ...]
) -> dict[str, dict[str, float]]:
    """The quantiles of the training targets, whatever the row; and a linear model of the mean with those of its errors there."""
    found = {"constant": Quantiles(levels), "linear": Quantiles(levels)}
    for rows, held in each:
        for name, quantiles_NQ in _dumb(rows, held, levels).items():
            found[name].add(quantiles_NQ, rows.y[held], None if rows.w is None else rows.w[held])
    return {name: scores.result() for name, scores in found.items()}


def _dumb(rows: TableRows, held: IntArray, levels: tuple[float, ...]) -> dict[str, Array]:
    training = rows.sets.training
    some = training[:: max(1, len(training) // MAX_ROWS)]
    mean = linear(
        "regression",
        rows.y,
        numbers=rows.encoded.numbers,
        codes=rows.encoded.codes,
        cardinalities=rows.encoder.cardinalities,
        training_rows=training,
        w=rows.w,
    )
    of_some = None if rows.w is None else rows.w[some]
    of_all = constant_quantiles(rows.y[training], levels, None if rows.w is None else rows.w[training])
    of_errors = constant_quantiles(rows.y[some] - mean(some), levels, of_some)
    return {"constant": np.tile(of_all, (len(held), 1)), "linear": mean(held)[:, None] + of_errors}
