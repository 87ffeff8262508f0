"""The order of rows and the sizes of batches: golden vectors, and slow twins in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest

import mbgd.data.shuffle
from mbgd.data.order import Cursor, Order, batch_sizes, draw, shuffle, steps_per_epoch
from oracles import fisher_yates, halves


def in_blocks(n: int, *, seed: int, epoch: int, n_blocks: int) -> list[int]:
    """Two passes in plain Python: rows dealt to blocks by 16-bit parts of the words, then each block by Fisher-Yates."""
    stream = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(0, epoch)))
    words = stream.random_raw(math.ceil(n / 4)).tolist()
    parts = [word >> shift & 0xFFFF for word in words for shift in (0, 16, 32, 48)]
    blocks = [[row for row in range(n) if parts[row] % n_blocks == block] for block in range(n_blocks)]
    rest = halves(stream)
    return [row for block in blocks for row in fisher_yates(block, rest)]


@pytest.mark.parametrize(
    ("n", "cached", "n_blocks"), [(2, 1, 2), (10, 4, 4), (64, 63, 2), (1000, 250, 4), (999, 10, 128)]
)
def test_more_rows_than_fit_a_block_take_two_passes(
    n: int, cached: int, n_blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mbgd.data.shuffle, "CACHED_ROWS", cached)
    for epoch in range(3):
        expected = in_blocks(n, seed=12, epoch=epoch, n_blocks=n_blocks)
        assert shuffle(n, seed=12, epoch=epoch).tolist() == expected


def test_golden_orders() -> None:
    """Part of the file format: a saved position means the same rows for ever."""
    assert shuffle(10, seed=0, epoch=0).tolist() == [4, 8, 1, 0, 2, 5, 9, 6, 7, 3]
    assert shuffle(10, seed=0, epoch=1).tolist() == [4, 9, 3, 5, 7, 8, 2, 0, 6, 1]
    assert draw(10, seed=0, epoch=0).tolist() == [4, 2, 3, 2, 2, 0, 6, 4, 9, 7]


def test_nothing_of_a_shuffle_depends_on_numpys_global_state() -> None:
    first = shuffle(1000, seed=3, epoch=1)
    np.random.seed(5)
    assert np.array_equal(shuffle(1000, seed=3, epoch=1), first)


def test_samplings_over_all_and_over_chosen_rows() -> None:
    ids = np.array([4, 40, 400, 4000, 7], dtype=np.int64)
    every, some = Order(5, seed=2), Order(5, seed=2, chosen=ids)
    assert some.rows(3).tolist() == ids[every.rows(3)].tolist()
    assert Order(5, seed=2, sampling="natural").rows(9).tolist() == [0, 1, 2, 3, 4]
    assert Order(5, seed=2, sampling="natural", chosen=ids).rows(9).tolist() == ids.tolist()
    drawn = Order(5, seed=2, sampling="iid", chosen=ids)
    assert set(drawn.rows(0).tolist()) <= set(ids.tolist())
    assert any(len(set(drawn.rows(epoch).tolist())) < 5 for epoch in range(5))  # with replacement
    assert np.array_equal(drawn.rows(1), ids[draw(5, seed=2, epoch=1)])


@pytest.mark.parametrize("n", [1, 2, 3, 1000, 2**20 + 7])
def test_draws_lie_within_the_rows(n: int) -> None:
    drawn = draw(n, seed=0, epoch=0)
    assert drawn.shape == (n,)
    assert drawn.dtype == np.int64
    assert drawn.min() >= 0
    assert drawn.max() < n


def test_words_past_the_last_multiple_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """2^64 = 1 mod 3: the greatest word belongs to no whole multiple of 3."""

    class Given:
        words = iter(([2**64 - 1, 4, 2**64 - 2], [2**64 - 1], [8]))

        def random_raw(self, count: int) -> np.ndarray:
            return np.array(next(self.words), dtype=np.uint64)[:count]

    monkeypatch.setattr("mbgd.data.order.counter", lambda *key: Given())
    assert draw(3, seed=0, epoch=0).tolist() == [8 % 3, 4 % 3, (2**64 - 2) % 3]


@pytest.mark.parametrize("tail", ["short", "even", "drop"])
def test_sizes_are_the_same_at_once_and_batch_by_batch(tail: str) -> None:
    for left in range(1, 40):
        for m in range(1, 14):
            at_once = batch_sizes(left, batch_size=m, tail=tail)  # type: ignore[arg-type]  # from the list above
            one_by_one, rest = [], left
            while len(size := batch_sizes(rest, batch_size=m, tail=tail, limit=1)):  # type: ignore[arg-type]
                one_by_one.append(int(size[0]))
                rest -= one_by_one[-1]
            assert at_once.tolist() == one_by_one
            assert len(at_once) == steps_per_epoch(left, batch_size=m, tail=tail)  # type: ignore[arg-type]
            assert rest == (left % m if tail == "drop" else 0)


def test_sizes_by_hand() -> None:
    assert batch_sizes(100, batch_size=32, tail="short").tolist() == [32, 32, 32, 4]
    assert batch_sizes(100, batch_size=32, tail="even").tolist() == [25, 25, 25, 25]
    assert batch_sizes(101, batch_size=32, tail="even").tolist() == [26, 25, 25, 25]
    assert batch_sizes(100, batch_size=32, tail="drop").tolist() == [32, 32, 32]
    assert batch_sizes(100, batch_size=32, tail="short", limit=2).tolist() == [32, 32]
    assert batch_sizes(31, batch_size=32, tail="drop").tolist() == []


def test_positions_are_ordered_by_epoch_then_row() -> None:
    assert Cursor(0, 99) < Cursor(1, 0) < Cursor(1, 5)
