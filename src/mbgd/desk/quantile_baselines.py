"""A table's rows and some that were held out in, what two dumb models of quantiles score on those out."""

from __future__ import annotations

import numpy as np

from mbgd.data.order import IntArray
from mbgd.desk.table import TableRows
from mbgd.measure.baselines import MAX_ROWS, linear
from mbgd.measure.quantiles import Quantiles, constant_quantiles


def quantile_baselines(rows: TableRows, held: IntArray, *, levels: tuple[float, ...]) -> dict[str, dict[str, float]]:
    """The quantiles of the training targets, whatever the row; and a linear model of the mean with those of its errors there."""
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
    found = {}
    for name, quantiles in (("constant", np.tile(of_all, (len(held), 1))), ("linear", mean(held)[:, None] + of_errors)):
        scores = Quantiles(levels)
        scores.add(quantiles, rows.y[held], None if rows.w is None else rows.w[held])
        found[name] = scores.result()
    return found
