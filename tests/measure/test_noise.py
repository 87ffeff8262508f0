"""The noise scale against gradients of single rows, taken one by one; exact where all rows are in, covered where not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from engines import Case, Trained, engine, target
from mbgd.data.dataset import DatasetSource
from mbgd.errors import DataError, PlanError
from mbgd.measure.gradients import group_gradients
from mbgd.measure.noise import NoiseScale, doublings, measure_noise, noise_scale, ratio_of_sums
from problems import mlp

N, WIDTH = 96, 5


def case(*, n: int = N, weighted: bool = True, shift: float = 1.0) -> Case:
    chance = np.random.default_rng(8)
    x = torch.tensor(chance.normal(size=(n, WIDTH)))
    w = torch.tensor(chance.uniform(0.1, 3, n)) if weighted else None
    return Case(mlp(WIDTH), x, x @ torch.linspace(-1, 1, WIDTH).double() + shift, w=w)


def row_gradients(made: Case, model: nn.Module) -> np.ndarray:
    """(w_i / wbar) grad l_i of every row, (n, P), by torch.func."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (functional_call(model, parameters, (x[None],))[0, 0] - y) ** 2

    found = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, made.x, made.y)
    rows = torch.cat([part.flatten(1) for part in found.values()], 1)
    return (rows if made.w is None else rows * (made.w / made.w.mean())[:, None]).numpy()


def truth(rows: np.ndarray) -> tuple[float, float]:
    """(trS, |G|^2) of all rows, by NumPy's own covariance."""
    return float(np.cov(rows.T).trace()), float(np.sum(rows.mean(0) ** 2))


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "autograd"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows_at_once", [4, 8192])
def test_each_group_has_the_mean_of_its_rows(rows_at_once: int, weighted: bool, fused: bool) -> None:
    made = case(weighted=weighted)
    by = engine(made, fused=fused)
    each, picked = row_gradients(made, by.model), np.random.default_rng(0).permutation(N)[:50]
    found = list(group_gradients(by.engine, made.source(), rows=picked, groups=4, rows_at_once=rows_at_once))
    assert [g.dtype for g in found] == [np.dtype(np.float64)] * 4
    for group, gradient in zip(([0, 13], [13, 26], [26, 38], [38, 50]), found, strict=True):
        np.testing.assert_allclose(gradient, each[picked[slice(*group)]].mean(0), atol=1e-12)


@pytest.mark.parametrize("groups", [0, -1, 51])
def test_groups_without_rows_are_refused(groups: int) -> None:
    made = case()
    by = engine(made, fused=False)
    with pytest.raises(PlanError, match=f"groups must be at least 1 and at most the 50 rows, got {groups}"):
        next(group_gradients(by.engine, made.source(), rows=np.arange(50), groups=groups))


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "autograd"])
@pytest.mark.parametrize("weighted", [False, True])
def test_with_groups_of_one_row_it_is_exact(weighted: bool, fused: bool) -> None:
    made = case(weighted=weighted)
    by = engine(made, fused=fused)
    *_, found = doublings(by.engine, made.source(), groups=N, seed=3)
    trace, norm = truth(row_gradients(made, by.model))
    assert found.trace == pytest.approx(trace, rel=1e-10)
    assert found.squared_norm == pytest.approx(norm, rel=1e-10)
    assert found.batch_size == pytest.approx(trace / norm, rel=1e-10)
    assert (found.rows, found.groups, found.n_rows) == (N, N, N)


@pytest.mark.parametrize("groups", [4, 7, 32])
def test_with_all_rows_in_the_mean_is_exact_however_they_are_grouped(groups: int) -> None:
    made = case()
    by = engine(made, fused=True)
    *_, found = doublings(by.engine, made.source(), groups=groups, seed=1)
    assert found.squared_norm == pytest.approx(truth(row_gradients(made, by.model))[1], rel=1e-10)


def test_over_all_splits_it_is_right_on_the_average() -> None:
    """Without bias, also for groups of unequal sizes: the mean over every way to draw 2 + 1 + 1 of 5 rows is the truth."""
    rows = np.random.default_rng(2).normal(size=(5, 3)) + 0.5
    sizes = np.array([2.0, 1.0, 1.0])
    seen = []
    for a, b, c, d in permutations_of(5):
        groups = np.stack([(rows[a] + rows[b]) / 2, rows[c], rows[d]])
        seen.append(noise_scale(groups, sizes, n_rows=5))
    trace, norm = truth(rows)
    assert np.mean([found.trace for found in seen]) == pytest.approx(trace, rel=1e-12)
    assert np.mean([found.squared_norm for found in seen]) == pytest.approx(norm, rel=1e-12)


def permutations_of(n: int) -> Iterator[tuple[int, ...]]:
    from itertools import permutations

    return permutations(range(n), 4)


def test_the_error_is_the_jackknife_written_out() -> None:
    """Of a population so large that no share of it is drawn: each group left out in turn, by the formula of psi itself."""
    chance = np.random.default_rng(4)
    groups, b, k = chance.normal(size=(12, 4)) + 0.4, 9.0, 12
    found = noise_scale(groups, np.full(k, b), n_rows=10**12)

    def psi(some: np.ndarray) -> float:
        mean, n_some = some.mean(0), len(some)
        trace = b * sum(float(np.sum((g - mean) ** 2)) for g in some) / (n_some - 1)
        return (float(mean @ mean) - trace / (b * n_some)) / trace

    without = np.array([psi(np.delete(groups, j, axis=0)) for j in range(k)])
    assert found.psi == pytest.approx(psi(groups), rel=1e-9)
    assert found.standard_error == pytest.approx(math.sqrt((k - 1) * without.var()), rel=1e-9)


@pytest.mark.parametrize("share", [1 / 16, 1 / 2, 1.0], ids=["a sixteenth", "half", "all"])
@pytest.mark.parametrize("signal", [0.05, 0.4])
def test_the_interval_covers_the_truth(signal: float, share: float) -> None:
    """A linear problem, 300 draws: 95 % wanted. Of 300 draws that would be between 91 and 99 %; a jackknife of a ratio may
    fall a little short. A factor sqrt(1 - M/n) on the whole error, not on the mean's share alone, covers 0 % of `all`."""
    chance = np.random.default_rng(6)
    n, k = 4096, 32
    x = chance.normal(size=(n, 8)) * np.linspace(0.3, 2, 8)
    residual = x @ (signal * chance.normal(size=8)) - chance.normal(size=n)
    rows = residual[:, None] * x
    trace, norm = truth(rows)
    m, hits = int(n * share), []
    for _ in range(300):
        drawn = rows[chance.permutation(n)[:m]].reshape(k, m // k, -1).mean(1)
        low, high = noise_scale(drawn, np.full(k, m / k), n_rows=n).psi_interval
        hits.append(low <= norm / trace <= high)
    assert 0.88 <= np.mean(hits) <= 0.995


def test_where_the_mean_is_not_told_from_zero_a_bound_is_said() -> None:
    """Residuals that know nothing of x: G is 0 up to noise, and no clamp hides an estimate below it."""
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(200, 32, 4, 6))
    found = [noise_scale(sample.mean(1), np.full(32, 4.0), n_rows=10**6) for sample in rows]
    assert min(scale.squared_norm for scale in found) < 0 < max(scale.squared_norm for scale in found)
    bounds = [scale for scale in found if math.isinf(scale.interval[1])]
    assert len(bounds) >= 180
    said = str(next(scale for scale in bounds if scale.psi_interval[1] > 0))
    assert "noise scale B >= " in said
    assert "not told apart from 0" in said


def test_a_clear_gradient_has_a_number_with_an_interval() -> None:
    made = case()
    found = measure_noise(engine(made, fused=True).engine, made.source(), seed=2)
    low, high = found.interval
    assert 0 < low < found.batch_size < high < math.inf
    assert str(found) == f"noise scale B = {found.batch_size:,.0f} rows ({low:,.0f} to {high:,.0f}), from 96 of 96 rows"


def test_rows_are_doubled_until_it_is_precise_and_no_further() -> None:
    """Each look has twice the rows, or all; a clear gradient is told by the first look, a faint one by none."""
    faint, clear = case(n=3_000, weighted=False), case(n=3_000, weighted=False, shift=30.0)
    faint.y = faint.x @ torch.ones(WIDTH).double()  # then the net below fits it exactly but for noise
    faint.model = nn.Linear(WIDTH, 1).double()
    with torch.no_grad():
        faint.model.weight.fill_(1.0)
        faint.model.bias.zero_()
    noise = torch.tensor(np.random.default_rng(1).normal(size=3_000))
    faint.y = faint.y + noise - noise.mean()
    by = engine(faint, fused=True)
    assert [scale.rows for scale in doublings(by.engine, faint.source())] == [1024, 2048, 3000]
    assert measure_noise(by.engine, faint.source()).rows == 3000
    found = measure_noise(engine(clear, fused=True).engine, clear.source())
    assert found.rows == 1024
    assert found.standard_error <= 0.35 * found.psi


def test_it_is_of_the_rows_that_are_given() -> None:
    """The others are not looked at: a gradient that is not finite would show."""
    made = case()
    made.x[::2] = torch.nan
    by = engine(made, fused=False)
    *_, found = doublings(by.engine, made.source(), rows=np.arange(1, N, 2), groups=N // 2)
    assert found.n_rows == N // 2
    kept = case()
    trace, norm = truth(row_gradients(kept, by.model)[1::2])
    assert (found.trace, found.squared_norm) == pytest.approx((trace, norm), rel=1e-10)


def test_it_draws_the_same_rows_for_a_seed_and_leaves_chance_alone() -> None:
    """Of a dataset that draws noise at every read, too."""

    class Noisy(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return N

        def __getitem__(self, i: int) -> Any:
            return torch.randn(WIDTH, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)

    by = engine(case(weighted=False), fused=False)
    before = torch.get_rng_state()
    a, b, c = (measure_noise(by.engine, DatasetSource(Noisy()), seed=seed) for seed in (1, 1, 2))
    assert a == b != c
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_moves() -> None:
    made = case()
    by = engine(made, fused=True)
    before = by.numbers()
    measure_noise(by.engine, made.source())
    assert torch.equal(by.numbers(), before)
    assert not by.updater.optimizer.state


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "autograd"])
def test_a_gradient_that_is_not_finite_is_an_error(fused: bool) -> None:
    made = case()
    made.x[5] = torch.inf
    with pytest.raises(DataError, match="gradients must be finite to measure their noise, got a non-finite one"):
        measure_noise(engine(made, fused=fused).engine, made.source())


def normed(norm: nn.Module) -> tuple[Case, Trained]:
    made = case(weighted=False)
    made.model = nn.Sequential(nn.Linear(WIDTH, 4), norm, nn.Linear(4, 1)).double()
    return made, engine(made, fused=False)


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(4), nn.BatchNorm1d(4, track_running_stats=False).eval()])
def test_batch_norm_in_training_has_no_gradient_of_a_row(norm: nn.Module) -> None:
    made, by = normed(norm)
    with pytest.raises(PlanError, match=r"needs a gradient for each row, and BatchNorm1d \(1\) in training mode"):
        measure_noise(by.engine, made.source())


def test_frozen_batch_norm_and_norms_over_a_row_have_one() -> None:
    frozen = nn.BatchNorm1d(4).eval()
    for norm in (frozen, nn.LayerNorm(4), nn.GroupNorm(2, 4)):
        made, by = normed(norm)
        assert measure_noise(by.engine, made.source()).rows == N
    assert int(frozen.num_batches_tracked) == 0


def test_several_moments_have_one_ratio_of_sums() -> None:
    def point(trace: float, norm: float) -> NoiseScale:
        return NoiseScale(trace, norm, 0.1, rows=10, groups=5, n_rows=100)

    # (10 + 30) / (2 + 1 - 1) = 20: the mean of the ratios would be 5 + 30 - 10 / 3
    assert ratio_of_sums([point(10, 2), point(30, 1), point(0, -1)]) == 20


def test_rows_that_are_all_alike_have_no_noise() -> None:
    made = case(n=8, weighted=False)
    made.x[:], made.y[:] = 1.0, 2.0
    found = measure_noise(engine(made, fused=False).engine, made.source())
    assert found.trace == pytest.approx(0, abs=1e-25)
    assert found.squared_norm > 0


def test_too_few_rows_or_groups_are_refused() -> None:
    made = case(n=2)
    with pytest.raises(DataError, match="data must have at least 3 rows to tell noise from gradient, got 2"):
        measure_noise(engine(made, fused=False).engine, made.source())
    with pytest.raises(PlanError, match="groups must be at least 3, got 2"):
        noise_scale(np.ones((2, 3)), np.ones(2), n_rows=10)


def test_of_labels_as_well() -> None:
    """Classes and a linear model: p - y times x, by hand."""
    chance = np.random.default_rng(3)
    x, y = chance.normal(size=(40, WIDTH)), target("log_loss", 40, 3)
    made = Case(nn.Linear(WIDTH, 3).double(), torch.tensor(x), y, loss="log_loss", outputs=(3,))
    by = engine(made, fused=True)
    with torch.no_grad():
        p = torch.softmax(by.model(made.x), 1).numpy()
    pull = p - np.eye(3)[y.numpy()]
    rows = np.stack([np.concatenate([np.outer(d, row).ravel(), d]) for d, row in zip(pull, x, strict=True)])
    *_, found = doublings(by.engine, made.source(), groups=40)
    assert (found.trace, found.squared_norm) == pytest.approx(truth(rows), rel=1e-10)
