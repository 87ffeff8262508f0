"""Random numbers as a pure function of (seed, purpose, epoch or step): there is no state to save."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


class Purpose(IntEnum):
    """What a stream of random numbers is for; the numbers are part of the file format and never change."""

    SHUFFLE = 0
    IID = 1
    INIT = 2
    STEP = 3
    TEST_ROWS = 4
    VALIDATION_ROWS = 5
    SAMPLE = 6
    MEMBER = 8
    CHECKED_ROWS = 9


def counter(seed: int, purpose: Purpose, *key: int) -> np.random.Philox:
    """Raw 64-bit words by `random_raw`, pinned by Philox itself and not by any sampling routine that may change."""
    return np.random.Philox(np.random.SeedSequence(seed, spawn_key=(int(purpose), *key)))


def halves(words: np.random.Philox, at_least: int) -> NDArray[np.uint32]:
    """The next words of a stream as 32-bit halves, the low one first."""
    return words.random_raw(-(-at_least // 2)).astype("<u8", copy=False).view("<u4")


def generator(seed: int, purpose: Purpose, *key: int) -> np.random.Generator:
    """A generator for one purpose and epoch; distinct keys never share a stream (`seed + epoch` would)."""
    return np.random.Generator(counter(seed, purpose, *key))


def step_seed(seed: int, step: int) -> int:
    """The 64-bit seed of torch's generators for one step: an integer hash, since a SeedSequence costs as much as a step."""
    mixed = _mix(_mix(_mix((seed + _GOLDEN) & _MASK) ^ Purpose.STEP) ^ step)
    return mixed - (1 << 64) if mixed >> 63 else mixed


def member_seed(seed: int, member: int) -> int:
    """The seed of one of several models, counted from 0: the first has the seed itself, the others 63-bit hashes of it."""
    if member == 0:
        return seed
    return _mix(_mix(_mix((seed + _GOLDEN) & _MASK) ^ Purpose.MEMBER) ^ member) >> 1


def _mix(word: int) -> int:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014, figure 15), after one step of its counter."""
    word = (word + _GOLDEN) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


def hash_rows(rows: NDArray[np.int64], *, seed: int, purpose: Purpose) -> NDArray[np.uint64]:
    """One 64-bit hash a row number: membership of a held-out set depends on (seed, row) alone, not on how many rows follow."""
    word = rows.astype(np.uint64) ^ np.uint64(_mix(_mix((seed + _GOLDEN) & _MASK) ^ int(purpose)))
    word = word + np.uint64(_GOLDEN)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
