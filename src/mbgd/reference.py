"""Mini-batch gradient descent in fifteen lines of NumPy: a gradient in, the parameters after every update out.

Nothing in MBGD imports this file. It is here to be read, to be played with, and to check the fast code against:

>>> rng = np.random.default_rng(0)
>>> X = rng.normal(size=(100, 2))
>>> y = X @ [3.0, -1.0]
>>> *_, theta = mini_batch_gradient_descent(
...     np.zeros(2), squared_error(X, y), n_rows=100, batch_size=32, learning_rate=0.1, epochs=30, order=shuffled(100)
... )
>>> theta.round(3).tolist()
[3.0, -1.0]

With `batch_size=1` it is stochastic gradient descent, with `batch_size=n_rows` batch gradient descent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Gradient = Callable[[Array, Rows], Array]
"""(parameters, row numbers) -> the SUM over those rows of the gradient of each row's loss."""


def mini_batch_gradient_descent(
    theta: Array,
    gradient: Gradient,
    *,
    n_rows: int,
    batch_size: int,
    learning_rate: float,
    epochs: int,
    order: Callable[[int], Rows],
) -> Iterator[Array]:
    """Yield the parameters after every update: theta := theta - eta * (1/m) * sum of the gradients of a batch's rows.

    `order(epoch)` is the order in which that epoch visits the rows 0..n_rows-1.
    """
    m = min(batch_size, n_rows)
    for epoch in range(epochs):
        rows = order(epoch)
        for start in range(0, n_rows, m):
            batch = rows[start : start + m]
            # Divided by m even where the last batch is shorter: every row of an epoch then pulls equally hard.
            theta = theta - learning_rate * gradient(theta, batch) / m
            yield theta


def shuffled(n_rows: int, *, seed: int = 0) -> Callable[[int], Rows]:
    """A fresh shuffle for each epoch, the same whenever it is asked again."""
    return lambda epoch: np.random.default_rng([seed, epoch]).permutation(n_rows)


def squared_error(X: Array, y: Array) -> Gradient:
    """Linear regression: the gradient of sum (x . theta - y)^2."""
    return lambda theta, rows: 2 * X[rows].T @ (X[rows] @ theta - y[rows])


def log_loss(X: Array, y: Array) -> Gradient:
    """Logistic regression with labels 0 and 1: the gradient of sum log(1 + exp(x . theta)) - y (x . theta)."""
    return lambda theta, rows: X[rows].T @ (1 / (1 + np.exp(-X[rows] @ theta)) - y[rows])
