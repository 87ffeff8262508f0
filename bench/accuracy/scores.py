"""Predictions and truth of the test rows in, the error that is compared and a familiar score beside it out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAST = 1e-15  # a probability below it counts as this: one sure mistake is no infinite error


def of_numbers(predicted: Floats, y: Floats) -> dict[str, float]:
    """`error`: root mean squared error; `r2`: 1 - squared errors / squared distances from the mean of the test rows."""
    squares = float(((predicted - y) ** 2).mean())
    return {"error": squares**0.5, "r2": 1 - squares / float(((y - y.mean()) ** 2).mean())}


def of_classes(probability: Floats, code: NDArray[np.int64]) -> dict[str, float]:
    """`error`: mean of -log p(true class) in nats, each row (n, C) made to sum to one; `accuracy` of the likeliest class."""
    clipped = np.clip(probability.astype(np.float64), LEAST, None)
    clipped /= clipped.sum(axis=1, keepdims=True)
    logs = -np.log(clipped[np.arange(len(code)), code])
    return {"error": float(logs.mean()), "accuracy": float((probability.argmax(axis=1) == code).mean())}
