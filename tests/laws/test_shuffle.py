"""Law: the shuffle is exactly uniform. Bijection by counting; T1 to T5 by statistics that also reject known-bad shuffles."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

import mbgd.data.shuffle
from laws.shuffle_statistics import (
    BAD_SHUFFLES,
    Plan,
    Shuffler,
    batch_family,
    blocks_in_order,
    buffer_of_a_tenth,
    correct,
    cycle_law,
    cycles_of,
    epoch_sum_error,
    fixed_point_law,
    holm,
    inversion_law,
    inversions_of,
    order_family,
    plans,
)
from mbgd.data.order import Order, draw, shuffle
from mbgd.data.stream import ChunkEnds, chunks
from oracles import fisher_yates, halves, linear_row_gradient
from problems import arrays, source


def ours(n: int, repeats: int) -> np.ndarray:
    return np.stack([shuffle(n, seed=2024, epoch=epoch) for epoch in range(repeats)])


# ---------------------------------------------------------------- bijection


def assert_bijection(n: int, order: np.ndarray) -> None:
    assert order.dtype == np.int64
    assert order.shape == (n,)
    assert np.array_equal(np.bincount(order, minlength=n), np.ones(n, np.int64))


def test_every_n_up_to_4096_is_a_bijection() -> None:
    for n in range(1, 4097):
        assert_bijection(n, shuffle(n, seed=n % 7, epoch=n % 5))


@pytest.mark.parametrize("n", sorted({2**k + d for k in range(12, 21) for d in (-1, 0, 1)} | {2**22 - 1, 2**22 + 1}))
def test_powers_of_two_and_their_neighbours_are_bijections(n: int) -> None:
    assert_bijection(n, shuffle(n, seed=0, epoch=3))


@pytest.mark.slow
@pytest.mark.parametrize("n", [2**k + d for k in (21, 22) for d in (-1, 0, 1)])
def test_millions_of_rows_are_bijections(n: int) -> None:
    for epoch in range(3):
        assert_bijection(n, shuffle(n, seed=1, epoch=epoch))


@pytest.mark.parametrize("cached", [1, 3, 64])
def test_blocks_leave_a_bijection(cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mbgd.data.shuffle, "CACHED_ROWS", cached)
    for n in (1, 2, 3, 10, 257, 3000):
        assert_bijection(n, shuffle(n, seed=0, epoch=0))


# ---------------------------------------------------------------- T1 to T4


@pytest.mark.usefixtures("compiled_shuffles")
def test_our_shuffle_is_not_rejected() -> None:
    assert holm(order_family(ours)) == []


@pytest.mark.usefixtures("compiled_shuffles")
@pytest.mark.parametrize("cached", [1, 3, 7])
def test_nor_in_two_passes(cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of so few rows that every shuffle tested has many, some of them empty."""
    monkeypatch.setattr(mbgd.data.shuffle, "CACHED_ROWS", cached)
    assert holm(order_family(ours)) == []


@pytest.mark.usefixtures("compiled_shuffles")
def test_epochs_and_seeds_do_not_follow_from_each_other() -> None:
    """The place of each row in the next epoch, or in another seed's, given its place in this one: uniform again."""

    def next_epoch(n: int, repeats: int) -> np.ndarray:
        return np.stack(
            [_relative(shuffle(n, seed=5, epoch=r), shuffle(n, seed=5, epoch=r + 1)) for r in range(repeats)]
        )

    def neither_is_the_other(n: int, repeats: int) -> np.ndarray:
        """seed + epoch would make these the identity."""
        return np.stack(
            [_relative(shuffle(n, seed=r, epoch=1), shuffle(n, seed=r + 1, epoch=0)) for r in range(repeats)]
        )

    for relation in (next_epoch, neither_is_the_other):
        assert holm(order_family(relation)) == []


def _relative(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.argsort(first)[second]


@pytest.mark.parametrize("name", BAD_SHUFFLES)
def test_known_bad_shuffles_are_rejected(name: str) -> None:
    p_values = order_family(BAD_SHUFFLES[name])
    assert holm(p_values)
    assert min(p_values.values()) < 1e-9  # no matter of luck


def test_a_correct_shuffle_by_another_method_passes_too() -> None:
    assert holm(order_family(correct)) == []


def idle(order: np.ndarray, ends: np.ndarray, words: np.random.Philox) -> np.ndarray:
    """A second pass that does nothing."""
    return order


@pytest.mark.parametrize("cached", [2, 1 << 20])
def test_a_shuffle_without_its_second_pass_would_be_rejected(cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mbgd.data.shuffle, "CACHED_ROWS", cached)
    monkeypatch.setattr(mbgd.data.shuffle, "_swapped", idle)
    assert holm(order_family(ours))


def test_a_shuffle_that_never_leaves_an_entry_where_it_is_would_be_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sattolo's: a draw below the bound less 1."""
    below = mbgd.data.shuffle._below
    monkeypatch.setattr(mbgd.data.shuffle, "_below", lambda bounds, words: below(bounds - np.uint64(1), words))
    assert holm(order_family(ours))


# ---------------------------------------------------------------- two forms, one order


def plain_and_compiled(n: int, monkeypatch: pytest.MonkeyPatch, **key: int) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for least in (1 << 62, 0):
        monkeypatch.setattr(mbgd.data.shuffle, "COMPILED_ROWS", least)
        found.append(shuffle(n, **key))
    return found[0], found[1]


@pytest.mark.parametrize("cached", [1, 3, 64, 1 << 15])
def test_plain_and_compiled_shuffles_are_one(cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mbgd.data.shuffle, "CACHED_ROWS", cached)
    for n in (1, 2, 3, 10, 257, 3000, 4095, 4096, 40_000):
        plain, compiled = plain_and_compiled(n, monkeypatch, seed=n, epoch=3)
        assert_bijection(n, compiled)
        assert np.array_equal(plain, compiled)


class Given:
    """Words that make draws of 0, 1 or the last: the low ones are passed over for a bound that does not divide 2^32."""

    def __init__(self, seed: int) -> None:
        self.chance = np.random.default_rng(seed)

    def random_raw(self, count: int) -> np.ndarray:
        halves = self.chance.choice(np.array([0, 1, 2**31, 2**32 - 1], np.uint32), 2 * count)
        return halves.view("<u8")


@pytest.mark.parametrize("cached", [5, 1 << 15])
def test_both_pass_over_the_same_draws(cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the draws or so are passed over, so that the words of the first call are not enough for either."""
    monkeypatch.setattr(mbgd.data.shuffle, "CACHED_ROWS", cached)
    monkeypatch.setattr(mbgd.data.shuffle, "counter", lambda seed, purpose, epoch: Given(seed))
    for n in (3, 10, 200, 1500):
        plain, compiled = plain_and_compiled(n, monkeypatch, seed=n, epoch=0)
        assert_bijection(n, compiled)
        assert np.array_equal(plain, compiled)
        if n <= cached:
            assert plain.tolist() == fisher_yates(list(range(n)), halves(Given(n)))  # type: ignore[arg-type]


def test_each_number_below_a_bound_has_as_many_draws_as_any_other() -> None:
    """By counting all draws of 8 bits, with the rule of the docs on 2^8 in place of 2^32."""
    for bound in range(1, 257):
        kept = [u * bound >> 8 for u in range(256) if u * bound % 256 >= 256 % bound]
        assert set(Counter(kept).values()) == {256 // bound}


# ---------------------------------------------------------------- T5 and the epoch identity, on batches

N, M = 150, 16  # nine full batches and one of six rows
EPOCHS = 3000


def row_gradients() -> np.ndarray:
    """Rows sorted by label, as files often are, at fixed parameters of a linear model."""
    x, y, _ = arrays(N, 4, labels=True)
    order = np.argsort(y, kind="stable")
    return np.stack([linear_row_gradient(np.full(5, 0.3), x[i], y[i]) for i in order])


def our_plans(epochs: int) -> list[Plan]:
    found: list[Plan] = [[] for _ in range(epochs)]
    for chunk in chunks(source(N, 1), Order(N, seed=2024), batch_size=M, ends=ChunkEnds(at_epoch_end=True)):
        epoch = chunk.before.epoch
        found[epoch] += [(chunk.row_ids(j), float(chunk.divisors[j])) for j in range(len(chunk))]
        if chunk.after.epoch == epochs:
            return found
    raise AssertionError("the stream ended")


def test_gradients_of_our_batches_have_the_law_of_a_uniform_shuffle() -> None:
    gradients, found = row_gradients(), our_plans(EPOCHS)
    assert holm(batch_family(found, gradients, m=M)) == []
    assert max(epoch_sum_error(plan, gradients, m=M) for plan in found[:100]) < 1e-12  # float64 sums of 150 numbers


@pytest.mark.parametrize("shuffler", [buffer_of_a_tenth, blocks_in_order])
def test_gradients_of_badly_shuffled_batches_are_rejected(shuffler: Shuffler) -> None:
    assert holm(batch_family(plans(shuffler(N, EPOCHS), m=M), row_gradients(), m=M))


def test_a_random_batch_of_sampling_with_replacement_is_rejected_by_its_variance() -> None:
    orders = [draw(N, seed=1, epoch=epoch) for epoch in range(EPOCHS)]
    rejected = holm(batch_family(plans(orders, m=M), row_gradients(), m=M))
    assert rejected
    assert not any("mean" in name for name in rejected)  # unbiased, but (n-1)/n S/m is wider than (S/m)(1 - m/n)


def test_a_dropped_last_batch_is_rejected() -> None:
    gradients = row_gradients()
    assert min(epoch_sum_error(plan[:-1], gradients, m=M) for plan in our_plans(50)) > 1e-3


def test_a_short_batch_divided_by_its_own_size_is_rejected() -> None:
    gradients = row_gradients()
    wrong = [[(rows, float(len(rows))) for rows, _ in plan] for plan in our_plans(50)]
    assert min(epoch_sum_error(plan, gradients, m=M) for plan in wrong) > 1e-3


# ---------------------------------------------------------------- the statistics themselves


def test_holm_by_hand() -> None:
    """Level 0.05, four of them: 0.01 <= 0.05/4, 0.02 > 0.05/3, so nothing after the first is rejected, not even 0.03."""
    assert holm({"a": 0.03, "b": 0.01, "c": 0.02, "d": 0.9}, level=0.05) == ["b"]
    assert holm({"a": 0.012, "b": 0.01}, level=0.05) == ["b", "a"]
    assert holm({"a": 0.5}, level=0.05) == []


def test_the_laws_by_listing_every_order() -> None:
    n = 6
    orders = np.array(list(permutations(range(n))))
    for values, law in (
        (inversions_of(orders), inversion_law(n)),
        (cycles_of(orders), cycle_law(n)),
        ((orders == np.arange(n)).sum(axis=1), fixed_point_law(n)),
    ):
        seen = np.bincount(values, minlength=len(law)) / math.factorial(n)
        np.testing.assert_allclose(seen, law, atol=1e-12)


def test_good_p_values_are_spread_out() -> None:
    """A family that never rejects anything would pass as well: so its p-values must look uniform."""
    p_values = np.array(list(order_family(ours).values()))
    assert 0.3 < np.median(p_values) < 0.7
    assert (p_values < 0.2).any()
    assert (p_values > 0.8).any()


def test_sampling_with_replacement_is_uniform_and_independent() -> None:
    drawn = np.concatenate([draw(7, seed=3, epoch=epoch) for epoch in range(3000)])
    counts = Counter(zip(drawn[::2].tolist(), drawn[1::2].tolist(), strict=False))
    expected = len(drawn) / 2 / 49
    statistic = sum((counts[i, j] - expected) ** 2 / expected for i in range(7) for j in range(7))
    assert 20 < statistic < 84  # chi-square with 48 degrees: outside with probability 0.001
