"""Gradients of groups of rows in, the gradient noise scale B = trS / |G|^2 out, with an interval and without a clamp.

K groups · P parameters · M rows drawn of n. g_i is the gradient of row i, G their mean over all n rows, and
S = (1/(n-1)) sum (g_i - G)(g_i - G)'. A step of m rows loses a share 1 / (1 + m/B) of what it could gain to noise
(McCandlish et al. 2018, arXiv:1812.06162, "simple" noise scale).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mbgd.data.chance import drawing
from mbgd.data.order import IntArray
from mbgd.data.source import Source
from mbgd.errors import DataError, PlanError
from mbgd.measure.gradients import ROWS_AT_ONCE, group_gradients
from mbgd.seeds import Purpose, generator, step_seed
from mbgd.step.autograd import Engine

GROUPS = 32
FEWEST_GROUPS = 3  # one is left out for the interval, and two must remain to differ
FIRST_ROWS_OF_A_GROUP = 32
PRECISE = 0.35  # relative standard error of 1/B at which no more rows are drawn
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NoiseScale:
    """trS and |G|^2, each without bias, and what follows of them. Work with psi = 1/B, which stays finite where |G|^2,
    an estimate, comes out at 0 or below."""

    trace: float  # of S
    squared_norm: float  # of G
    standard_error: float  # of psi
    rows: int  # M
    groups: int  # K
    n_rows: int  # n

    @property
    def psi(self) -> float:
        return _ratio(self.squared_norm, self.trace)

    @property
    def psi_interval(self) -> tuple[float, float]:
        """95 %, by Student's t; its low end may lie below 0."""
        from scipy.special import stdtrit  # a tenth of a second to load

        half = float(stdtrit(self.groups - 1, 0.975)) * self.standard_error
        return self.psi - half, self.psi + half

    @property
    def batch_size(self) -> float:
        """B in rows; not a number of rows where psi is not above 0: then only `interval` says something."""
        return _ratio(1.0, self.psi)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % for B; the high end is infinite where psi may be 0, and both are where it seems to be below."""
        low, high = self.psi_interval
        return (1 / high if high > 0 else math.inf), (1 / low if low > 0 else math.inf)

    @property
    def is_precise(self) -> bool:
        """Whether more rows are not worth their time, or there are none."""
        return self.rows >= self.n_rows or self.standard_error <= PRECISE * abs(self.psi)

    def __str__(self) -> str:
        low, high = self.interval
        of = f"from {self.rows:,} of {self.n_rows:,} rows"
        if math.isinf(high):
            return f"noise scale B >= {low:,.0f} rows, {of}: the mean gradient is not told apart from 0"
        return f"noise scale B = {self.batch_size:,.0f} rows ({low:,.0f} to {high:,.0f}), {of}"


def noise_scale(gradients_KP: Floats, sizes_K: Floats | IntArray, *, n_rows: int) -> NoiseScale:
    """The estimate from K groups drawn without replacement, of b_k rows each, M in all.

        trS = sum b_k |g_k - gbar|^2 / (K-1),   |G|^2 = |gbar|^2 - trS/M + trS/n,   gbar = sum b_k g_k / M

    Both without bias; with M = n the second is exact. The standard error of psi is a delete-one-group jackknife. Its
    finite-population factor sqrt(1 - M/n) shrinks how far the mean moves, not how far trS does: with M = n the mean is
    known but trS still depends on which rows came into a group together.
    """
    k, drawn = len(sizes_K), float(sizes_K.sum())
    if k < FEWEST_GROUPS:
        raise PlanError(f"groups must be at least {FEWEST_GROUPS}, got {k}; {GROUPS} is usual")
    mean_P = sizes_K @ gradients_KP / drawn
    apart_KP = gradients_KP - mean_P
    square_K, along_K, norm = np.einsum("kp,kp->k", apart_KP, apart_KP), apart_KP @ mean_P, float(mean_P @ mean_P)
    spread_K = sizes_K * square_K
    trace = float(spread_K.sum()) / (k - 1)
    # Without group k the mean moves by -away_k (g_k - gbar): what is left of both sums, in closed form.
    away_K = sizes_K / (drawn - sizes_K)
    traces_K = (spread_K.sum() - spread_K - sizes_K * away_K * square_K) / (k - 2)
    moved_K = math.sqrt(1 - drawn / n_rows) * away_K
    with np.errstate(divide="ignore", invalid="ignore"):  # groups that are all alike have no noise to divide by
        psi_K = (norm - 2 * moved_K * along_K + moved_K**2 * square_K) / traces_K
        error = math.sqrt((k - 1) / k * float(((psi_K - psi_K.mean()) ** 2).sum()))
    squared_norm = norm - trace * (1 / drawn - 1 / n_rows)
    return NoiseScale(trace, squared_norm, error, rows=int(drawn), groups=k, n_rows=n_rows)


def doublings(
    engine: Engine,
    source: Source,
    *,
    rows: IntArray | None = None,
    seed: int = 0,
    groups: int = GROUPS,
    rows_at_once: int = ROWS_AT_ONCE,
) -> Iterator[NoiseScale]:
    """Yield the noise scale at the parameters of now from ever more of `rows` (all of the source where None), twice as
    many each time, until all are in. Each row is computed once: a group grows. Memory: K gradients in float64.

    Raises PlanError for BatchNorm in training mode, and DataError for a gradient that is not finite.
    """
    _refuse_batch_norm(engine.updater.model)
    n = source.n_rows if rows is None else len(rows)
    if n < FEWEST_GROUPS:
        raise DataError(f"data must have at least {FEWEST_GROUPS} rows to tell noise from gradient, got {n}; add rows")
    order = generator(seed, Purpose.SAMPLE).permutation(n)
    order = order if rows is None else rows[order]
    groups, done = min(groups, n), 0
    sum_KP: Floats | float = 0.0
    sizes_K = np.zeros(groups)
    while done < n:
        upto = min(n, max(2 * done, groups * FIRST_ROWS_OF_A_GROUP))
        if n - upto < groups:  # too few would be left to give each group one
            upto = n
        more = order[done:upto]
        with drawing(step_seed(seed, done)):  # a dataset may draw at random: the same at every measurement
            found = list(group_gradients(engine, source, rows=more, groups=groups, rows_at_once=rows_at_once))
        more_K = np.array([len(part) for part in np.array_split(more, groups)], np.float64)
        sum_KP = sum_KP + more_K[:, None] * np.stack(found)
        sizes_K, done = sizes_K + more_K, upto
        if not np.isfinite(sum_KP).all():
            raise DataError(
                f"gradients must be finite to measure their noise, got a non-finite one among {done:,} rows; "
                "lower learning_rate, or look at those rows"
            )
        yield noise_scale(sum_KP / sizes_K[:, None], sizes_K, n_rows=n)


def measure_noise(engine: Engine, source: Source, *, rows: IntArray | None = None, seed: int = 0) -> NoiseScale:
    """Rows are doubled until the relative standard error of psi is at most 0.35, or all are in."""
    for found in doublings(engine, source, rows=rows, seed=seed):
        if found.is_precise:
            return found
    raise AssertionError("the last of the doublings has all rows")


def ratio_of_sums(points: Iterable[NoiseScale]) -> float:
    """One B over several moments of a training, equally spaced in the log of the loss: the ratio of the sums of trS and
    |G|^2. Never the mean of the ratios, of which one point alone may be off by a factor of ten and more."""
    seen = list(points)
    return _ratio(sum(point.trace for point in seen), sum(point.squared_norm for point in seen))


def _ratio(above: float, below: float) -> float:
    if below:
        return above / below
    return math.copysign(math.inf, above) if above else math.nan


def _refuse_batch_norm(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None):
            raise PlanError(
                f"a noise scale needs a gradient for each row, and {type(module).__name__} ({name or 'the model'}) in "
                "training mode gives none, since each row's outputs depend on the batch; use GroupNorm or LayerNorm, or "
                "freeze it with eval()"
            )
