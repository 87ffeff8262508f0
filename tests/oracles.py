"""Slow obvious twins of what MBGD computes: plain Python and NumPy, one row at a time, no formula shared with the code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def cut(rows: Sequence[int] | NDArray[Any], m: int, tail: str) -> list[list[int]]:
    """The batches of one epoch by slicing a list; the balanced tail by NumPy's own array_split."""
    rows = list(rows)
    if tail == "even":
        return [part.tolist() for part in np.array_split(np.array(rows), math.ceil(len(rows) / m))]
    parts = [rows[i : i + m] for i in range(0, len(rows), m)]
    return parts if tail == "short" else [part for part in parts if len(part) == m]


def linear_row_gradient(theta: Floats, x: Floats, y: float) -> Floats:
    """d/dtheta of (theta'(x, 1) - y)^2 / 2."""
    row = np.append(x, 1.0)
    return (theta @ row - y) * row


def logistic_row_gradient(theta: Floats, x: Floats, y: float) -> Floats:
    """d/dtheta of the log loss of a 0/1 label, by p - y."""
    row = np.append(x, 1.0)
    return (1.0 / (1.0 + math.exp(-theta @ row)) - y) * row


def descend(
    row_gradient: Any,
    theta: Floats,
    *,
    x: Floats,
    y: Floats,
    batches: Iterable[Sequence[int]],
    m: int,
    rate: float,
) -> list[Floats]:
    """Mini-batch gradient descent as the textbook writes it: theta after each batch."""
    path = []
    for batch in batches:
        total = np.zeros_like(theta)
        for i in batch:
            total += row_gradient(theta, x[i], y[i])
        theta = theta - rate * total / m
        path.append(theta)
    return path


def mlp_row_gradient(parts: Sequence[Floats], x: Floats, y: float) -> Floats:
    """Gradient of (f(x) - y)^2 / 2 for f = b2 + w2 tanh(W1 x + b1), by hand, flat in the order W1, b1, w2, b2."""
    w1, b1, w2, b2 = parts
    h = np.tanh(w1 @ x + b1)
    error = float(w2[0] @ h + b2[0] - y)
    at_hidden = error * w2[0] * (1.0 - h * h)
    return np.concatenate([np.outer(at_hidden, x).ravel(), at_hidden, error * h, [error]])


def weighted_gradient(
    parts: Sequence[Floats], batch: Iterable[int], *, x: Floats, y: Floats, w: Floats, divisor: float
) -> Floats:
    """sum over the batch of w_i grad l_i, row by row with exact summation, over the divisor."""
    terms = [w[i] * mlp_row_gradient(parts, x[i], y[i]) for i in batch]
    return np.array([math.fsum(column) for column in zip(*terms, strict=True)]) / divisor


def halves(stream: np.random.Philox) -> Iterator[int]:
    """The words of a stream as 32-bit halves, the low one first."""
    while True:
        for word in stream.random_raw(1 << 12).tolist():
            yield word & 0xFFFFFFFF
            yield word >> 32


def fisher_yates(entries: list[int], words: Iterator[int]) -> list[int]:
    """As the docs describe it, in plain Python."""
    for b in range(len(entries), 1, -1):
        j = next(word * b >> 32 for word in words if word * b % 2**32 >= 2**32 % b)
        entries[b - 1], entries[j] = entries[j], entries[b - 1]
    return entries
