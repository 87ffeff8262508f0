"""Chance as a pure function: golden values, distinct streams for distinct keys, even hashes."""

from __future__ import annotations

import numpy as np
from scipy import stats

from mbgd.seeds import Purpose, counter, generator, hash_rows, step_seed

M64 = (1 << 64) - 1


def splitmix(state: int) -> int:
    """java.util.SplittableRandom's nextLong, as published: add the golden gamma, then mix64 (variant 13)."""
    z = (state + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def test_the_mixer_by_published_values() -> None:
    """SplitMix64 from state 0 gives these first numbers (Vigna's reference implementation)."""
    state, found = 0, []
    for _ in range(3):
        found.append(splitmix(state))
        state = (state + 0x9E3779B97F4A7C15) % 2**64
    assert found == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_step_seeds_and_hashes_chain_the_mixer() -> None:
    """Twins written from the layout: seed, then purpose, then step or row, each mixed in turn."""
    for seed in (0, 1, 12345, 2**63 + 5):
        keyed = splitmix((seed + 0x9E3779B97F4A7C15) % 2**64)
        for step in (0, 1, 2**40):
            word = splitmix(splitmix(keyed ^ int(Purpose.STEP)) ^ step)
            assert step_seed(seed, step) % 2**64 == word
            assert -(2**63) <= step_seed(seed, step) < 2**63
        rows = np.array([0, 1, 2, 10**12], dtype=np.int64)
        key = splitmix(keyed ^ int(Purpose.TEST_ROWS))
        hashed = hash_rows(rows, seed=seed, purpose=Purpose.TEST_ROWS)
        assert hashed.dtype == np.uint64
        assert hashed.tolist() == [splitmix(int(row) ^ key) for row in rows]


def test_golden_values() -> None:
    """Saved runs depend on them: purposes, seeds and words never change."""
    assert {purpose.name: int(purpose) for purpose in Purpose} == {
        "SHUFFLE": 0,
        "IID": 1,
        "INIT": 2,
        "STEP": 3,
        "TEST_ROWS": 4,
        "VALIDATION_ROWS": 5,
        "SAMPLE": 6,
        "MEMBER": 8,
        "CHECKED_ROWS": 9,
    }
    assert [step_seed(0, 0), step_seed(0, 1), step_seed(7, 3)] == [
        8417652680400573300,
        -6630797481550155584,
        7362018936073737808,
    ]
    assert counter(0, Purpose.SHUFFLE, 0).random_raw(2).tolist() == [14946354705293191919, 10074248136150883599]
    assert hash_rows(np.arange(2), seed=0, purpose=Purpose.VALIDATION_ROWS).tolist() == [
        12048420501576131542,
        12172448922162590001,
    ]


def test_distinct_keys_never_share_a_stream() -> None:
    first_words = [
        int(counter(seed, purpose, *key).random_raw(1)[0])
        for seed in (0, 1, 2)
        for purpose in (Purpose.SHUFFLE, Purpose.IID, Purpose.SAMPLE)
        for key in ((), (0,), (1,), (0, 0), (1, 0), (0, 1))
    ]
    assert len(set(first_words)) == len(first_words)
    steps = [step_seed(seed, step) for seed in range(60) for step in range(60)]  # seed + step would repeat most of them
    assert len(set(steps)) == len(steps)


def test_a_generator_is_a_function_of_its_key() -> None:
    a, b = (generator(3, Purpose.SAMPLE, 4).integers(0, 1000, 5) for _ in range(2))
    assert np.array_equal(a, b)


def test_hashes_are_even_and_rows_independent_of_each_other() -> None:
    hashed = hash_rows(np.arange(20_000, dtype=np.int64), seed=5, purpose=Purpose.TEST_ROWS)
    for shift in (0, 8, 32, 56):  # every byte looks uniform
        counts = np.bincount((hashed >> np.uint64(shift) & np.uint64(255)).astype(np.int64), minlength=256)
        assert stats.chisquare(counts).pvalue > 0.001
    held = hashed < np.uint64(M64 // 5)
    pairs = np.bincount(held[:-1].astype(int) * 2 + held[1:])  # neighbours: 16 : 4 : 4 : 1 of 25
    assert stats.chisquare(pairs, len(held[1:]) * np.array([0.64, 0.16, 0.16, 0.04])).pvalue > 0.001
    other = hash_rows(np.arange(20_000, dtype=np.int64), seed=5, purpose=Purpose.VALIDATION_ROWS)
    assert abs(np.corrcoef(hashed.astype(float), other.astype(float))[0, 1]) < 0.03  # four standard errors
