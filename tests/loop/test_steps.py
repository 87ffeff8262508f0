"""The loop: what it yields is counted right, weighted right, and comes before the error that ends it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mbgd.data.order import Cursor, Order
from mbgd.data.source import ArraySource, Rows
from mbgd.data.stream import ChunkEnds
from mbgd.errors import DivergenceError
from mbgd.loop.progress import Progress
from mbgd.loop.steps import Steps
from problems import ONE_BY_ONE, Training, mlp, source

N, WIDTH, M = 20, 3, 6  # batches of 6, 6, 6, 2


def training(*, weighted: bool = False) -> Training:
    return Training(
        mlp(WIDTH), source(N, WIDTH, weighted=weighted), Order(N, seed=1), M, options={"learning_rate": 0.01}
    )


def test_progress_counts_what_was_trained_on() -> None:
    found: list[Progress] = []
    run = training()
    for done in run.each(ends=ChunkEnds(max_batches=3)):
        found.append(done.progress)
        if len(found) == 4:
            break
    assert found == [
        Progress(3, 18, Cursor(0, 18)),
        Progress(6, 32, Cursor(1, 12)),
        Progress(9, 46, Cursor(2, 6)),
        Progress(12, 60, Cursor(3, 0)),
    ]


@pytest.mark.parametrize("weighted", [False, True])
def test_losses_are_weighted_means_before_the_update(weighted: bool) -> None:
    run = training(weighted=weighted)
    data = source(N, WIDTH, weighted=True).data
    assert data.y is not None
    assert data.w is not None
    flow = run.each()
    for batch in np.array_split(run.order.rows(0)[:18], 3):
        with torch.no_grad():
            output = run.model(data.x)[:, 0]
        loss = (0.5 * (output - data.y) ** 2).numpy()
        done = next(flow)
        w = data.w.numpy()[batch] if weighted else np.ones(M)
        np.testing.assert_allclose(done.losses, [np.average(loss[batch], weights=w)], rtol=1e-12)
        np.testing.assert_allclose(done.loss_sums, [(w * loss[batch]).sum()], rtol=1e-12)
        np.testing.assert_allclose(done.weight_sums, [w.sum()], rtol=1e-12)


def test_the_loss_of_several_steps_is_one_mean_over_their_rows() -> None:
    done = Steps(Progress(), np.array([6.0, 1.0]), np.array([2.0, 4.0]), np.ones(2), np.array([2, 4]))
    assert done.losses.tolist() == [3.0, 0.25]
    assert done.loss == 7.0 / 6.0  # not the mean of the two means, 1.625
    assert len(done) == 2
    nothing = Steps(Progress(), np.zeros(1), np.zeros(1), np.ones(1), np.array([3]))
    assert nothing.losses.tolist() == [0.0]
    assert nothing.loss == 0.0


def test_a_batch_of_zero_weight_is_trained_on_and_weighs_nothing() -> None:
    data = source(N, WIDTH, weighted=True).data
    assert data.w is not None
    data.w[Order(N, seed=1).rows(0)[:M]] = 0.0
    run = Training(mlp(WIDTH), ArraySource(data), Order(N, seed=1), M)
    before = [p.clone() for p in run.model.parameters()]
    done = next(run.each())
    assert done.losses.tolist() == [0.0]
    assert all(torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))


def test_the_rate_factor_is_asked_with_rows_seen_before_each_step() -> None:
    asked: list[int] = []

    def factor(rows_seen: int) -> float:
        asked.append(rows_seen)
        return 1.0 / (1 + rows_seen)

    run = training()
    done = next(run.each(ends=ChunkEnds(max_batches=5), rate_factor=factor))
    assert asked == [0, 6, 12, 18, 20]
    assert done.rate_factors.tolist() == [1, 1 / 7, 1 / 13, 1 / 19, 1 / 21]
    assert done.sizes.tolist() == [6, 6, 6, 2, 6]


@pytest.mark.parametrize("place", [0, 13])
def test_good_steps_are_yielded_before_the_error(place: int) -> None:
    data = source(N, WIDTH).data
    assert data.y is not None
    y = data.y.clone()
    row = int(Order(N, seed=1).rows(0)[place])
    y[row] = float("nan")
    run = Training(mlp(WIDTH), ArraySource(Rows(data.x, y, None)), Order(N, seed=1), M)
    flow = run.each(ends=ChunkEnds(max_batches=4))
    if place:
        done = next(flow)
        assert len(done) == 2
        assert done.progress == Progress(2, 12, Cursor(0, 12))
        assert np.isfinite(done.losses).all()
    with pytest.raises(DivergenceError, match=r"step \d+ \(epoch 1, rows .*that update was not made") as caught:
        next(flow)
    assert caught.value.step == place // M + 1
    assert row in caught.value.rows


def test_stopping_between_two_yields_leaves_the_model_on_that_step() -> None:
    run, same = training(), training()
    for done in run.each(ends=ONE_BY_ONE):
        if done.progress.steps_done == 3:
            break
    same.run(3)
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), same.model.parameters(), strict=True))
