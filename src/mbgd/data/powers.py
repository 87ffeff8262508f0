"""The power of two of numbers so large or small that their squares overflow or underflow; scaled by it, they lose no digit.

n numbers · T columns
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

NOTHING = -1100  # of columns of zeros: below the power of any other number
FAR = 200  # the power from which on numbers are scaled: squares of 2^200 and 2^-200 may be added up by the billion

Powers = NDArray[np.int64]


def powers(values: ArrayLike, *, beyond: int = FAR) -> Powers:
    """(T,) of columns (n, T), or one of (n,): 0 where the largest size lies between 2^-beyond and 2^beyond, else its own power p,
    2^(p-1) <= size < 2^p. What is not finite has none."""
    sizes = np.abs(np.asarray(values, np.float64))
    largest = sizes.max(axis=0, initial=0.0, where=np.isfinite(sizes))
    power = np.frexp(largest)[1].astype(np.int64)
    found: Powers = np.where(largest == 0, NOTHING, np.where(np.abs(power) <= beyond, 0, power))
    return found


def scaled(values: ArrayLike, power: Powers | int) -> NDArray[np.float64]:
    """values * 2^power, exact but for what becomes too small; the numbers themselves where nothing is to be done."""
    array: NDArray[np.float64] = np.asarray(values, np.float64)
    return np.ldexp(array, power) if np.any(power) else array


def deviation(values: ArrayLike) -> float:
    """The standard deviation (divisor n) of numbers (n,), whatever their size."""
    power = powers(values)
    return float(scaled(scaled(values, -power).std(), power))
