"""Law: the batch size may change at any step: coverage, divisor and resume hold across the change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from mbgd.data.order import Cursor, Order, Tail
from mbgd.data.stream import ChunkEnds, chunks
from oracles import weighted_gradient
from problems import ONE_BY_ONE, Training, arrays, flat, mlp, source

N, WIDTH = 29, 3


Planned = tuple[list[int], int, tuple[int, int]]


def growing(rows_seen: int) -> int:
    return 3 + rows_seen // 11


def switching(rows_seen: int) -> int:
    """Changes within epochs, past n and back again."""
    return (4, 9, 1, 50, 6)[rows_seen // 17 % 5]


PLANS = [growing, switching]
ENDS = [ONE_BY_ONE, ChunkEnds(max_batches=4), ChunkEnds(max_rows=20, every_steps=(3,))]


def textbook(batch_size: Callable[[int], int], order: Order, tail: str, n_batches: int) -> list[Planned]:
    """(rows, m, position after) of each batch: a plain loop that takes what is left of the epoch, batch by batch."""
    found: list[Planned] = []
    epoch, rows_seen = 0, 0
    while True:
        left = order.rows(epoch).tolist()
        done = 0
        while left:
            m = min(batch_size(rows_seen), N)
            if len(left) < m and tail == "drop":
                break
            parts = -(-len(left) // m)
            take = -(-len(left) // parts) if tail == "even" else min(m, len(left))
            rows = list(range(N)) if done == 0 and m == N else left[:take]
            left = left[take:]
            done, rows_seen = done + take, rows_seen + take
            over = not left or (tail == "drop" and len(left) < m)
            found.append((rows, m, (epoch + 1, 0) if over else (epoch, done)))
            if len(found) == n_batches:
                return found
            if over:
                break
        epoch += 1


@pytest.mark.parametrize("tail", ["short", "even", "drop"])
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("ends", ENDS)
def test_batches_divisors_and_positions(plan: Callable[[int], int], tail: Tail, ends: ChunkEnds) -> None:
    order = Order(N, seed=6)
    expected = textbook(plan, order, tail, 60)
    found: list[Planned] = []
    for chunk in chunks(source(N, WIDTH), order, batch_size=plan, tail=tail, ends=ends):
        for j in range(len(chunk)):
            at = chunk.cursor_after(j)
            found.append((chunk.row_ids(j).tolist(), int(chunk.divisors[j]), (at.epoch, at.row)))
        if len(found) >= 60:
            break
    assert found[:60] == expected


@pytest.mark.parametrize("tail", ["short", "even"])
@pytest.mark.parametrize("plan", PLANS)
def test_every_row_once_an_epoch_across_the_change(plan: Callable[[int], int], tail: Tail) -> None:
    epoch, seen = 0, []
    for chunk in chunks(source(N, WIDTH), Order(N, seed=1), batch_size=plan, tail=tail, ends=ONE_BY_ONE):
        seen += chunk.rows.tolist()
        if chunk.after.epoch > epoch:
            assert sorted(seen) == list(range(N))
            epoch, seen = epoch + 1, []
        if epoch == 8:
            break


@pytest.mark.parametrize("plan", PLANS)
def test_each_update_divides_by_the_batch_size_of_its_own_step(plan: Callable[[int], int]) -> None:
    x, y, w = arrays(N, WIDTH)
    order, model = Order(N, seed=6), mlp(WIDTH)
    options = {"learning_rate": 1e-2}  # small: so that 40 steps stay where gradients are of size 1
    training = Training(
        model, source(N, WIDTH, weighted=True), order, plan, options=options, mean_weight=float(w.mean())
    )
    flow = training.each()
    for rows, m, _ in textbook(plan, order, "short", 40):
        before = [p.detach().numpy().copy() for p in model.parameters()]
        next(flow)
        moved = np.concatenate(
            [(a - p.detach().numpy()).ravel() for a, p in zip(before, model.parameters(), strict=True)]
        )
        expected = weighted_gradient(before, rows, x=x, y=y, w=w, divisor=m * w.mean())
        np.testing.assert_allclose(moved / 1e-2, expected, atol=1e-12)  # float64: 1e-16 / 1e-2, and its summation


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("tail", ["short", "even", "drop"])
def test_a_run_resumed_from_any_step_equals_the_whole(plan: Callable[[int], int], tail: Tail) -> None:
    def training() -> Training:
        return Training(mlp(WIDTH, dropout=0.2), source(N, WIDTH), Order(N, seed=6), plan, optimizer="adam", tail=tail)

    whole = training().run(24)
    for cut in range(1, 24, 2):
        first, second = training().run(cut), training()
        second.engine.restore(first.engine.capture())
        second.progress = first.progress
        second.run(24, ends=ChunkEnds(max_batches=5, every_steps=(24,)))
        assert torch.equal(flat(second.model), flat(whole.model))
        assert second.progress == whole.progress
        assert first.losses + second.losses == whole.losses


def test_a_change_made_by_hand_at_a_stop_goes_on_from_the_same_row() -> None:
    order = Order(N, seed=0)
    flow = chunks(source(N, WIDTH), order, batch_size=4, ends=ONE_BY_ONE)
    first = [next(flow) for _ in range(3)]
    rest = chunks(
        source(N, WIDTH),
        order,
        batch_size=10,
        start=first[-1].after,
        rows_seen=12,
        steps_done=3,
        ends=ChunkEnds(at_epoch_end=True),
    )
    second = next(rest)
    assert first[-1].after == Cursor(0, 12)
    assert np.concatenate([*(c.rows for c in first), second.rows]).tolist() == order.rows(0).tolist()
    assert second.sizes.tolist() == [10, 7]
    assert second.divisors.tolist() == [10.0, 10.0]
