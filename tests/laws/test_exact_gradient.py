"""Law: one update uses (1/(m wbar)) * sum of w_i grad l_i over its rows, however it is split and whatever the weights.

The gradient is read off the parameters (SGD: their change over the rate), and compared with backpropagation derived by
hand, row by row.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mbgd.data.chunk import Batch
from mbgd.data.order import Order, Tail
from mbgd.data.source import Rows
from mbgd.data.stream import chunks
from mbgd.step.gradient import GradientRule, accumulate
from oracles import cut, mlp_row_gradient, weighted_gradient
from problems import ONE_BY_ONE, Training, arrays, mlp, source, squared

N, WIDTH = 23, 5
RATE = 2.0**-10  # a power of two divides exactly; small, so that parameters stay where gradients are of size 1
EXACT = 1e-12  # float64: some hundred roundings of 1e-16 each on gradients of size 1


def parts_of(model: nn.Module) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in model.parameters()]


def gradient_in(model: nn.Module) -> np.ndarray:
    return np.concatenate([p.grad.numpy().ravel() for p in model.parameters() if p.grad is not None])


def test_the_hand_derived_gradient_is_a_gradient() -> None:
    x, y, _ = arrays(1, WIDTH)
    parts = parts_of(mlp(WIDTH))
    sizes = np.cumsum([p.size for p in parts])[:-1]

    def value(theta: np.ndarray) -> float:
        w1, b1, w2, b2 = (t.reshape(p.shape) for t, p in zip(np.split(theta, sizes), parts, strict=True))
        return float(0.5 * (w2[0] @ np.tanh(w1 @ x[0] + b1) + b2[0] - y[0]) ** 2)

    theta, step = np.concatenate([p.ravel() for p in parts]), 1e-6
    numeric = [(value(theta + step * e) - value(theta - step * e)) / (2 * step) for e in np.eye(len(theta))]
    np.testing.assert_allclose(mlp_row_gradient(parts, x[0], y[0]), numeric, atol=1e-9)  # step^2 and 1e-16 / step


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("micro_batch", [None, 1, 3, 7, 50])
@pytest.mark.parametrize("tail", ["short", "even"])
@pytest.mark.parametrize("m", [1, 4, 10, 22, 23, 30])
def test_one_update_is_the_sum_over_its_rows_divided_by_m(
    m: int, tail: Tail, micro_batch: int | None, weighted: bool
) -> None:
    x, y, w = arrays(N, WIDTH)
    w = w if weighted else np.ones(N)
    model = mlp(WIDTH)
    order = Order(N, seed=2)
    training = Training(
        model,
        source(N, WIDTH, weighted=weighted),
        order,
        m,
        options={"learning_rate": RATE},
        tail=tail,
        mean_weight=float(w.mean()),
        micro_batch=micro_batch,
    )
    rows = order.rows(0) if m < N else np.arange(N)
    batches = cut(rows, min(m, N), tail)
    flow = training.each()
    for batch in batches:
        before = parts_of(model)
        done = next(flow)
        moved = np.concatenate([(a - b).ravel() for a, b in zip(before, parts_of(model), strict=True)])
        # m >= n is batch gradient descent: its batch size is n
        np.testing.assert_allclose(
            moved / RATE, weighted_gradient(before, batch, x=x, y=y, w=w, divisor=min(m, N) * w.mean()), atol=EXACT
        )
        assert done.sizes.tolist() == [len(batch)]


@pytest.mark.parametrize("micro_batch", [1, 2, 5, 8, None])
def test_micro_batches_and_repeated_calls_add_sums(micro_batch: int | None) -> None:
    x, y, w = arrays(N, WIDTH)
    model = mlp(WIDTH)
    rows = source(N, WIDTH, weighted=True).data
    rule = GradientRule(squared, mean_weight=float(w.mean()), micro_batch=micro_batch)
    first, rest = (rows.map(lambda t, s=s: t[s]) for s in (slice(0, 9), slice(9, N)))
    losses = [accumulate(model, Batch(part, len(part.leaves()[0]), divisor=10.0), rule) for part in (first, rest)]
    np.testing.assert_allclose(
        gradient_in(model),
        weighted_gradient(parts_of(model), range(N), x=x, y=y, w=w, divisor=10 * w.mean()),
        atol=EXACT,
    )
    output = model(rows.x).detach().numpy()[:, 0]
    np.testing.assert_allclose(torch.cat(losses).numpy(), 0.5 * (output - y) ** 2, atol=EXACT)


def test_weights_of_integers_are_repeated_rows() -> None:
    """w_i = 3 is the row three times: an oracle without any weight in it. wbar is 1 here, so the divisor stays m."""
    x, y, _ = arrays(6, WIDTH)
    w = np.array([3.0, 0.0, 1.0, 2.0, 0.0, 0.0])
    model = mlp(WIDTH)
    rows = Rows(torch.tensor(x), torch.tensor(y), torch.tensor(w))
    accumulate(model, Batch(rows, 6, divisor=6.0), GradientRule(squared, mean_weight=float(w.mean())))
    repeated = [0, 0, 0, 2, 3, 3]
    expected = weighted_gradient(parts_of(model), repeated, x=x, y=y, w=np.ones(6), divisor=6.0)
    np.testing.assert_allclose(gradient_in(model), expected, atol=EXACT)


def test_a_row_pulls_the_same_in_a_full_and_in_a_short_batch() -> None:
    x, y, _ = arrays(N, WIDTH)
    pulls = []
    for rows in ([3, 4, 5, 6], [3]):  # both of a plan with m = 4; rows 4, 5, 6 weigh nothing
        model = mlp(WIDTH)
        w = torch.tensor([1.0] + [0.0] * (len(rows) - 1), dtype=torch.float64)
        batch = Batch(Rows(torch.tensor(x[rows]), torch.tensor(y[rows]), w), len(rows), divisor=4.0)
        accumulate(model, batch, GradientRule(squared))
        pulls.append(gradient_in(model))
    np.testing.assert_allclose(pulls[0], pulls[1], atol=EXACT)


def test_the_stream_hands_over_m_as_divisor() -> None:
    for tail, expected in (("short", [8.0] * 3), ("even", [8.0] * 3), ("drop", [8.0] * 2)):
        flow = chunks(source(N, WIDTH), Order(N, seed=0), batch_size=8, tail=tail, ends=ONE_BY_ONE)  # type: ignore[arg-type]
        assert [next(flow).divisors.tolist() for _ in expected] == [[d] for d in expected]
