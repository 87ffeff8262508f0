"""Rows of known functions, whose importance, dependence and contributions are known by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mbgd.measure.exchange import Inputs, Predict

WEIGHTS = np.array([3.0, -1.0, 0.5, 0.0])


def rows(n: int, seed: int = 0, *, n_columns: int = 4, numbers: int = 1) -> Inputs:
    """Independent normal numbers, so many of them a column."""
    values = np.random.default_rng(seed).normal(size=(n, n_columns * numbers)).astype(np.float32)
    of = np.repeat(np.arange(n_columns), numbers)
    return Inputs(values, of, tuple(f"c{k}" for k in range(n_columns)))


def predicting(function: Callable[[np.ndarray], np.ndarray]) -> Predict:
    """A function of the values, (N,) or (N, K), in float64."""

    def predict(inputs: Inputs) -> np.ndarray:
        found = function(inputs.values.astype(np.float64))
        return found[:, None] if found.ndim == 1 else found

    return predict
