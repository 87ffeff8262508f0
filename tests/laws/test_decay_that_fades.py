"""Laws of weight decay that fades: torch's own optimizer whose groups are told their decay at each step, whatever the engine,
the threads, the chunks, and the places where a run is broken off.

The oracle is a loop by hand over a table of shares: those of 8 planned steps, from cosines of eighths of a half circle.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor, nn

import mbgd
from engines import Case, close, engine, train
from mbgd.data.stream import ChunkEnds
from mbgd.desk.run import fitting, module_plan
from mbgd.errors import PlanError
from mbgd.model.table import TableModel
from mbgd.step.update import Updater, make_optimizer
from problems import flat

STEPS = 8
FLAT, HIGH, LOW = 1.0, (1 + sqrt(0.5)) / 2, (1 - sqrt(0.5)) / 2  # half of 1 + the cosine of 0, 45 and 135 degrees
SHARES = [FLAT, FLAT, FLAT, FLAT, FLAT, HIGH, 0.5, LOW]
N, WIDTH, M = 40, 6, 5
CHANCE = np.random.default_rng(3)
X = sp.random(N, WIDTH, density=0.6, random_state=4).toarray() * 2
Y = CHANCE.normal(size=N)
Make = Callable[[Any], torch.optim.Optimizer]
CASES: dict[str, tuple[dict[str, Any], Make]] = {
    "sgd": (
        {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.5},
        lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.5, fused=False),
    ),
    "momentum": (
        {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.5, "momentum": 0.9},
        lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.5, momentum=0.9, fused=False),
    ),
    "nesterov": (
        {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.5, "momentum": 0.8, "nesterov": True},
        lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.5, momentum=0.8, nesterov=True, fused=False),
    ),
    "adam": (
        {"optimizer": "adam", "learning_rate": 0.05, "weight_decay": 0.5},
        lambda p: torch.optim.Adam(p, lr=0.05, weight_decay=0.5, fused=False),
    ),
    "adamw": (
        {"optimizer": "adamw", "learning_rate": 0.05, "weight_decay": 2.0},
        lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=2.0, fused=False),
    ),
    "adamw's own decay": (
        {"optimizer": "adamw", "learning_rate": 0.5},
        lambda p: torch.optim.AdamW(p, lr=0.5, fused=False),
    ),
}


def net() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(WIDTH, 7), nn.ReLU(), nn.Linear(7, 1)).double()


def linear() -> nn.Module:
    torch.manual_seed(6)
    return nn.Linear(WIDTH, 1).double()


def of_groups(model: nn.Module) -> torch.optim.Optimizer:
    """Each tensor with a rate and a decay of its own, the first without any."""
    groups = [{"params": [p], "lr": 0.05 * (i + 1), "weight_decay": 0.4 * i} for i, p in enumerate(model.parameters())]
    return torch.optim.SGD(groups, lr=1.0, fused=False)


def by_hand(model: nn.Module, optimizer: torch.optim.Optimizer, shares: list[float] = SHARES) -> Tensor:
    """The rows in their order, each batch's squared error over its size."""
    x, y = torch.tensor(X), torch.tensor(Y)
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    for step, share in enumerate(shares):
        for group, decay in zip(optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = share * decay
        rows = slice(step * M, (step + 1) * M)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows])[:, 0], y[rows]).backward()
        optimizer.step()
    return flat(model)


def words(**how: Any) -> dict[str, Any]:
    natural = {"loss": "squared_error", "batch_size": M, "steps": STEPS, "sampling": "natural"}
    return {**natural, "weight_decay_fades": True, **how}


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    # float64, 8 steps; fused kernels round in another order, and Adam's division by sqrt(v) magnifies that by up to 1e3
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-11)


@pytest.mark.parametrize("which", ["fused", "autograd"])
@pytest.mark.parametrize("make", [net, linear])
@pytest.mark.parametrize("name", CASES)
def test_it_is_torchs_own_told_its_decay_at_each_step(name: str, make: Callable[[], nn.Module], which: str) -> None:
    how, own = CASES[name]
    fading, staying = make(), make()
    expected = by_hand(fading, own(fading.parameters()))
    found = mbgd.fit(make(), (X, Y), **words(**how, engine=which))
    assert_same(flat(found.model), expected)
    assert not torch.allclose(expected, by_hand(staying, own(staying.parameters()), [1.0] * STEPS), atol=1e-3)


@pytest.mark.parametrize("make", [net, linear])
@pytest.mark.parametrize("data", [X, sp.csr_matrix(X)], ids=["dense", "sparse"])
def test_so_it_is_by_groups_and_where_decay_of_sparse_rows_is_lazy(data: Any, make: Callable[[], nn.Module]) -> None:
    model, ours = make(), make()
    expected = by_hand(model, of_groups(model))
    optimizer = of_groups(ours)
    run = mbgd.fit(ours, (data, Y), **words(optimizer=optimizer))
    assert run.plan.weight_decay_fades
    assert "has a form" in run.engine_reason
    assert_same(flat(ours), expected)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.4 * i for i in range(len(optimizer.param_groups))]
    plain = by_hand(model := make(), torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=3.0))
    assert_same(flat(mbgd.fit(make(), (data, Y), **words(learning_rate=0.1, weight_decay=3.0)).model), plain)


def table() -> Case:
    """Embedded categories, embedded numbers and scales, AdamW, clipped and averaged."""
    edges = tuple(np.linspace(-2, 2, 4) for _ in range(3))
    model = TableModel(3, (4, 30), 1, hidden_layer_sizes=(9, 6), seed=3, edges=edges, scaled=True, dropout=0.2).double()
    chance = np.random.default_rng(1)
    codes = np.stack([chance.integers(0, c, 61) for c in (4, 30)], axis=1)
    return Case(
        model,
        (torch.tensor(chance.normal(size=(61, 3))), torch.tensor(codes)),
        torch.tensor(chance.normal(size=61)),
        m=8,
        steps=30,
        optimizer="adamw",
        options={"learning_rate": 0.02, "weight_decay": 1.0},
        clip_norm=0.5,
        ema_decay=0.9,
    )


def without_dropout(case: Case) -> Case:
    for module in case.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return case


def test_the_engines_agree_also_past_the_planned_steps() -> None:
    made = without_dropout(table())
    for over in (1, 20, 30):
        fused = train(made, engine(made, fused=True, decay_fades_over=over))
        autograd = train(made, engine(made, fused=False, decay_fades_over=over))
        close(fused.numbers(), autograd.numbers(), within=1e-10)
        close(fused.losses, autograd.losses, within=1e-10)
        for team in (2, 3):
            close(
                train(made, engine(made, fused=True, team=team, decay_fades_over=over)).numbers(),
                fused.numbers(),
                within=1e-10,
            )


def bits(*, fused: bool, over: int | None, team: int = 1, ends: ChunkEnds = ChunkEnds(), after: int = 0) -> bytes:
    made = table()
    by = train(made, engine(made, fused=fused, team=team, decay_fades_over=over), ends=ends, after=after)
    return by.numbers().numpy().tobytes()


@pytest.mark.parametrize(("fused", "team"), [(True, 1), (True, 2), (False, 1)])
def test_far_from_its_end_it_is_what_stays_and_chunks_are_not_seen(fused: bool, team: int) -> None:
    staying = bits(fused=fused, over=None, team=team)
    assert bits(fused=fused, over=10**6, team=team) == staying
    every = (ChunkEnds(), ChunkEnds(max_batches=1), ChunkEnds(max_batches=7))
    assert len(fading := {bits(fused=fused, over=30, team=team, ends=ends) for ends in every}) == 1
    assert staying not in fading


@pytest.mark.parametrize("which", ["fused", "autograd", "sparse"])
@pytest.mark.parametrize("cut", [1, 3, 4])
def test_a_run_broken_off_and_resumed_has_the_same_bits(tmp_path: Path, cut: int, which: str) -> None:
    """A look every 3 steps of 14: before, at and behind the middle."""
    adam = {"optimizer": "adamw", "learning_rate": 0.05, "engine": which}
    of = {"optimizer": "sgd", "learning_rate": 0.1} if which == "sparse" else adam
    how = words(**of, weight_decay=1.0, steps=14, checkpoint_every=3)
    data = (sp.csr_matrix(X) if which == "sparse" else X, Y)
    whole = mbgd.fit(net(), data, **how)
    going = fitting(net(), data, plan=module_plan(how, None), out=tmp_path / "cut")
    for _ in range(cut):
        next(going)
    going.close()
    other = linear_filled(net())
    again = mbgd.resume(tmp_path / "cut", other, data)
    assert again.plan.weight_decay_fades
    assert torch.equal(flat(again.model), flat(whole.model))


def linear_filled(model: nn.Module) -> nn.Module:
    """What is not restored shows."""
    for parameter in model.parameters():
        nn.init.constant_(parameter, 5.0)
    return model


def test_groups_have_their_decays_back_even_after_an_error() -> None:
    class Broken(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            seen.extend(group["weight_decay"] for group in self.param_groups)
            raise ZeroDivisionError

    seen: list[float] = []
    model = linear()
    updater = Updater(make_optimizer(Broken(model.parameters(), lr=0.1, weight_decay=0.8), model), model)
    with pytest.raises(ZeroDivisionError):
        updater.apply(1.0, 0.25)
    assert seen == [0.2]
    assert [group["weight_decay"] for group in updater.optimizer.param_groups] == [0.8]


class WithoutDecay(torch.optim.Optimizer):
    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (
            {"steps": None, "time_limit": 5},
            "weight_decay_fades must know how many steps are planned, got no such number; set epochs or steps, beside "
            "another limit",
        ),
        (
            {"optimizer": WithoutDecay},
            "weight_decay_fades needs an optimizer with weight decay, got WithoutDecay; use 'adamw' or 'sgd'",
        ),
    ],
)
def test_what_cannot_fade_is_refused_in_one_sentence(how: dict[str, Any], why: str) -> None:
    with pytest.raises(PlanError) as raised:
        mbgd.fit(linear(), (X, Y), **words(**how))
    assert str(raised.value) == why
