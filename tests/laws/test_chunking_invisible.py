"""Law: how many batches are gathered at once, or prefetched, never changes a bit of parameters or losses.

Dropout, momentum, row weights and an average are on, so that chance, state and every leaf of a chunk take part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from mbgd.data.order import Order, Tail
from mbgd.data.stream import ChunkEnds
from problems import ONE_BY_ONE, Training, flat, mlp, source

N = 77
DTYPES = [torch.float32, torch.float64]


Outcome = tuple[torch.Tensor, torch.Tensor, list[float]]


def outcome(
    width: int,
    dtype: torch.dtype,
    m: int,
    *,
    ends: ChunkEnds = ONE_BY_ONE,
    depth: int = 0,
    weighted: bool = True,
    tail: Tail = "short",
    epochs: int = 2,
) -> Outcome:
    last = epochs * (N // m if tail == "drop" else math.ceil(N / m))
    until = ChunkEnds(ends.max_batches, ends.max_rows, (*ends.every_steps, last), ends.at_epoch_end)
    training = Training(
        mlp(width, hidden=28, dropout=0.3, dtype=dtype),
        source(N, width, dtype=dtype, weighted=weighted),
        Order(N, seed=8),
        m,
        options={"learning_rate": 0.005, "momentum": 0.9},
        tail=tail,
        ema_decay=0.9,
    ).run(last, ends=until, depth=depth)
    assert training.updater.average is not None
    return flat(training.model), torch.cat([t.flatten() for t in training.updater.average]), training.losses


def assert_same_bits(a: Outcome, b: Outcome) -> None:
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[1], b[1])
    assert a[2] == b[2]


def other_ways() -> Iterator[tuple[ChunkEnds, int]]:
    yield from ((ChunkEnds(max_batches=k), 0) for k in (2, 7, 256))
    yield from ((ChunkEnds(max_batches=k), depth) for k, depth in ((1, 3), (7, 1)))
    yield ChunkEnds(max_rows=50, at_epoch_end=True), 0
    yield ChunkEnds(every_steps=(3, 5)), 0


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("width", [1, 13, 28, 99])
@pytest.mark.parametrize("m", [1, 7, 32])
def test_chunk_length_and_prefetch_change_nothing(m: int, width: int, dtype: torch.dtype) -> None:
    epochs = 1 if m == 1 else 2
    one_by_one = outcome(width, dtype, m, epochs=epochs)
    assert len(set(one_by_one[2])) > 1
    for ends, depth in other_ways():
        assert_same_bits(outcome(width, dtype, m, ends=ends, depth=depth, epochs=epochs), one_by_one)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("tail", ["even", "drop"])
@pytest.mark.parametrize("m", [13, 30, 77, 100])
def test_nor_with_other_tails_without_weights_and_at_full_batch(m: int, tail: Tail, dtype: torch.dtype) -> None:
    one_by_one = outcome(28, dtype, min(m, N), weighted=False, tail=tail, epochs=3)
    for ends, depth in other_ways():
        other = outcome(28, dtype, min(m, N), ends=ends, depth=depth, weighted=False, tail=tail, epochs=3)
        assert_same_bits(other, one_by_one)


def test_the_seed_of_a_step_does_change_dropout() -> None:
    """The test above would pass with a dropout that never drops: so two seeds must differ."""

    def end(seed: int) -> torch.Tensor:
        model = mlp(5, dropout=0.5)
        return flat(Training(model, source(N, 5), Order(N, seed=0), 8, seed=seed).run(3).model)

    assert torch.equal(end(1), end(1))
    assert not torch.equal(end(1), end(2))
