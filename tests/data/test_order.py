"""The order of rows and the sizes of batches: golden vectors, and a slow twin that sorts in plain Python."""

from __future__ import annotations

import numpy as np
import pytest

from mbgd.data.order import Cursor, Order, batch_sizes, draw, shuffle, steps_per_epoch


def by_sorting(n: int, *, seed: int, epoch: int) -> list[int]:
    """Each row draws one raw word and goes to the box named by its bits above those that n - 1 needs; boxes in order.
    Two rows of one box would need the second pass, which so few rows never meet."""
    stream = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(0, epoch)))
    row_bits = len(f"{max(1, n - 1):b}")
    boxes = [int(word) >> row_bits for word in stream.random_raw(n)]
    assert len(set(boxes)) == n
    return sorted(range(n), key=boxes.__getitem__)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 63, 64, 65, 1000, 3001])
def test_the_shuffle_is_a_sort_by_random_words(n: int) -> None:
    for epoch in range(4):
        assert shuffle(n, seed=12, epoch=epoch).tolist() == by_sorting(n, seed=12, epoch=epoch)


def test_golden_orders() -> None:
    """Part of the file format: a saved position means the same rows for ever."""
    assert shuffle(10, seed=0, epoch=0).tolist() == [7, 6, 8, 3, 2, 4, 1, 5, 0, 9]
    assert shuffle(10, seed=0, epoch=1).tolist() == [2, 5, 1, 8, 6, 7, 0, 4, 3, 9]
    assert draw(10, seed=0, epoch=0).tolist() == [4, 2, 3, 2, 2, 0, 6, 4, 9, 7]


def test_golden_order_of_rows_that_share_boxes() -> None:
    """Of 2^22 rows a few share a box, and the second pass orders those: all the others stand by their first words."""
    n = 1 << 22
    order = shuffle(n, seed=0, epoch=0)
    stream = np.random.Philox(np.random.SeedSequence(0, spawn_key=(0, 0)))
    box = (stream.random_raw(n) >> np.uint64(22))[order]
    assert (box[1:] >= box[:-1]).all()
    shared = np.flatnonzero(box[1:] == box[:-1])
    found = [order[place : place + 2].tolist() for place in shared]
    words = stream.random_raw(2 * len(shared)).tolist()  # two fresh words a pair, for its rows in rising order
    pairs = [sorted(pair) if words[2 * k] < words[2 * k + 1] else sorted(pair)[::-1] for k, pair in enumerate(found)]
    assert found == pairs == [[401468, 1346477], [2631588, 2068523], [1041341, 17379], [4162323, 3369634]]


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
