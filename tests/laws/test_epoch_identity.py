"""Law: at fixed parameters the gradients of one epoch's batches add up to n/m times the full gradient, exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mbgd.data.order import Order, Tail
from mbgd.data.stream import ChunkEnds, chunks
from mbgd.step.gradient import accumulate
from oracles import weighted_gradient
from problems import Training, arrays, mlp, source

N, WIDTH = 41, 4


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("tail", ["short", "even"])
@pytest.mark.parametrize("m", [1, 2, 3, 7, 20, 21, 40, 41])
def test_an_epoch_sums_to_n_over_m_times_the_full_gradient(m: int, tail: Tail, weighted: bool) -> None:
    x, y, w = arrays(N, WIDTH)
    w = w if weighted else np.ones(N)
    model = mlp(WIDTH)
    parts = [p.detach().numpy() for p in model.parameters()]
    full = weighted_gradient(parts, range(N), x=x, y=y, w=w, divisor=N * w.mean())
    training = Training(model, source(N, WIDTH, weighted=weighted), Order(N, seed=m), m, mean_weight=float(w.mean()))
    flow = chunks(
        training.data, training.order, batch_size=m, tail=tail, ends=ChunkEnds(max_batches=5, at_epoch_end=True)
    )
    for epoch in range(3):
        model.zero_grad()
        while True:
            chunk = next(flow)
            for batch in chunk.batches():
                accumulate(model, batch, training.engine.rule)  # gradients add up: the parameters stand still
            if chunk.after.epoch > epoch:
                break
        total = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).numpy()
        # float64: n additions of numbers of size up to n/m
        np.testing.assert_allclose(total, N / m * full, atol=1e-12 * max(1.0, N / m))


def test_the_law_at_work_a_tiny_rate_walks_the_full_gradient_in_an_epoch() -> None:
    """theta after one epoch is theta - eta (n/m) G + O(eta^2), for the short last batch as well."""
    rate, m = 1e-7, 12
    x, y, _ = arrays(N, WIDTH)
    model = mlp(WIDTH)
    before = [p.detach().numpy().copy() for p in model.parameters()]
    full = weighted_gradient(before, range(N), x=x, y=y, w=np.ones(N), divisor=N)
    Training(model, source(N, WIDTH), Order(N, seed=0), m, options={"learning_rate": rate}).run(math.ceil(N / m))
    after = [p.detach().numpy() for p in model.parameters()]
    moved = np.concatenate([(a - b).ravel() for a, b in zip(before, after, strict=True)])
    # second order: rate * curvature of size 10 relative to the first; rounding: 1e-16 / 1e-7
    np.testing.assert_allclose(moved / rate, N / m * full, atol=1e-5)
