"""A schedule of the user's own: torch's schedulers and functions of steps, against the loop by hand that steps them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

import mbgd
from mbgd import PlanError
from mbgd.cli.train import resume_table
from mbgd.data.order import Order
from oracles import cut
from problems import arrays, flat, mlp

N, WIDTH, M, EPOCHS = 40, 4, 8, 6  # five updates an epoch
X, Y = (torch.tensor(part) for part in arrays(N, WIDTH)[:2])
WORDS: Any = {"loss": "squared_error", "batch_size": M, "epochs": EPOCHS, "seed": 3}
ENGINES = pytest.mark.parametrize("engine", ["fused", "autograd"])
SGD, ADAM = torch.optim.SGD, torch.optim.AdamW
Make = Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]


def net() -> nn.Sequential:
    return mlp(WIDTH)


def momentum(model: nn.Module) -> torch.optim.Optimizer:
    return SGD(model.parameters(), lr=0.05, momentum=0.9)


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return ADAM(model.parameters(), lr=0.01)


def by_hand(optimizer: torch.optim.Optimizer, scheduler: Any, model: nn.Module, *, every: str) -> Tensor:
    """torch's tutorial; the sums of a batch are divided by M."""
    for epoch in range(EPOCHS):
        for batch in cut(Order(N, seed=3).rows(epoch), M, "short"):
            optimizer.zero_grad()
            (nn.functional.mse_loss(model(X[batch])[:, 0], Y[batch], reduction="sum") / M).backward()
            optimizer.step()
            if every == "step":
                scheduler.step()
        if every == "epoch":
            scheduler.step()
    return flat(model)


def warm(o: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    parts: Any = [lr_scheduler.LinearLR(o, 0.1, total_iters=2), lr_scheduler.ExponentialLR(o, 0.7)]
    return lr_scheduler.SequentialLR(o, parts, milestones=[2])


SCHEDULERS: dict[str, tuple[Any, Make, str, dict[str, Any]]] = {
    "StepLR": (momentum, partial(lr_scheduler.StepLR, step_size=2, gamma=0.5), "epoch", {}),
    "MultiStepLR": (adam, partial(lr_scheduler.MultiStepLR, milestones=[1, 4]), "epoch", {}),
    "cosine": (momentum, partial(lr_scheduler.CosineAnnealingLR, T_max=EPOCHS), "epoch", {}),
    "cosine each step": (
        momentum,
        partial(lr_scheduler.CosineAnnealingLR, T_max=EPOCHS * 5),
        "step",
        {"schedule_every": "step"},
    ),
    "LambdaLR": (adam, lambda o: lr_scheduler.LambdaLR(o, lambda k: 1 / (1 + k)), "epoch", {}),
    "two in a row": (momentum, warm, "epoch", {}),
    "chained": (
        momentum,
        lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.StepLR(o, 3)]),
        "epoch",
        {},
    ),
    "OneCycleLR, with momentum": (
        momentum,
        partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=EPOCHS * 5),
        "step",
        {},
    ),
    "OneCycleLR, with betas": (adam, partial(lr_scheduler.OneCycleLR, max_lr=0.02, total_steps=EPOCHS * 5), "step", {}),
    "CyclicLR": (momentum, partial(lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=7), "step", {}),
}


@ENGINES
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_moves_rates_as_in_torchs_own_loop(name: str, engine: str) -> None:
    make, schedule, every, how = SCHEDULERS[name]
    theirs, ours, looped = net(), net(), net()
    optimizer = make(theirs)
    expected = by_hand(optimizer, schedule(optimizer), theirs, every=every)
    optimizer = make(ours)
    words = {**WORDS, **how, "engine": engine}
    run = mbgd.fit(ours, (X, Y), optimizer=optimizer, schedule=schedule(optimizer), **words)
    # float64; fused kernels round in another order, and Adam's division by sqrt(v) magnifies 1e-16 by up to 1e3
    np.testing.assert_allclose(flat(ours).numpy(), expected.numpy(), atol=1e-11)
    assert run.engine == engine
    assert run.resolved["schedule"].endswith({"step": "after each update", "epoch": "after each epoch"}[every])
    optimizer = make(looped)
    for _ in mbgd.steps(looped, (X, Y), optimizer=optimizer, schedule=schedule(optimizer), every="epoch", **words):
        pass
    assert torch.equal(flat(looped), flat(ours))


def test_a_factory_makes_the_scheduler_of_the_optimizer_that_trains() -> None:
    theirs, ours, named = net(), net(), net()
    optimizer = SGD(theirs.parameters(), lr=0.1)
    expected = by_hand(optimizer, lr_scheduler.ExponentialLR(optimizer, 0.8), theirs, every="epoch")
    mbgd.fit(ours, (X, Y), learning_rate=0.1, schedule=partial(lr_scheduler.ExponentialLR, gamma=0.8), **WORDS)
    mbgd.fit(named, (X, Y), learning_rate=0.1, schedule=lambda o: lr_scheduler.ExponentialLR(o, 0.8), **WORDS)
    np.testing.assert_allclose(flat(ours).numpy(), expected.numpy(), atol=1e-12)
    assert torch.equal(flat(ours), flat(named))


@ENGINES
def test_a_function_of_steps_is_the_factor_of_each_update(engine: str) -> None:
    def decay(step: int) -> float:
        return 1 / math.sqrt(1 + step)

    theirs, ours = net(), net()
    optimizer = SGD(theirs.parameters(), lr=0.1)
    expected = by_hand(optimizer, lr_scheduler.LambdaLR(optimizer, decay), theirs, every="step")
    run = mbgd.fit(ours, (X, Y), learning_rate=0.1, schedule=decay, engine=engine, **WORDS)
    np.testing.assert_allclose(flat(ours).numpy(), expected.numpy(), atol=1e-12)
    ends = [0.1 * decay(int(step) - 1) for step in run.history["step"]]
    np.testing.assert_allclose(run.history["learning_rate"], ends, rtol=1e-12)


@ENGINES
def test_reduce_on_plateau_is_stepped_with_the_validation_score(engine: str) -> None:
    """The rate falls where the scores of the run's own history say so."""
    model, mask = net(), np.arange(N) % 4 == 0
    optimizer = SGD(model.parameters(), lr=0.9)
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    words = {**WORDS, "epochs": 20, "metric": "loss", "engine": engine}
    run = mbgd.fit(model, (X, Y), optimizer=optimizer, schedule=plateau, validation=mask, **words)
    by_epoch = [record for record in run.history if record["epoch"] == int(record["epoch"])]
    twin = SGD([nn.Parameter(torch.zeros(1))], lr=0.9)
    expected, rates = lr_scheduler.ReduceLROnPlateau(twin, factor=0.5, patience=1), []
    for record in by_epoch:
        rates.append(twin.param_groups[0]["lr"])
        expected.step(record["validation_loss"])
    assert [record["learning_rate"] for record in by_epoch] == rates
    assert len(set(rates)) > 2


OPTIMIZER = SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
PLATEAU = lr_scheduler.ReduceLROnPlateau
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a number": ({"schedule": 3}, "schedule must be one of 'constant', .* or a function of updates done or a torch"),
    "a word": ({"schedule": "cosin"}, "got 'cosin'; did you mean 'cosine'"),
    "another optimizer's": (
        {"schedule": lr_scheduler.StepLR(OPTIMIZER, 3)},
        "schedule must be of the optimizer that trains, got StepLR of another SGD; give that instance as optimizer=, or a",
    ),
    "what returns text": (
        {"schedule": lambda step: "x"},
        "schedule must return a torch.optim.lr_scheduler or a factor, got str",
    ),
    "what raises": (
        {"schedule": lambda a, b: 1},
        "schedule must take an optimizer or the number of updates done, got .*lambda",
    ),
    "not a number": (
        {"schedule": lambda step: 1.0 if step < 7 else math.nan},
        "got nan after 7 updates; it is multiplied",
    ),
    "below 0": ({"schedule": lambda step: -1.0}, "a finite factor of at least 0, got -1 after 0 updates"),
    "warm-up besides": ({"schedule": lambda step: 1.0, "warmup": 0.1}, "warmup belongs to a schedule that has a name"),
    "too few steps planned": (
        {"schedule": partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=9)},
        "schedule OneCycleLR took no further step: Tried to step .*; plan it for all",
    ),
    "no rows to score": ({"schedule": PLATEAU}, "schedule ReduceLROnPlateau needs validation rows to score, got none"),
    "the wrong way": (
        {"schedule": PLATEAU, "validation": 0.2, "metric": "r2"},
        "must have mode='max' for the metric of this run, got mode='min'",
    ),
    "a score each step": (
        {"schedule": PLATEAU, "validation": 0.2, "metric": "loss", "schedule_every": "step"},
        "schedule_every must be 'epoch' for ReduceLROnPlateau",
    ),
    "no scheduler to step": (
        {"schedule": "cosine", "schedule_every": "step"},
        "schedule_every belongs to a scheduler of torch's",
    ),
    "no scheduler but a function": (
        {"schedule": lambda step: 1.0, "schedule_every": "step"},
        "got a function of steps; leave",
    ),
    "what cannot go back": (
        {"schedule": partial(lr_scheduler.ExponentialLR, gamma=0.9), "on_divergence": "recover"},
        "needs a schedule that can go back, got ExponentialLR",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_together_is_refused(name: str) -> None:
    words, said = REFUSED[name]
    with pytest.raises(PlanError, match=said) as caught:
        mbgd.fit(net(), (X, Y), **{**WORDS, **words})
    assert "\n" not in str(caught.value)


def test_a_rate_set_beside_a_scheduler_is_refused_and_its_instance_has_its_own() -> None:
    model = net()
    optimizer = SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.9)
    with pytest.raises(
        PlanError, match="learning_rate must be the optimizer's own beside a schedule of yours, got 0.3"
    ):
        mbgd.fit(model, (X, Y), optimizer=optimizer, schedule=scheduler, learning_rate=0.3, **WORDS)
    flow = mbgd.steps(model, (X, Y), optimizer=optimizer, schedule=scheduler, every="epoch", **WORDS)
    next(flow)
    optimizer.param_groups[0]["lr"] = 0.5
    with pytest.raises(PlanError, match="learning_rate must be left to schedule=ExponentialLR between two steps"):
        next(flow)


def test_a_table_takes_a_factory_and_a_function() -> None:
    frame = pd.DataFrame({"a": np.arange(200.0), "y": np.arange(200.0) ** 2})
    words: Any = {"epochs": 4, "learning_rate": 0.01, "hidden_layer_sizes": (4,), "patience": None}
    run = mbgd.fit_table(frame, "y", schedule=partial(lr_scheduler.ExponentialLR, gamma=0.5), **words)
    assert run.history["learning_rate"][-1] == pytest.approx(0.01 * 0.5**3, rel=1e-12)
    run = mbgd.fit_table(frame, "y", schedule=lambda step: 1 / (1 + step), **words)
    assert run.history["learning_rate"][-1] == pytest.approx(0.01 / run.steps_done, rel=1e-12)


# --- resume -------------------------------------------------------------------------------------------------------------

GIVEN: dict[str, tuple[Make, dict[str, Any]]] = {
    "after each epoch": (partial(lr_scheduler.ExponentialLR, gamma=0.7), {}),
    "after each update": (partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=EPOCHS * 5), {}),
    "by the scores": (
        partial(PLATEAU, factor=0.5, patience=0),
        {"validation": np.arange(N) % 4 == 0, "metric": "loss", "epochs": 12},
    ),
}


def stopped(folder: Path, model: nn.Module, look_at: int, **words: Any) -> None:
    seen = 0

    def broken(look: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == look_at:
            raise KeyError("the machine went down")

    with pytest.raises(KeyError):
        mbgd.fit(model, (X, Y), out=folder, callback=broken, checkpoint_every=3, **words)


@pytest.mark.parametrize("name", GIVEN)
def test_a_resumed_scheduler_stands_where_it_stood(name: str, tmp_path: Path) -> None:
    make, more = GIVEN[name]
    words = {**WORDS, **more}
    again = {key: more[key] for key in ("validation",) if key in more}
    models = [net() for _ in range(3)]
    optimizers = [SGD(m.parameters(), lr=0.1, momentum=0.9) for m in models]
    whole = mbgd.fit(models[0], (X, Y), optimizer=optimizers[0], schedule=make(optimizers[0]), **words)
    stopped(tmp_path / "run", models[1], 4, optimizer=optimizers[1], schedule=make(optimizers[1]), **words)
    with pytest.raises(PlanError, match="^(optimizer|schedule) was .*, which plan.json cannot hold; give .*= again"):
        mbgd.resume(tmp_path / "run", models[2], (X, Y), **again)
    run = mbgd.resume(
        tmp_path / "run", models[2], (X, Y), optimizer=optimizers[2], schedule=make(optimizers[2]), **again
    )
    assert torch.equal(flat(models[2]), flat(models[0]))
    rates = {r["step"]: r["learning_rate"] for r in whole.history}
    both = {r["step"]: r["learning_rate"] for r in run.history if r["step"] in rates}
    assert both == {step: rates[step] for step in both}
    assert len(both) > 3


def test_another_schedule_at_resume_is_refused(tmp_path: Path) -> None:
    def make(gamma: float, kind: Any = lr_scheduler.ExponentialLR) -> dict[str, Any]:
        return {"schedule": partial(kind, gamma=gamma)}

    stopped(tmp_path / "run", net(), 4, **make(0.7), **WORDS)
    with pytest.raises(
        PlanError, match="schedule must be made anew as it was when the run was begun: after 3 steps Expo"
    ):
        mbgd.resume(tmp_path / "run", net(), (X, Y), **make(0.8))
    with pytest.raises(
        PlanError, match="schedule must stay what the run was begun with, ExponentialLR, stepped after each e"
    ):
        mbgd.resume(tmp_path / "run", net(), (X, Y), schedule=partial(lr_scheduler.StepLR, step_size=3))
    stopped(tmp_path / "function", net(), 4, schedule=lambda step: 1 / (1 + step), **WORDS)
    with pytest.raises(PlanError, match="schedule must be what the run was begun with, which gave the rate"):
        mbgd.resume(tmp_path / "function", net(), (X, Y), schedule=lambda step: 1 / (2 + step))


def test_a_table_with_a_schedule_of_ones_own_is_resumed(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(200.0), "y": np.arange(200.0) ** 2})
    words: Any = {
        "epochs": 6,
        "learning_rate": 0.01,
        "hidden_layer_sizes": (4,),
        "patience": None,
        "checkpoint_every": 2,
    }
    make = partial(lr_scheduler.ExponentialLR, gamma=0.5)
    whole = mbgd.fit_table(frame, "y", schedule=make, **words)
    calls = 0

    def broken(look: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyError("gone")

    with pytest.raises(KeyError):
        mbgd.fit_table(frame, "y", schedule=make, out=tmp_path / "run", callback=broken, **words)
    with pytest.raises(
        PlanError, match="schedule was functools.partial, which plan.json cannot hold; give schedule= again"
    ):
        mbgd.resume(tmp_path / "run", data=frame)
    with pytest.raises(
        PlanError, match=r"no option gives; in Python mbgd.resume\('.*run', schedule=...\) goes on with it"
    ):
        resume_table(tmp_path / "run", data=None, json=False, quiet=True)
    run = mbgd.resume(tmp_path / "run", data=frame, schedule=make)
    assert torch.equal(flat(run.model), flat(whole.model))
    assert mbgd.verify(tmp_path / "run", data=frame, schedule=make).wrong == ()


def test_an_estimator_takes_a_factory() -> None:
    words: Any = {"hidden_layer_sizes": (4,), "epochs": 4, "learning_rate": 0.01}
    rates: list[float] = []
    mbgd.MBGDRegressor(
        schedule=partial(lr_scheduler.ExponentialLR, gamma=0.5),
        callback=lambda record: rates.append(record["learning_rate"]),
        **words,
    ).fit(X.numpy(), Y.numpy())
    assert rates == [0.01, 0.005, 0.0025, 0.00125]
