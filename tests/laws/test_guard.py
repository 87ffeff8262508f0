"""Law: no non-finite update is ever yielded or left in memory; the bad step is named, all before it stand to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mbgd.data.order import Order
from mbgd.data.source import ArraySource, Rows
from mbgd.data.stream import ChunkEnds
from mbgd.errors import DivergenceError
from mbgd.step.state import capture
from problems import ONE_BY_ONE, Training, flat, mlp, source, squared

N, WIDTH, M = 50, 4, 6  # 9 steps an epoch
ENDS = [ONE_BY_ONE, ChunkEnds(max_batches=4), ChunkEnds(max_batches=256)]
ADAM: dict[str, Any] = {"optimizer": "adam", "options": {"learning_rate": 0.01}}


def training(data: ArraySource, **plan: Any) -> Training:
    return Training(mlp(WIDTH, dropout=0.2, norm=True), data, Order(N, seed=2), M, ema_decay=0.9, **(ADAM | plan))


def spoilt(row: int, value: float, *, target: bool = False) -> ArraySource:
    data = source(N, WIDTH).data
    x, y = data.x.clone(), data.y.clone()  # type: ignore[union-attr]  # both are tensors here
    if target:
        y[row] = value
    else:
        x[row, 1] = value
    return ArraySource(Rows(x, y, None))


def state_of(run: Training) -> list[Tensor]:
    assert run.updater.average is not None
    return [flat(run.model), *run.updater.average, *capture(run.updater).tensors.values()]


def run_to_the_end(run: Training, ends: ChunkEnds, **how: Any) -> DivergenceError:
    try:
        for done in run.each(ends=ends, **how):
            assert np.isfinite(done.loss_sums).all()
            assert done.progress.steps_done < 60, "nothing was noticed"
    except DivergenceError as error:
        return error
    raise AssertionError("the run ended without a word")


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 3, 20, 49])
def test_a_bad_row_stops_the_run_before_its_update(place: int, value: float, ends: ChunkEnds) -> None:
    order = Order(N, seed=2).rows(0)
    step = place // M
    run = training(spoilt(int(order[place]), value))
    error = run_to_the_end(run, ends)
    assert error.step == step + 1
    assert list(error.rows) == order[step * M : (step + 1) * M].tolist()
    assert error.exit_code == 6
    assert str(error.rows[0]) in str(error)

    clean = training(source(N, WIDTH)).run(step)  # the same steps over rows without the bad one
    assert run.progress == clean.progress
    assert run.losses == clean.losses
    assert all(torch.equal(a, b) for a, b in zip(state_of(run), state_of(clean), strict=True))
    assert all(p.grad is None for p in run.model.parameters())


@pytest.mark.parametrize("ends", ENDS)
def test_a_rate_that_is_too_high_ends_in_finite_weights(ends: ChunkEnds) -> None:
    run = Training(
        mlp(WIDTH, dtype=torch.float32),
        source(N, WIDTH, dtype=torch.float32),
        Order(N, seed=2),
        M,
        loss=lambda output, y: torch.exp(4 * squared(output, y)),
        options={"learning_rate": 5.0},
    )
    error = run_to_the_end(run, ends)
    assert error.step == run.progress.steps_done + 1
    assert bool(torch.isfinite(flat(run.model)).all())


@pytest.mark.parametrize("optimizer", ["sgd", "adam", torch.optim.RMSprop])
@pytest.mark.parametrize("ends", ENDS)
def test_a_finite_loss_with_a_gradient_that_is_not(optimizer: Any, ends: ChunkEnds) -> None:
    """sqrt has the value 0 and an infinite slope at 0: the loss alone shows nothing."""
    target = source(N, WIDTH).data.y
    assert target is not None
    bad = float(target[Order(N, seed=2).rows(0)[27]])  # in step 5

    def loss(output: Tensor, y: Tensor) -> Tensor:
        flawed = torch.where(y == bad, 0.0, 1.0)
        return torch.sqrt(squared(output, y) * flawed + (1 - flawed) * 0.0 * output.squeeze(-1) ** 2)

    run = training(source(N, WIDTH), optimizer=optimizer, options={"learning_rate": 0.01}, loss=loss)
    error = run_to_the_end(run, ends)
    assert error.step == 5
    clean = training(source(N, WIDTH), optimizer=optimizer, options={"learning_rate": 0.01}, loss=loss).run(4)
    assert all(torch.equal(a, b) for a, b in zip(state_of(run), state_of(clean), strict=True))


def test_prefetched_chunks_after_the_bad_one_change_nothing() -> None:
    order = Order(N, seed=2).rows(0)
    ends = ChunkEnds(max_batches=2)
    runs = [training(spoilt(int(order[31]), float("nan"), target=True)) for _ in range(2)]
    errors = [run_to_the_end(run, ends, depth=depth) for run, depth in zip(runs, (0, 3), strict=True)]
    assert errors[0].step == errors[1].step == 6
    assert errors[0].rows == errors[1].rows
    assert all(torch.equal(a, b) for a, b in zip(state_of(runs[0]), state_of(runs[1]), strict=True))


def test_a_finite_run_is_not_touched_by_the_check() -> None:
    """Weights of 1e37 in float32 are finite: no false alarm."""
    run = Training(mlp(WIDTH, dtype=torch.float32), source(N, WIDTH, dtype=torch.float32), Order(N, seed=2), M)
    with torch.no_grad():
        run.model[0].weight.fill_(1e37)  # type: ignore[union-attr]  # tanh saturates: the output stays small
    run.run(12, ends=ChunkEnds(max_batches=3))
    assert run.progress.steps_done == 12


def test_the_bad_step_of_a_long_chunk_is_found_by_halving() -> None:
    """Of 256 one-row batches: log2(256) = 8 halvings, and no more good runs than bad ones besides the first."""
    data = source(256, WIDTH).data
    x = data.x.clone()  # type: ignore[union-attr]  # a tensor here
    order = Order(256, seed=2)
    x[int(order.rows(0)[201]), 1] = float("nan")
    run = Training(mlp(WIDTH), ArraySource(Rows(x, data.y, None)), order, 1, **ADAM)
    calls, inner = [], run.engine.run

    def counted(*given: Any, **how: Any) -> Tensor:
        calls.append(1)
        return inner(*given, **how)

    object.__setattr__(run.engine, "run", counted)
    error = run_to_the_end_of_one(run)
    assert error.step == 202
    assert run.progress.steps_done == 201
    assert len(calls) <= 1 + 2 * 9


def run_to_the_end_of_one(run: Training) -> DivergenceError:
    with pytest.raises(DivergenceError) as caught:
        for _ in run.each(ends=ChunkEnds(max_batches=256)):
            pass
    return caught.value
