"""What a user asks for and sets between two steps: how often the body runs, rates, momenta, new layers; against loops by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

import mbgd
from mbgd import DivergenceError, PlanError
from mbgd.data.order import Order
from oracles import cut
from problems import arrays, flat, mlp

N, WIDTH, M, EPOCHS = 50, 4, 8, 6  # seven updates an epoch, the last of 2 rows
X, Y = (torch.tensor(part) for part in arrays(N, WIDTH)[:2])
WORDS: Any = {"loss": "squared_error", "batch_size": M, "epochs": EPOCHS, "seed": 3}
ENGINES = pytest.mark.parametrize("engine", ["fused", "autograd"])


def net() -> nn.Sequential:
    return mlp(WIDTH)


# --- how often the body runs --------------------------------------------------------------------------------------------


@ENGINES
@pytest.mark.parametrize(
    ("every", "ends"),
    [
        ("epoch", [7, 14, 21, 28, 35, 40]),
        (1, [*range(1, 41)]),
        (6, [6, 12, 18, 24, 30, 36, 40]),
        (7, [7, 14, 21, 28, 35, 40]),
        (1000, [40]),
    ],
)
def test_the_body_runs_as_often_as_it_says_and_changes_no_bit(engine: str, every: Any, ends: list[int]) -> None:
    words = {**WORDS, "engine": engine, "steps": 40, "optimizer": "adam", "schedule": "one_cycle"}  # within epoch 6
    whole, looked = net(), net()
    once = list(mbgd.steps(whole, (X, Y), **words))
    seen = list(mbgd.steps(looked, (X, Y), every=every, **words))
    assert [done.progress.steps_done for done in seen] == ends
    assert torch.equal(flat(whole), flat(looked))
    for name in ("losses", "sizes", "rate_factors"):
        assert np.array_equal(
            np.concatenate([getattr(d, name) for d in once]), np.concatenate([getattr(d, name) for d in seen])
        )


@pytest.mark.parametrize(("every", "count"), [("epoch", 2), (400, 3), (300, 4)])
def test_more_updates_than_are_gathered_at_once_are_one_look(every: Any, count: int) -> None:
    """Autograd takes 256 updates at a time: 500 of an epoch come in one piece all the same."""
    words = {**WORDS, "engine": "autograd", "batch_size": 1, "epochs": 20}
    seen = list(
        mbgd.steps(nn.Linear(WIDTH, 1).double(), (X.repeat(10, 1), Y.repeat(10)), every=every, **{**words, "epochs": 2})
    )
    assert [len(done) for done in seen] == [1000 // count] * 2 if every == "epoch" else len(seen) == count
    assert sum(len(done) for done in seen) == 1000


def test_steps_before_a_divergence_are_yielded_though_nobody_would_have_looked_yet() -> None:
    order = Order(N, seed=3).rows(0)
    x = X.clone()
    x[order[20]] = float("inf")
    flow = mbgd.steps(net(), (x, Y), every="epoch", **WORDS)
    assert next(flow).progress.steps_done == 2
    with pytest.raises(DivergenceError, match="in step 3 "):
        next(flow)


@pytest.mark.parametrize("every", [0, -1, 2.5, "batch", True])
def test_how_often_is_checked(every: Any) -> None:
    with pytest.raises(PlanError, match="^every must be a whole number of at least 1 or 'epoch', got "):
        mbgd.steps(net(), (X, Y), every=every, **WORDS)


# --- what is set on the optimizer between two steps ---------------------------------------------------------------------

Change = Callable[[torch.optim.Optimizer, nn.Sequential, int], None]


def by_hand(model: nn.Sequential, optimizer: torch.optim.Optimizer, change: Change, *, epochs: int = EPOCHS) -> Tensor:
    """The loop of every tutorial, over the same rows; the sum of a short batch is divided by M too."""
    order = Order(N, seed=3)
    for epoch in range(epochs):
        for batch in cut(order.rows(epoch), M, "short"):
            optimizer.zero_grad()
            (nn.functional.mse_loss(model(X[batch])[:, 0], Y[batch], reduction="sum") / M).backward()
            optimizer.step()
        change(optimizer, model, epoch)
    return flat(model)


def halve(optimizer: torch.optim.Optimizer, model: nn.Sequential, epoch: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] *= 0.5


def set_all(name: str, values: list[Any]) -> Change:
    def change(optimizer: torch.optim.Optimizer, model: nn.Sequential, epoch: int) -> None:
        for group in optimizer.param_groups:
            group[name] = values[epoch % len(values)]

    return change


def unfreeze(optimizer: torch.optim.Optimizer, model: nn.Sequential, epoch: int) -> None:
    if epoch == 2:
        optimizer.add_param_group({"params": [*model[0].parameters()], "lr": 0.02})


def freeze(optimizer: torch.optim.Optimizer, model: nn.Sequential, epoch: int) -> None:
    model[0].requires_grad_(epoch % 3 == 2)


SGD, ADAM = torch.optim.SGD, torch.optim.AdamW
CHANGES: dict[str, tuple[Callable[[nn.Sequential], torch.optim.Optimizer], Change]] = {
    "the rate of sgd": (lambda m: SGD(m.parameters(), lr=0.1), halve),
    "the rate with momentum": (lambda m: SGD(m.parameters(), lr=0.1, momentum=0.9), halve),
    "the rate of adamw": (lambda m: ADAM(m.parameters(), lr=0.01), halve),
    "the rate of one group": (
        lambda m: SGD([{"params": m[0].parameters(), "lr": 0.1}, {"params": m[-1].parameters()}], lr=0.05),
        lambda o, m, e: o.param_groups[1].update(lr=0.05 / (e + 1)),
    ),
    "momentum": (lambda m: SGD(m.parameters(), lr=0.05, momentum=0.5), set_all("momentum", [0.6, 0.7, 0.8, 0.9])),
    "momentum on and off": (lambda m: SGD(m.parameters(), lr=0.05), set_all("momentum", [0.9, 0.0])),
    "weight decay": (lambda m: ADAM(m.parameters(), lr=0.01), set_all("weight_decay", [0.0, 0.3])),
    "betas": (lambda m: ADAM(m.parameters(), lr=0.01), set_all("betas", [(0.5, 0.9), (0.9, 0.99)])),
    "a layer frozen for a while": (lambda m: SGD(m.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1), freeze),
    "a group more": (lambda m: SGD(m[-1].parameters(), lr=0.1), unfreeze),
}


@ENGINES
@pytest.mark.parametrize("name", CHANGES)
def test_what_is_set_between_two_steps_holds_from_the_next(name: str, engine: str) -> None:
    make, change = CHANGES[name]
    theirs, ours, still = net(), net(), net()
    expected = by_hand(theirs, make(theirs), change)
    optimizer = make(ours)
    for epoch, _ in enumerate(mbgd.steps(ours, (X, Y), optimizer=optimizer, every="epoch", engine=engine, **WORDS)):
        change(optimizer, ours, epoch)
    # float64; fused kernels round in another order, and Adam's division by sqrt(v) magnifies 1e-16 by up to 1e3
    np.testing.assert_allclose(flat(ours).numpy(), expected.numpy(), atol=1e-11)
    assert not torch.allclose(expected, by_hand(still, make(still), lambda *_: None), atol=1e-4)


@ENGINES
def test_a_torch_scheduler_stepped_by_hand_is_followed_to_its_last_rate(engine: str) -> None:
    make = torch.optim.lr_scheduler.CosineAnnealingLR
    theirs, ours = net(), net()
    optimizer = SGD(theirs.parameters(), lr=0.1)
    scheduler = make(optimizer, T_max=EPOCHS)
    expected = by_hand(theirs, optimizer, lambda *_: scheduler.step())
    optimizer = SGD(ours.parameters(), lr=0.1)
    scheduler = make(optimizer, T_max=EPOCHS)
    for _ in mbgd.steps(ours, (X, Y), optimizer=optimizer, every="epoch", engine=engine, **WORDS):
        scheduler.step()
    np.testing.assert_allclose(flat(ours).numpy(), expected.numpy(), atol=1e-12)
    assert optimizer.param_groups[0]["lr"] == 0.0  # what was set after the last update stands


@ENGINES
@pytest.mark.parametrize("how", [{"schedule": "cosine"}, {"warmup": 0.1}], ids=str)
def test_a_rate_set_where_a_schedule_sets_it_is_refused(engine: str, how: Any) -> None:
    model = net()
    optimizer = SGD(model.parameters(), lr=0.1)
    flow = mbgd.steps(model, (X, Y), optimizer=optimizer, every="epoch", engine=engine, **WORDS, **how)
    next(flow)
    optimizer.param_groups[0]["momentum"] = 0.5  # is no matter of the schedule
    next(flow)
    halve(optimizer, model, 0)
    with pytest.raises(
        PlanError, match=r"^learning_rate must be left to .* between two steps, got \[0.05\] on the optimizer"
    ):
        next(flow)
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_what_has_no_fused_form_is_refused_between_two_steps() -> None:
    model = net()
    optimizer = SGD(model.parameters(), lr=0.1)
    flow = mbgd.steps(model, (X, Y), optimizer=optimizer, every="epoch", engine="fused", **WORDS)
    next(flow)
    optimizer.param_groups[0]["maximize"] = True
    with pytest.raises(
        PlanError, match="maximize=True has no fused form; set it before the first step, or give engine="
    ):
        next(flow)


def test_sparse_rows_follow_the_rate_and_refuse_what_moves_every_column() -> None:
    rows = csr_array(np.where(np.abs(X.numpy()) > 0.8, X.numpy(), 0.0))
    dense = torch.tensor(rows.toarray())
    theirs, ours = nn.Linear(WIDTH, 1).double(), nn.Linear(WIDTH, 1).double()
    ours.load_state_dict(theirs.state_dict())
    for model, data in ((theirs, dense), (ours, rows)):
        optimizer = SGD(model.parameters(), lr=0.1)
        engine = "autograd" if data is dense else "fused"
        for epoch, _ in enumerate(
            mbgd.steps(model, (data, Y), optimizer=optimizer, every="epoch", engine=engine, **WORDS)
        ):
            optimizer.param_groups[0].update(lr=0.1 / (epoch + 2), weight_decay=0.01 * epoch)
    np.testing.assert_allclose(flat(ours).numpy(), flat(theirs).numpy(), atol=1e-12)
    optimizer = SGD(ours.parameters(), lr=0.1)
    flow = mbgd.steps(ours, (rows, Y), optimizer=optimizer, every="epoch", engine="fused", **WORDS)
    next(flow)
    optimizer.param_groups[0]["momentum"] = 0.9
    with pytest.raises(PlanError, match="but SGD with momentum moves every weight; set it before the first step"):
        next(flow)
