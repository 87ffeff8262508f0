from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from mbgd.seeds import _mix
from mbgd.step.fused.chance import mask_key, uniform_bits

N = 1 << 17
MASK = (1 << 32) - 1


@njit
def _fill(key: Any, first: Any, out: Any) -> None:
    for i in range(out.shape[0]):
        out[i] = uniform_bits(key, first + i)


def words(key: int, n: int = N, *, first: int = 0) -> NDArray[np.uint32]:
    out = np.empty(n, np.uint32)
    _fill(np.uint64(key), first, out)
    return out


def signs(key: int) -> NDArray[np.float32]:
    """Bits as -1 and 1, shape (N, 32)."""
    return ((words(key)[:, None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)).astype(np.float32) * 2 - 1


# the mean of N products of independent signs has standard deviation 1 / sqrt(N); 6 of these are passed by chance
# once in 5e8 comparisons, and no test here makes more than 3e5
LIMIT = 6 / np.sqrt(N)
# keys as the engine makes them, and keys one bit apart, which it never makes
HASHED = [mask_key(seed, step, layer) for seed, step, layer in itertools.product((0, 1), (0, 1, 2), (0, 1))]
RAW = [0, 1, 2, 1 << 31, 1 << 32, 1 << 40, 1 << 63]


def lowbias32(x: int) -> int:
    """The published function in plain integers."""
    x ^= x >> 16
    x = x * 0x7FEB352D & MASK
    x ^= x >> 15
    x = x * 0x846CA68B & MASK
    return x ^ x >> 16


@pytest.mark.parametrize("key", [0, 0x0123456789ABCDEF, (1 << 64) - 1])
def test_words_are_the_published_bijection_twice_with_half_of_the_key_before_each(key: int) -> None:
    first = MASK - 20  # the counter is a number below 2^32; past it the sequence comes again
    expected = [lowbias32(lowbias32((first + i + key) & MASK) + (key >> 32) & MASK) for i in range(40)]
    assert words(key, 40, first=first).tolist() == expected


@pytest.mark.parametrize(("seed", "step", "layer"), [(0, 0, 0), (7, 123, 2), (1 << 63, 1 << 40, 5)])
def test_keys_are_splitmix_of_seed_step_and_layer(seed: int, step: int, layer: int) -> None:
    assert mask_key(np.uint64(seed), step, layer) == _mix(_mix(_mix(seed) ^ step) ^ layer)


@pytest.mark.parametrize("key", [*HASHED[:4], *RAW])
def test_every_bit_is_balanced_and_tells_nothing_of_another(key: int) -> None:
    bits = signs(key)
    assert abs(bits.mean(0)).max() < LIMIT
    together = bits.T @ bits / N - np.eye(32)
    assert abs(together).max() < LIMIT


@pytest.mark.parametrize("lag", [1, 2, 7, 28, 64, 128, 1000])
def test_neighbouring_counters_are_not_correlated(lag: int) -> None:
    for key in (HASHED[0], 0):
        bits = signs(key)
        assert abs(bits[:-lag].T @ bits[lag:] / (N - lag)).max() < 1.01 * LIMIT


@pytest.mark.parametrize("keys", [HASHED, RAW], ids=["hashed", "raw"])
def test_masks_of_two_keys_are_not_correlated_and_no_shifted_copies(keys: list[int]) -> None:
    bits = {key: signs(key) for key in keys}
    for one, other in itertools.combinations(keys, 2):
        assert abs(bits[one].T @ bits[other] / N).max() < LIMIT
    # raw keys 0, 1 and 2 start at neighbouring places of one sequence before the second half of the key comes in: their shift
    # by one is the same sequence where only the low half differs, which is why the engine hashes its keys
    if keys is HASHED:
        spans = [frozenset(words(key, 4096).tolist()) for key in keys]
        for one, other in itertools.combinations(spans, 2):
            assert len(one & other) < 10  # 4096^2 / 2^32 = 0.004 in common by chance


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_threshold_keeps_its_share_in_every_stretch(share: float) -> None:
    kept = words(HASHED[3]) < np.uint32(share * 2**32)
    stretches = kept.reshape(-1, 128).sum(1)
    expected = 128 * share * (1 - share)
    assert abs(kept.mean() - share) < 5 * np.sqrt(share * (1 - share) / N)
    # counts of 128 scatter as a binomial does: the variance of 1024 of them is known to sqrt(2 / 1024) of itself
    assert stretches.var() == pytest.approx(expected, rel=5 * np.sqrt(2 / len(stretches)))


def test_it_is_vectorised_in_32_bits() -> None:
    words(0, 3)
    assembly = _fill.inspect_asm(_fill.signatures[0])
    if "xmm" not in assembly:
        pytest.skip("it counts instructions of x86, and this is another processor")
    assert len(re.findall(r"\bv?pmul(?:ld|udq)\b", assembly)) >= 4
