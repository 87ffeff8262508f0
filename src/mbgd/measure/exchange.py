"""Encoded rows in, the same rows with columns of their table taken from other rows out.

N rows · F numbers that a model takes · D columns of the table
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mbgd.data.order import IntArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Inputs:
    """Rows as a model takes them, and which column of the table each of their numbers was made of.

    A column may have become several numbers, such as the waves of a date or a flag beside a value: they move together.
    """

    values: NDArray[np.float32]  # (N, F)
    of: IntArray  # (F,) from 0 to D - 1
    names: tuple[str, ...]  # (D,)

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: IntArray) -> Inputs:
        """Rows by number, in that order."""
        return replace(self, values=self.values[rows])

    def exchanged(self, column: int, donors: Inputs) -> Inputs:
        """The same rows with one column as in `donors`, row by row; a single donor gives its own to all of them."""
        values, places = self.values.copy(), np.flatnonzero(self.of == column)
        values[:, places] = donors.values[:, places]
        return replace(self, values=values)


Predict = Callable[[Inputs], Array]
"""(N, K) predictions of rows, whatever they mean: means, or probabilities of K classes."""
