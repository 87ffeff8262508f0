"""Schedules: equal to torch's own at every step, pure, positive, and refused in words where a horizon is missing."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from mbgd.errors import PlanError
from mbgd.tune.schedule import SCHEDULES, make_schedule

STEPS, BATCH = 400, 32
HORIZON = STEPS * BATCH
ROUNDING = 1e-9  # torch's schedulers multiply on from step to step and gather 400 roundings of 1e-16, times a slope


def torch_rates(make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], steps: int = STEPS) -> list[float]:
    """The rate that torch uses at each step, base rate 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("name", "warmup", "make"),
    [
        ("constant", 0.0, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        ("constant", 0.25, lambda o: lr_scheduler.LinearLR(o, start_factor=0.04, total_iters=100)),
        ("step", 0.0, lambda o: lr_scheduler.MultiStepLR(o, [200, 300], gamma=0.1)),
        ("cosine", 0.0, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=400, eta_min=4e-6)),
        (
            "cosine",
            0.25,
            lambda o: lr_scheduler.SequentialLR(
                o,
                [
                    lr_scheduler.LinearLR(o, start_factor=0.04, total_iters=100),
                    lr_scheduler.CosineAnnealingLR(o, T_max=300, eta_min=4e-6),
                ],
                milestones=[100],
            ),
        ),
    ],
)
@pytest.mark.filterwarnings(
    "ignore:.*epoch parameter in .scheduler.step:UserWarning"
)  # torch's own SequentialLR uses it
def test_a_schedule_is_that_of_torch_step_by_step(
    name: str, warmup: float, make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]
) -> None:
    factor = make_schedule(name, horizon_rows=HORIZON, warmup=warmup)
    ours = [factor(step * BATCH) for step in range(STEPS)]
    assert ours == pytest.approx(torch_rates(make), rel=ROUNDING, abs=1e-12)


def test_one_cycle_is_that_of_torch_at_the_same_share_of_each_phase() -> None:
    """torch counts its T steps as phases of T/4 - 1 and 3T/4 steps; ours are a quarter and three quarters of the rows."""
    theirs = torch_rates(lambda o: lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=STEPS, pct_start=0.25))
    factor = make_schedule("one_cycle", horizon_rows=297 * 10**6)  # whole numbers of rows at every step below
    for step, rate in enumerate(theirs):
        rows = step / 99 * 297e6 / 4 if step <= 99 else 297e6 / 4 + (step - 99) / 300 * 297e6 * 3 / 4
        assert factor(round(rows)) == pytest.approx(rate, rel=1e-6, abs=1e-9)  # a row's rounding: 1/3e8 of the slope


@given(
    name=st.sampled_from(SCHEDULES),
    horizon=st.integers(1, 10**12),
    share=st.floats(0, 3),
    warmup=st.one_of(st.just(0.0), st.floats(1e-6, 0.999)),
)
def test_a_factor_is_pure_positive_and_at_most_one(name: str, horizon: int, share: float, warmup: float) -> None:
    warmup = 0.0 if name == "one_cycle" else warmup
    rows = int(share * horizon)
    first, second = (make_schedule(name, horizon_rows=horizon, warmup=warmup) for _ in range(2))
    first(horizon // 2)  # what was asked before leaves no trace
    assert first(rows) == second(rows)
    assert 4e-6 * (1 - 1e-9) <= first(rows) <= 1 + 1e-12
    assert first(0) >= 0.04 * (1 - 1e-12)  # the first step of a warm-up does something
    assert first(horizon + rows) == first(horizon)  # past the plan the last value stays


def test_the_last_planned_step_is_still_worth_more_than_the_floor() -> None:
    for name in ("cosine", "one_cycle"):
        factor = make_schedule(name, horizon_rows=HORIZON)
        assert factor(HORIZON - BATCH) > 4e-6
        assert factor(HORIZON) == 4e-6


def test_a_warm_up_climbs_in_a_straight_line_and_multiplies_steps() -> None:
    factor = make_schedule("step", horizon_rows=1000, warmup=0.6)
    assert factor(300) == pytest.approx(0.52)  # halfway from 0.04 to 1
    assert factor(500) == pytest.approx(0.1 * (0.04 + 0.96 * 500 / 600))  # a step inside the warm-up still counts
    assert factor(600) == 0.1


def test_without_a_horizon_only_a_constant_rate_is_possible() -> None:
    assert make_schedule("constant", horizon_rows=None)(10**9) == 1.0
    for name, warmup in [("step", 0.0), ("cosine", 0.0), ("one_cycle", 0.0), ("constant", 0.1)]:
        with pytest.raises(PlanError, match="schedule must know how many rows are planned") as error:
            make_schedule(name, horizon_rows=None, warmup=warmup)
        assert "schedule='constant'" in str(error.value)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("cosin", {}, "got 'cosin'; did you mean 'cosine'?"),
        ("onecycle", {}, "did you mean 'one_cycle'?"),
        ("warmup", {}, "schedule='constant', warmup=0.05"),
        ("plateau", {}, "schedule must be one of constant, step, cosine, one_cycle, got 'plateau'"),
        ("cosine", {"warmup": 1.0}, "at least 0 and below 1, got 1"),
        ("cosine", {"warmup": -0.1}, "at least 0 and below 1, got -0.1"),
        ("cosine", {"warmup": math.nan}, "got nan"),
        ("one_cycle", {"warmup": 0.1}, "warmup must be 0 with schedule='one_cycle', got 0.1"),
        ("cosine", {"horizon_rows": 0}, "horizon_rows must be at least 1 row, got 0"),
    ],
)
def test_a_wrong_schedule_is_answered_in_one_sentence(name: str, settings: dict[str, float], words: str) -> None:
    with pytest.raises(PlanError) as error:
        make_schedule(name, **{"horizon_rows": 100, **settings})  # type: ignore[arg-type]  # one table of cases for two types
    assert words in str(error.value)
