"""A user's function once an epoch: what it is shown, how it ends a run, what it may set, and what its failure leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import mbgd
from mbgd import PlanError, StopReason
from mbgd.data.order import Order
from mbgd.desk.train import Look
from oracles import cut
from problems import arrays, flat, mlp

N, WIDTH, M = 40, 4, 8  # five updates an epoch
X, Y, W = (torch.tensor(part) for part in arrays(N, WIDTH))
WORDS: Any = {"loss": "squared_error", "batch_size": M, "epochs": 6, "seed": 3, "learning_rate": 0.1}
ENGINES = pytest.mark.parametrize("engine", ["fused", "autograd"])


def net() -> nn.Sequential:
    return mlp(WIDTH, dropout=0.2, norm=True)


@ENGINES
def test_it_sees_each_epoch_once_and_changes_no_bit(engine: str) -> None:
    alone, watched, looks = mlp(WIDTH), mlp(WIDTH), list[Look]()
    mbgd.fit(alone, (X, Y, W), engine=engine, **WORDS)
    run = mbgd.fit(watched, (X, Y, W), engine=engine, callback=looks.append, **WORDS)
    assert torch.equal(flat(alone), flat(watched))
    assert [look.epoch for look in looks] == [1, 2, 3, 4, 5, 6]
    assert run.ending.reason is StopReason.EPOCHS
    theirs, order = mlp(WIDTH), Order(N, seed=3)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for epoch, look in enumerate(looks):  # the loop by hand: the loss of each row before its update
        total = 0.0
        for batch in cut(order.rows(epoch), M, "short"):
            optimizer.zero_grad()
            loss = (W[batch] * (theirs(X[batch])[:, 0] - Y[batch]) ** 2).sum()
            total += loss.item()
            (loss / M / W.mean()).backward()
            optimizer.step()
        assert look.epoch_loss == pytest.approx(total / W.sum().item(), rel=1e-9)


def test_the_end_of_a_plan_within_an_epoch_is_seen_too() -> None:
    looks: list[Look] = []
    mbgd.fit(mlp(WIDTH), (X, Y), callback=looks.append, **{**WORDS, "epochs": None, "steps": 12})
    assert [look.progress.steps_done for look in looks] == [5, 10, 12]


def test_true_ends_it_there_and_says_so() -> None:
    run = mbgd.fit(mlp(WIDTH), (X, Y), callback=lambda look: look.epoch >= 3, **WORDS)
    assert run.steps_done == 15
    assert run.ending.reason is StopReason.ASKED
    assert str(run.ending) == "the callback asked for the end"
    same = mlp(WIDTH)
    mbgd.fit(same, (X, Y), **{**WORDS, "epochs": 3})
    assert torch.equal(flat(run.model), flat(same))


def test_scores_of_validation_rows_are_shown() -> None:
    looks: list[Look] = []
    run = mbgd.fit(mlp(WIDTH), (X, Y), validation=0.2, callback=looks.append, **WORDS)
    assert [look.scores["r2"] for look in looks] == run.history["validation_r2"]


@ENGINES
def test_the_model_may_predict_in_it_and_is_trained_on_in_its_modes(engine: str) -> None:
    quiet, seen = net(), []
    model = net()

    def look_inside(look: Look) -> None:
        assert not any(module.training for module in model.modules())
        with torch.no_grad():
            seen.append(model(X)[:, 0])
        torch.rand(3)

    mbgd.fit(quiet, (X, Y), engine=engine if engine == "autograd" else "auto", **WORDS)
    mbgd.fit(model, (X, Y), engine=engine if engine == "autograd" else "auto", callback=look_inside, **WORDS)
    assert torch.equal(flat(model), flat(quiet))
    assert model.training
    model.eval()
    assert torch.equal(seen[-1], model(X)[:, 0])


@ENGINES
def test_a_rate_set_in_it_holds_from_the_next_epoch(engine: str, tmp_path: Path) -> None:
    """Also where the run is killed and gone on with: the rate is in the checkpoint."""
    theirs, order = mlp(WIDTH), Order(N, seed=3)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for epoch in range(6):
        for batch in cut(order.rows(epoch), M, "short"):
            optimizer.zero_grad()
            (((theirs(X[batch])[:, 0] - Y[batch]) ** 2).sum() / M).backward()
            optimizer.step()
        optimizer.param_groups[0]["lr"] *= 0.5

    def train(broken_at: int | None, *, out: Path | None = None, resume: Path | None = None) -> Tensor:
        model = mlp(WIDTH)
        own = torch.optim.SGD(model.parameters(), lr=0.1)

        def halve(look: Look) -> None:
            own.param_groups[0]["lr"] *= 0.5
            if look.epoch == broken_at:
                raise KeyError("the machine went down")

        words = {name: value for name, value in WORDS.items() if name != "learning_rate"}
        if resume is not None:
            mbgd.resume(resume, model, (X, Y), optimizer=own, callback=halve)
        else:
            mbgd.fit(model, (X, Y), optimizer=own, callback=halve, engine=engine, out=out, checkpoint_every=3, **words)
        return flat(model)

    np.testing.assert_allclose(train(None).numpy(), flat(theirs).numpy(), atol=1e-12)
    with pytest.raises(KeyError):
        train(4, out=tmp_path / "run")
    assert torch.equal(train(None, resume=tmp_path / "run"), train(None))


@pytest.mark.parametrize(("cut_at", "checkpoint_every"), [(1, 1), (3, 3), (5, 1)])
def test_what_it_raises_leaves_a_run_that_is_gone_on_with(cut_at: int, checkpoint_every: int, tmp_path: Path) -> None:
    words = {**WORDS, "checkpoint_every": checkpoint_every, "validation": 0.2, "optimizer": "adam"}
    whole, model, other = net(), net(), net()
    seen: list[float] = []
    again: list[float] = []

    def stops(losses: list[float]) -> Any:
        def at(look: Look) -> bool:
            losses.append(look.epoch_loss)
            return look.epoch == 5 and losses[-1] < 10

        return at

    mbgd.fit(whole, (X, Y), callback=stops(seen), **words)

    def broken(look: Look) -> None:
        if look.epoch == cut_at:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        mbgd.fit(model, (X, Y), out=tmp_path / "run", callback=broken, **words)
    assert mbgd.verify(tmp_path / "run").wrong == ()
    run = mbgd.resume(tmp_path / "run", other, (X, Y), callback=stops(again))
    assert torch.equal(flat(other), flat(whole))
    assert again == seen[len(seen) - len(again) :]
    assert run.ending.reason is StopReason.ASKED
    assert mbgd.verify(tmp_path / "run", net(), (X, Y)).wrong == ()


@pytest.mark.parametrize("returned", [1, 0.5, "stop", np.zeros(2)])
def test_what_is_no_truth_value_is_refused(returned: Any) -> None:
    with pytest.raises(PlanError, match="^callback must return True to stop, or False or None to go on, got "):
        mbgd.fit(mlp(WIDTH), (X, Y), callback=lambda look: returned, **WORDS)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(PlanError, match="^callback must be a function of what was seen in an epoch, got list"):
        mbgd.fit(mlp(WIDTH), (X, Y), callback=[], **WORDS)  # type: ignore[arg-type]


def test_tables_are_watched_model_by_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=150), "y": rng.normal(size=150)})
    words: Any = {"epochs": 4, "hidden_layer_sizes": (4,), "patience": None, "folds": 2}
    epochs: list[float] = []

    def two(look: Look) -> bool:
        epochs.append(look.epoch)
        return look.epoch == 2

    mbgd.fit_table(frame, "y", callback=two, **words)
    assert epochs == [1, 2, 1, 2]
    epochs.clear()
    mbgd.fit_table(
        frame, "y", callback=lambda look: epochs.append(look.epoch), validation="none", **{**words, "folds": None}
    )
    assert epochs == [1, 2, 3, 4]
