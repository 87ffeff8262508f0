"""Is it a uniform shuffle? A shuffler (n, repeats -> matrix of permutations) in, named p-values out, and Holm's verdict.

R repeats · n places. `P[r, i]` is the row at place i of the r-th permutation. Every law is the exact one of a uniform
permutation; only where a count or mean is compared with its chi-square or normal limit is there an approximation, and
expected counts are at least 10 there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Shuffler = Callable[[int, int], Ints]
PValues = dict[str, float]


def holm(p_values: PValues, *, level: float = 0.001) -> list[str]:
    """Names rejected by Holm's step-down procedure: the k-th smallest of N is held against level / (N - k)."""
    rejected = []
    for k, (name, p) in enumerate(sorted(p_values.items(), key=lambda entry: entry[1])):
        if p > level / (len(p_values) - k):
            break
        rejected.append(name)
    return rejected


def counts_fit(counts: Any, probabilities: Any) -> float:
    """p of Pearson's chi-square, neighbouring cells pooled until 10 are expected in each."""
    pooled: list[tuple[float, float]] = []
    total, seen, expected = float(np.sum(counts)), 0.0, 0.0
    for count, p in zip(counts, probabilities, strict=True):
        seen, expected = seen + float(count), expected + total * p
        if expected >= 10:
            pooled.append((seen, expected))
            seen = expected = 0.0
    pooled[-1] = (pooled[-1][0] + seen, pooled[-1][1] + expected)
    found, wanted = np.array(pooled).T
    return float(stats.chi2.sf(((found - wanted) ** 2 / wanted).sum(), len(pooled) - 1))


def two_sided(z: float) -> float:
    return float(2 * stats.norm.sf(abs(z)))


def first_order(shuffler: Shuffler) -> PValues:
    """T1: counts of (block of places, block of rows), against their covariance b^2/(n-1) (I - J/K) x (I - J/K), where K
    blocks hold b = n/K entries each: so (n-1)/(R b^2) times the squared deviations is chi-square with (K-1)^2 degrees."""
    found = {}
    for n, blocks, repeats in ((20, 20, 2000), (100, 25, 600), (1024, 16, 100)):
        shuffled, b = shuffler(n, repeats), n // blocks
        cells = (np.arange(n) // b) * blocks + shuffled // b
        counts = np.bincount(cells.ravel(), minlength=blocks**2)
        deviation = ((counts - repeats * b / blocks) ** 2).sum() * (n - 1) / (repeats * b * b)
        found[f"T1 n={n}"] = float(stats.chi2.sf(deviation, (blocks - 1) ** 2))
    return found


def second_order(shuffler: Shuffler) -> PValues:
    """T2: differences mod n and XOR of the rows at two places, and of the places of two rows, are uniform on 1..n-1.
    Pairs are adjacent, far apart, and powers of two apart. One pair a permutation keeps the counts independent."""
    found = {}
    for n, repeats, cells in ((64, 1500, 63), (1024, 400, 16)):
        shuffled = shuffler(n, repeats)
        bins = np.arange(1, n) * cells // n
        law = np.bincount(bins, minlength=cells) / (n - 1)
        for side, values in (("places", shuffled), ("rows", np.argsort(shuffled, axis=1))):
            for i, j in _pairs(n):
                a, b = values[:, i], values[:, j]
                for name, distance in (("difference", (b - a) % n), ("xor", a ^ b)):
                    p = counts_fit(np.bincount(bins[distance - 1], minlength=cells), law)
                    found[f"T2 {name} of {side} {i},{j} n={n}"] = p
        near = (np.diff(shuffled, axis=1) % n == 1).sum()  # successors side by side: about one a permutation
        found[f"T2 successors n={n}"] = _binomial(int(near), repeats)
    return found


def _pairs(n: int) -> list[tuple[int, int]]:
    return [
        (0, 1),
        (n // 2 - 1, n // 2),
        (n - 2, n - 1),
        (0, n - 1),
        (3, 3 + n // 16),
        (1, 1 + n // 4),
        (2, 2 + n // 2),
    ]


def _binomial(count: int, expected: int) -> float:
    """Both tails of a Poisson count: n-1 places with probability 1/(n-1) each."""
    return float(min(1.0, 2 * min(stats.poisson.cdf(count, expected), stats.poisson.sf(count - 1, expected))))


def all_orders(shuffler: Shuffler) -> PValues:
    """T3: each of the n! orders equally often."""
    found = {}
    for n, repeats in ((3, 600), (4, 1200), (5, 3000), (6, 10000)):
        place_of = {order: i for i, order in enumerate(permutations(range(n)))}
        seen = np.zeros(len(place_of))
        for order in shuffler(n, repeats).tolist():
            seen[place_of[tuple(order)]] += 1
        found[f"T3 n={n}"] = counts_fit(seen, np.full(len(seen), 1 / len(seen)))
    return found


def known_laws(shuffler: Shuffler) -> PValues:
    """T4: inversions (Mahonian numbers), cycles (Stirling numbers) and fixed points (derangements) of small shuffles, and
    the mean of inversions, n(n-1)/4 with variance n(n-1)(2n+5)/72, of larger ones."""
    n, repeats = 9, 3000
    shuffled = shuffler(n, repeats)
    inversions = np.bincount(inversions_of(shuffled), minlength=n * (n - 1) // 2 + 1)
    fixed = np.bincount((shuffled == np.arange(n)).sum(axis=1), minlength=n + 1)
    cycles = np.bincount(cycles_of(shuffled), minlength=n + 1)
    found = {
        "T4 inversions": counts_fit(inversions, inversion_law(n)),
        "T4 cycles": counts_fit(cycles[1:], cycle_law(n)[1:]),
        "T4 fixed points": counts_fit(fixed, fixed_point_law(n)),
    }
    n, repeats = 300, 100
    mean, variance = n * (n - 1) / 4, n * (n - 1) * (2 * n + 5) / 72
    z = (inversions_of(shuffler(n, repeats)) - mean) / math.sqrt(variance)
    found["T4 inversions n=300"] = two_sided(float(z.sum()) / math.sqrt(repeats))
    found["T4 spread of inversions n=300"] = two_sided(float((z * z - 1).sum()) / math.sqrt(2 * repeats))
    return found


def inversions_of(shuffled: Ints) -> Ints:
    """Pairs out of order, shape (R,)."""
    total = np.zeros(len(shuffled), np.int64)
    for i in range(shuffled.shape[1] - 1):
        total += (shuffled[:, i : i + 1] > shuffled[:, i + 1 :]).sum(axis=1)
    return total


def cycles_of(shuffled: Ints) -> Ints:
    """Cycles, shape (R,): places that are the least of their cycle."""
    at = least = np.broadcast_to(np.arange(shuffled.shape[1]), shuffled.shape)
    for _ in range(shuffled.shape[1]):
        at = np.take_along_axis(shuffled, at, axis=1)
        least = np.minimum(least, at)
    return (least == np.arange(shuffled.shape[1])).sum(axis=1)


def inversion_law(n: int) -> Floats:
    """The sum of independent uniforms on 0..k for k < n (the inversion table)."""
    law = np.ones(1)
    for k in range(1, n):
        law = np.convolve(law, np.full(k + 1, 1 / (k + 1)))
    return law


def cycle_law(n: int) -> Floats:
    """The sum of independent Bernoulli(1/k) for k <= n: element k closes a cycle with probability 1/k."""
    law = np.ones(1)
    for k in range(1, n + 1):
        law = np.convolve(law, [1 - 1 / k, 1 / k])
    return law


def fixed_point_law(n: int) -> Floats:
    """P(k fixed) = 1/k! * sum over j <= n-k of (-1)^j / j!."""
    return np.array(
        [sum((-1) ** j / math.factorial(j) for j in range(n - k + 1)) / math.factorial(k) for k in range(n + 1)]
    )


def order_family(shuffler: Shuffler) -> PValues:
    """T1 to T4."""
    return first_order(shuffler) | second_order(shuffler) | all_orders(shuffler) | known_laws(shuffler)


# ---------------------------------------------------------------- batches of gradients

Plan = list[tuple[Ints, float]]  # the batches of one epoch: rows and divisor


def batch_family(epochs: Iterable[Plan], gradients: Floats, *, m: int) -> PValues:
    """T5: gradients of full batches (one drawn an epoch, two for the covariance) along fixed directions, with the
    covariance S of the rows known: mean v'G, variance (v'Sv/m)(1 - m/n), covariance of two batches -v'Sv/n."""
    n, width = gradients.shape
    directions = np.random.default_rng(0).normal(size=(6, width))
    along = gradients @ directions.T  # (n, 6)
    variance = along.var(axis=0, ddof=1)
    first, second = [], []
    for epoch, plan in enumerate(epochs):
        full = [along[rows].sum(axis=0) / divisor for rows, divisor in plan if len(rows) == m]
        first.append(full[epoch % len(full)])
        second.append(full[(epoch + 1 + epoch // len(full) % (len(full) - 1)) % len(full)])
    a, b = np.array(first) - along.mean(axis=0), np.array(second) - along.mean(axis=0)
    repeats, batch_variance = len(a), variance / m * (1 - m / n)
    spreads = _product_spreads(along - along.mean(axis=0), m)
    found = {}
    for k in range(len(directions)):
        found[f"T5 mean along {k}"] = two_sided(a[:, k].sum() / math.sqrt(repeats * batch_variance[k]))
        for name, product, expected, spread in (
            ("variance", a[:, k] ** 2, batch_variance[k], spreads[0][k]),
            ("covariance", a[:, k] * b[:, k], -variance[k] / n, spreads[1][k]),
        ):
            found[f"T5 {name} along {k}"] = two_sided(float(product.mean() - expected) * math.sqrt(repeats) / spread)
    return found


def _product_spreads(centred: Floats, m: int) -> tuple[Floats, Floats]:
    """Standard deviations of a^2 and a b for two disjoint batches, from 10,000 of NumPy's own permutations. (Those of the
    sample tested shrink along with its variance, which would make low variances look less likely than they are.)"""
    chosen = np.random.default_rng(1).permuted(np.tile(np.arange(len(centred)), (10000, 1)), axis=1)
    a, b = (centred[chosen[:, s]].mean(axis=1) for s in (slice(0, m), slice(m, 2 * m)))
    return (a * a).std(axis=0), (a * b).std(axis=0)


def epoch_sum_error(plan: Plan, gradients: Floats, *, m: int) -> float:
    """How far the batches' gradients of one epoch are from adding up to n/m times the full gradient, relative to it."""
    total = np.sum([gradients[rows].sum(axis=0) / divisor for rows, divisor in plan], axis=0)
    full = gradients.sum(axis=0) / m  # n/m times the mean
    return float(np.abs(total - full).max() / np.abs(full).max())


def plans(orders: Iterable[Sequence[int] | Ints], *, m: int) -> list[Plan]:
    """Batches by slicing, each divided by m."""
    return [[(np.asarray(order[i : i + m]), float(m)) for i in range(0, len(order), m)] for order in orders]


# ---------------------------------------------------------------- shuffles known to be bad

Chance = np.random.Generator


def fisher_yates(n: int, repeats: int, pick: Callable[[Chance, int, int], Ints]) -> Ints:
    """Swaps place i with pick(chance, i, repeats) for i from the end; all repeats at once."""
    chance = np.random.default_rng(77)
    shuffled = np.tile(np.arange(n), (repeats, 1))
    every = np.arange(repeats)
    for i in range(n - 1, 0, -1):
        j = pick(chance, i, repeats)
        shuffled[every, i], shuffled[every, j] = shuffled[every, j], shuffled[every, i]
    return shuffled


def correct(n: int, repeats: int) -> Ints:
    return fisher_yates(n, repeats, lambda chance, i, r: chance.integers(0, i + 1, r))


def off_by_one(n: int, repeats: int) -> Ints:
    """j < i in place of j <= i: Sattolo's cycles."""
    return fisher_yates(n, repeats, lambda chance, i, r: chance.integers(0, i, r))


def off_by_one_wide(n: int, repeats: int) -> Ints:
    """j <= n-1 at each step: n^n equally likely paths, which n! does not divide."""
    return fisher_yates(n, repeats, lambda chance, i, r: chance.integers(0, n, r))


def modulo_bias(n: int, repeats: int) -> Ints:
    """A byte (two where n needs them) modulo the range, without redrawing."""
    words = 1 << (8 if n <= 256 else 12)
    return fisher_yates(n, repeats, lambda chance, i, r: chance.integers(0, words, r) % (i + 1))


def buffer_of_a_tenth(n: int, repeats: int) -> Ints:
    """A buffer of n/10 rows: a random one leaves, the next row takes its place."""
    chance, size, every = np.random.default_rng(78), max(2, n // 10), np.arange(repeats)
    held = np.tile(np.arange(size), (repeats, 1))
    out = np.empty((repeats, n), np.int64)
    for i in range(n - size):
        slot = chance.integers(0, size, repeats)
        out[:, i] = held[every, slot]
        held[every, slot] = size + i
    out[:, n - size :] = chance.permuted(held, axis=1)
    return out


def blocks_in_order(n: int, repeats: int) -> Ints:
    """Eight blocks of neighbours, each shuffled inside, visited as they stand."""
    chance = np.random.default_rng(79)
    parts = [np.tile(part, (repeats, 1)) for part in np.array_split(np.arange(n), min(8, n))]
    return np.concatenate([chance.permuted(part, axis=1) for part in parts], axis=1)


def blocks_not_shuffled_inside(n: int, repeats: int) -> Ints:
    """Rows thrown into eight blocks at random, in their old order within each."""
    chance = np.random.default_rng(80)
    return np.argsort(chance.integers(0, 8, (repeats, n)), axis=1, kind="stable")


BAD_SHUFFLES: dict[str, Shuffler] = {
    "off-by-one Fisher-Yates": off_by_one,
    "Fisher-Yates over all places": off_by_one_wide,
    "modulo bias": modulo_bias,
    "buffer of a tenth": buffer_of_a_tenth,
    "blocks in order": blocks_in_order,
    "blocks not shuffled inside": blocks_not_shuffled_inside,
}
