"""The reference: checked against closed forms and torch's autograd, so that it can itself check the library."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from torch.nn import functional

from mbgd import reference
from mbgd.reference import log_loss, mini_batch_gradient_descent, shuffled, squared_error


def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(10, 3)), rng.normal(size=10), rng.integers(0, 2, 10).astype(float)


def test_the_example_in_its_first_lines_is_true() -> None:
    failed, tried = doctest.testmod(reference)
    assert (failed, tried > 0) == (0, True)


@pytest.mark.parametrize("batch_size", [10, 11, 1000])
def test_a_full_batch_of_least_squares_follows_its_closed_form(batch_size: int) -> None:
    """theta_k - best = (I - eta H)^k (theta_0 - best), H = 2 X'X / n: powers by eigenvalues, no loop."""
    X, y, _ = problem()
    values, vectors = np.linalg.eigh(2 * X.T @ X / 10)
    best = np.linalg.lstsq(X, y)[0]
    *_, theta = mini_batch_gradient_descent(
        np.ones(3),
        squared_error(X, y),
        n_rows=10,
        batch_size=batch_size,
        learning_rate=0.05,
        epochs=40,
        order=shuffled(10),
    )
    expected = best + vectors @ ((1 - 0.05 * values) ** 40 * (vectors.T @ (np.ones(3) - best)))
    np.testing.assert_allclose(theta, expected, rtol=1e-10)  # 40 steps of 1e-16 each, amplified by no more than 1


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10])
def test_every_update_is_that_of_torch_written_by_hand(batch_size: int) -> None:
    X, _, labels = problem()
    order = shuffled(10, seed=5)
    theta = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([theta], lr=0.3)
    expected = []
    for epoch in range(3):
        for batch in torch.from_numpy(order(epoch)).split(batch_size):
            output = torch.from_numpy(X)[batch] @ theta
            total = functional.binary_cross_entropy_with_logits(
                output, torch.from_numpy(labels)[batch], reduction="sum"
            )
            optimizer.zero_grad()
            (total / batch_size).backward()
            optimizer.step()
            expected.append(theta.detach().clone().numpy())
    found = mini_batch_gradient_descent(
        np.zeros(3), log_loss(X, labels), n_rows=10, batch_size=batch_size, learning_rate=0.3, epochs=3, order=order
    )
    np.testing.assert_allclose(list(found), expected, rtol=1e-11)  # up to 30 steps of float64 roundings


@pytest.mark.parametrize("n_rows", [1, 7, 10])
@pytest.mark.parametrize("batch_size", [1, 3, 10, 12])
def test_an_epoch_visits_every_row_once_and_sums_to_n_over_m_full_gradients(n_rows: int, batch_size: int) -> None:
    seen: list[int] = []

    def row_number(theta: np.ndarray, rows: np.ndarray) -> np.ndarray:
        seen.extend(rows.tolist())
        return np.array([rows.sum()], dtype=float)  # row i has the constant gradient i

    updates = list(
        mini_batch_gradient_descent(
            np.zeros(1),
            row_number,
            n_rows=n_rows,
            batch_size=batch_size,
            learning_rate=1.0,
            epochs=1,
            order=shuffled(n_rows),
        )
    )
    assert sorted(seen) == list(range(n_rows))
    assert len(updates) == -(-n_rows // min(batch_size, n_rows))
    full = (n_rows - 1) / 2  # mean of 0..n-1
    assert -updates[-1][0] == pytest.approx(n_rows / min(batch_size, n_rows) * full, rel=1e-12)


def test_orders_are_fresh_each_epoch_and_the_same_when_asked_again() -> None:
    order = shuffled(50, seed=3)
    assert not np.array_equal(order(0), order(1))
    assert np.array_equal(order(1), order(1))
    assert not np.array_equal(shuffled(50, seed=4)(0), order(1))  # seed + epoch would make these one


def test_the_starting_point_is_left_as_it_was() -> None:
    X, y, _ = problem()
    start = np.zeros(3)
    list(
        mini_batch_gradient_descent(
            start, squared_error(X, y), n_rows=10, batch_size=4, learning_rate=0.1, epochs=1, order=shuffled(10)
        )
    )
    assert start.tolist() == [0, 0, 0]
