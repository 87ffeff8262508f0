"""Temperature: no grid finds a better one, held-out rows never lose by it, classes and sums stay; few rows stay modest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from mbgd.errors import PlanError
from mbgd.measure.calibrate import Calibration, calibrate, tempered
from mbgd.step.loss import make_loss

INVERSES = np.geomspace(1 / 20, 20, 4001)


def case(seed: int, n: int, c: int, spread: float, *, weighted: bool = False) -> tuple[Tensor, Tensor, Any]:
    """Logits of c classes (one output for two), labels that follow them in part, and weights."""
    chance = np.random.default_rng(seed)
    z = torch.from_numpy(spread * chance.normal(size=(n, c)))
    noise = torch.from_numpy(chance.gumbel(size=(n, c)))
    y = (z / spread + noise).argmax(1)
    w = torch.from_numpy(chance.gamma(1.0, size=n)) if weighted else None
    return (z[:, 1] - z[:, 0] if c == 2 else z), y, w


def torch_loss(outputs: Tensor, y: Tensor, w: Tensor | None, inverse: float) -> float:
    """The weighted mean log loss as torch computes it: the oracle."""
    if outputs.ndim == 1:
        per_row = functional.binary_cross_entropy_with_logits(inverse * outputs, y.double(), reduction="none")
    else:
        per_row = functional.cross_entropy(inverse * outputs, y, reduction="none")
    return float(per_row.mean() if w is None else (w * per_row).sum() / w.sum())


def found(outputs: Tensor, y: Tensor, w: Tensor | None = None) -> Calibration:
    result = calibrate(outputs.numpy(), y.numpy(), None if w is None else w.numpy())
    assert result is not None
    return result


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "c", "spread"), [(1, 2, 1), (12, 2, 5), (60, 3, 0.2), (300, 5, 3), (900, 2, 9)])
def test_no_other_temperature_is_better(n: int, c: int, spread: float, weighted: bool) -> None:
    outputs, y, w = case(n, n, c, spread, weighted=weighted)
    rows = n if w is None else float(w.sum() ** 2 / (w**2).sum())

    def judged(inverse: float) -> float:
        return rows * torch_loss(outputs, y, w, inverse) + 3 * (inverse - 1 - math.log(inverse))

    calibration = found(outputs, y, w)
    best = min(judged(inverse) for inverse in INVERSES)
    assert judged(1 / calibration.temperature) <= best + 1e-9 * abs(best)  # a sum of n rows in float64
    assert calibration.log_loss_before == pytest.approx(torch_loss(outputs, y, w, 1.0), rel=1e-12)
    assert calibration.log_loss_after == pytest.approx(
        torch_loss(outputs, y, w, 1 / calibration.temperature), rel=1e-12
    )


@given(
    seed=st.integers(0, 10**6), n=st.integers(1, 40), c=st.integers(2, 4), spread=st.sampled_from([1e-9, 0.3, 3, 300.0]),
    weighted=st.booleans(),
)  # fmt: skip
def test_calibration_never_hurts_the_rows_it_was_measured_on(
    seed: int, n: int, c: int, spread: float, weighted: bool
) -> None:
    outputs, y, w = case(seed, n, c, spread, weighted=weighted)
    calibration = found(outputs, y, w)
    assert 1 / 20 <= calibration.temperature <= 20
    assert calibration.log_loss_after <= calibration.log_loss_before
    # torch rounds other sums
    assert torch_loss(outputs, y, w, 1 / calibration.temperature) <= torch_loss(outputs, y, w, 1.0) * (1 + 1e-12)


@pytest.mark.parametrize("true", [0.25, 0.8, 1.0, 2.5, 11.0])
def test_outputs_too_large_by_a_factor_have_that_factor_for_temperature(true: float) -> None:
    """Each row counted once as each class, by its probability: then the factor is the optimum but for 3 rows in 90,000."""
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(30_000, 3)))
    w = torch.softmax(z, 1).reshape(-1)
    outputs, y = (true * z).repeat_interleave(3, 0), torch.arange(3).repeat(30_000)
    assert found(outputs, y, w).temperature == pytest.approx(true, rel=1e-3)


def test_few_rows_that_are_all_right_do_not_make_a_model_sure_of_everything() -> None:
    """Without a hold the optimum would be T = 0. Twelve rows cost 12 log(1 + e^-3b) in all; three rows hold b to 1: with
    L = log(1 + e^-3b), the zero of 3 - 3/b - 36/(1 + e^3b) is b = 1.306."""
    outputs = torch.tensor([3.0, -3.0] * 6)
    assert found(outputs, (outputs > 0).long()).temperature == pytest.approx(1 / bisected(), rel=1e-9)
    assert 0.75 < found(outputs, (outputs > 0).long()).temperature < 0.85


def bisected() -> float:
    low, high = 1.0, 2.0
    for _ in range(60):
        b = (low + high) / 2
        low, high = (low, b) if 3 - 3 / b - 36 / (1 + math.exp(3 * b)) > 0 else (b, high)
    return low


def test_the_bounds_hold_where_all_is_wrong_and_where_all_is_right() -> None:
    outputs = torch.linspace(1, 2, 5000, dtype=torch.float64)
    assert found(1e3 * outputs, torch.zeros(5000)).temperature == 20
    assert found(1e-3 * outputs, torch.ones(5000)).temperature == pytest.approx(1 / 20, rel=1e-12)


def test_outputs_that_say_nothing_stay_as_they_are() -> None:
    assert found(torch.zeros(9, 3), torch.arange(9) % 3) == Calibration(1.0, math.log(3), math.log(3))
    assert found(torch.tensor([math.nan, 1.0]), torch.tensor([0, 1])).temperature == 1


def test_rows_without_weight_have_no_say() -> None:
    outputs, y, _ = case(4, 50, 3, 2.0)
    w = torch.ones(50, dtype=torch.float64)
    w[30:] = 0
    assert found(outputs, y, w) == found(outputs[:30], y[:30])
    assert calibrate(outputs.numpy(), y.numpy(), np.zeros(50)) is None
    assert calibrate(np.zeros((0, 3)), np.zeros(0)) is None


@settings(max_examples=30)
@given(temperature=st.floats(1 / 20, 20), seed=st.integers(0, 1000), n_outputs=st.sampled_from([1, 3]))
def test_a_tempered_loss_predicts_the_same_classes_and_trains_as_before(
    temperature: float, seed: int, n_outputs: int
) -> None:
    plain = make_loss("log_loss", output_shape=(n_outputs,) if n_outputs > 1 else ())
    loss = tempered(plain, temperature)
    o = torch.from_numpy(10 * np.random.default_rng(seed).normal(size=(20, 3)))
    o = o[:, 0] if n_outputs == 1 else o
    p, was = loss.prediction(o), plain.prediction(o)
    y = loss.prepare(torch.arange(20) % 2)
    assert torch.equal(loss.per_row(o.float(), y), plain.per_row(o.float(), y))
    if n_outputs == 1:
        assert torch.equal(p > 0.5, was > 0.5)
        expected = [1 / (1 + math.exp(-value / temperature)) for value in o.tolist()]
        assert p.tolist() == pytest.approx(expected, rel=1e-9)
    else:
        assert torch.equal(p.argmax(1), was.argmax(1))
        assert p.sum(1).tolist() == pytest.approx([1.0] * 20, abs=1e-14)


def test_a_temperature_out_of_bounds_is_refused() -> None:
    loss = make_loss("log_loss", output_shape=())
    assert tempered(loss, 1.0) is loss
    for wrong in (0.0, -1.0, 21.0, math.nan):
        with pytest.raises(PlanError, match=r"temperature must lie from 0.05 to 20, got .*; 1 changes nothing"):
            tempered(loss, wrong)
