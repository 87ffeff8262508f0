"""Random bits from a key and a counter: dropout masks without state, drawn again in the backward pass instead of kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from mbgd.compiled.cache import always_njit
from mbgd.compiled.instructions import INT, intrinsic

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_A, _B, _C, _D = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(1)


@always_njit(fastmath=False, nogil=True)
def _mixed(word: Any) -> Any:
    """SplitMix64's finaliser after one step of its counter (Steele, Lea and Flood 2014, figure 15)."""
    word = word + _GOLDEN
    word = (word ^ (word >> _A)) * _FIRST
    word = (word ^ (word >> _B)) * _SECOND
    return word ^ (word >> _C)


@always_njit(fastmath=False, nogil=True)
def mask_key(seed: Any, step: Any, layer: Any) -> Any:
    """The 64-bit key of one layer's mask in one step; once a mask, so its cost does not count."""
    return _mixed(_mixed(_mixed(np.uint64(seed)) ^ np.uint64(step)) ^ np.uint64(layer))


@intrinsic
def uniform_bits(context: Any, key: Any, counter: Any) -> Any:
    """Word number `counter` (below 2^32) of the sequence of a 64-bit key, uniform over uint32, in 32-bit arithmetic alone.

    The bijection lowbias32 (C. Wellons, Prospecting for Hash Functions, 2018) twice, with half of the key before each:
    with the low half alone, keys would give shifted copies of one sequence.
    """
    if key != types.uint64 or not isinstance(counter, types.Integer):
        return None

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = INT[32]
        low = builder.trunc(arguments[0], word)
        high = builder.trunc(builder.lshr(arguments[0], INT[64](32)), word)
        x = context.cast(builder, arguments[1], counter, types.uint32)

        def stirred(x: Any, shift: int, factor: int) -> Any:
            return builder.mul(builder.xor(x, builder.lshr(x, word(shift))), word(factor))

        x = stirred(stirred(builder.add(x, low), 16, 0x7FEB352D), 15, 0x846CA68B)
        x = builder.add(builder.xor(x, builder.lshr(x, word(16))), high)
        x = stirred(stirred(x, 16, 0x7FEB352D), 15, 0x846CA68B)
        return builder.xor(x, builder.lshr(x, word(16)))

    return types.uint32(key, counter), emit
