"""Law: m >= n is batch gradient descent and m = 1 is SGD, step for step equal to ten lines of NumPy; so is all between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mbgd.data.order import Order
from oracles import cut, descend, linear_row_gradient, logistic_row_gradient
from problems import Training, arrays, flat, logistic, source, squared

N, WIDTH, EPOCHS, RATE = 17, 3, 4, 0.2
KINDS = [("linear", squared, linear_row_gradient), ("logistic", logistic, logistic_row_gradient)]


@pytest.mark.parametrize(("kind", "loss", "row_gradient"), KINDS)
@pytest.mark.parametrize("m", [1, 2, 5, 16, 17, 18, 1000])
def test_step_for_step_equal_to_the_reference(kind: str, loss: Callable[..., Any], row_gradient: Any, m: int) -> None:
    x, y, _ = arrays(N, WIDTH, labels=kind == "logistic")
    order = Order(N, seed=4)
    batches = [batch for epoch in range(EPOCHS) for batch in cut(range(N) if m >= N else order.rows(epoch), m, "short")]
    path = descend(row_gradient, np.zeros(WIDTH + 1), x=x, y=y, batches=batches, m=min(m, N), rate=RATE)

    model = nn.Linear(WIDTH, 1).double()
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    training = Training(
        model, source(N, WIDTH, labels=kind == "logistic"), order, m, loss=loss, options={"learning_rate": RATE}
    )
    for theta, _ in zip(path, training.each(), strict=False):
        np.testing.assert_allclose(
            flat(model).numpy(), theta, atol=1e-12
        )  # float64 roundings of at most 70 steps of size 1
    assert training.progress.steps_done >= len(path)
    assert training.progress.cursor.epoch >= EPOCHS


def test_batch_gradient_descent_does_not_depend_on_the_seed_and_sgd_does() -> None:
    def end(m: int, seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Linear(WIDTH, 1).double()
        return flat(Training(model, source(N, WIDTH), Order(N, seed=seed), m).run(6).model)

    assert torch.equal(end(N, 1), end(N, 2))
    assert torch.equal(end(N, 1), end(N + 9, 2))
    assert not torch.equal(end(1, 1), end(1, 2))


def test_enough_full_steps_reach_least_squares() -> None:
    x, y, _ = arrays(N, WIDTH)
    best, *_ = np.linalg.lstsq(np.column_stack([x, np.ones(N)]), y, rcond=None)
    model = nn.Linear(WIDTH, 1).double()
    Training(model, source(N, WIDTH), Order(N, seed=0), N, options={"learning_rate": 0.3}).run(2000)
    np.testing.assert_allclose(flat(model).numpy(), best, atol=1e-10)  # the error shrinks by a constant factor a step
