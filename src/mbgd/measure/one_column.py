"""One column and the target in, the share of the target that the column explains alone out; learned on half the rows, scored
on the other.

N rows, in an order of chance; the first half teaches
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
BINS = 32
ROWS_OF_A_BIN = 8  # at least, on average


def binned(x_N: Array) -> Codes:
    """Which quantile of the first half each value lies in, by at most 32 equal parts; missing values have a bin of their own."""
    taught = np.sort(x_N[: len(x_N) // 2])
    taught = taught[~np.isnan(taught)]
    n_bins = min(BINS, max(1, len(taught) // ROWS_OF_A_BIN))
    edges = np.unique(taught[np.arange(1, n_bins) * len(taught) // n_bins])
    return np.where(np.isnan(x_N), len(edges) + 1, np.searchsorted(edges, x_N, side="right"))


def variance_explained(bin_N: Codes, y_N: Array, *, x_N: Array | None = None) -> float:
    """R2 on the second half of the means of the bins, or of a line through x and the means of what it leaves.

    The line is for heavy tails, whose last bin is wide. Predictions stay in the range of the first half. 0 where y is one value.
    """
    y_N = _unit(y_N)
    half, line_N = len(y_N) // 2, np.zeros(len(y_N))
    if x_N is not None:
        line_N = _line(x_N, y_N)
    rest = (y_N - line_N)[:half]
    n_bins = int(bin_N.max()) + 1
    counts = np.bincount(bin_N[:half], minlength=n_bins)
    means = np.bincount(bin_N[:half], rest, minlength=n_bins) / np.maximum(counts, 1)
    means[counts == 0] = rest.mean()
    found = np.clip(line_N[half:] + means[bin_N[half:]], y_N[:half].min(), y_N[:half].max())
    spread = np.square(y_N[half:] - y_N[half:].mean()).sum()
    return float(1 - np.square(y_N[half:] - found).sum() / spread) if spread > 0 else 0.0


def entropy_explained(bin_N: Codes, y_N: Codes) -> float:
    """1 - log loss of the shares of classes in each bin / log loss of their shares in all, on the second half.

    Each bin counts one row more, of the shares in all, and these one more, spread evenly over the classes.
    """
    half, n_classes = len(y_N) // 2, int(y_N.max()) + 1
    share_C = (np.bincount(y_N[:half], minlength=n_classes) + 1 / n_classes) / (half + 1)
    prior = share_C[y_N[half:]]
    pairs, counts = np.unique(bin_N[:half] * n_classes + y_N[:half], return_counts=True)
    wanted = bin_N[half:] * n_classes + y_N[half:]
    place = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    hits = np.where(pairs[place] == wanted, counts[place], 0)
    of_bin = np.bincount(bin_N[:half], minlength=int(bin_N.max()) + 1)[bin_N[half:]]
    whole = np.log(prior).mean()
    return float(1 - np.log((hits + prior) / (of_bin + 1)).mean() / whole) if whole < 0 else 0.0


def _line(x_N: Array, y_N: Array) -> Array:
    """Least squares through the first half, level beyond its range; the mean of y where x is missing, 0 without a line."""
    there_N = ~np.isnan(x_N)
    taught = there_N.copy()
    taught[len(x_N) // 2 :] = False
    if not taught.any():
        return np.zeros(len(x_N))
    x_N = _unit(np.clip(x_N, x_N[taught].min(), x_N[taught].max()))
    x, y = x_N[taught], y_N[taught]
    spread = np.square(x - x.mean()).sum()
    if not spread > 0:
        return np.zeros(len(x_N))
    slope = (x - x.mean()) @ (y - y.mean()) / spread
    line_N: Array = np.where(there_N, (x_N - x.mean()) * slope + y.mean(), y.mean())
    return line_N


def _unit(values_N: Array) -> Array:
    """Divided by the largest size, so that no square overflows."""
    sizes = np.abs(values_N)
    largest = np.max(sizes, initial=0.0, where=~np.isnan(sizes))
    return values_N / largest if largest > 0 else values_N
