"""`mbgd.steps`, the loop itself: equal to fit, and a good guest between two yields, however it ends."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mbgd
from mbgd import DivergenceError, PlanError
from problems import arrays, flat, mlp

N, WIDTH, M = 50, 4, 8
X, Y, W = (torch.tensor(part) for part in arrays(N, WIDTH))
WORDS: Any = {"loss": "squared_error", "batch_size": M, "epochs": 80, "seed": 3, "learning_rate": 0.1}  # 560 steps


def net(**options: Any) -> nn.Sequential:
    return mlp(WIDTH, **{"dropout": 0.3, "norm": True, **options})


def end(model: nn.Module, **how: Any) -> Tensor:
    for _ in mbgd.steps(model, (X, Y, W), **{**WORDS, **how}):
        pass
    return flat(model)


@pytest.mark.parametrize("extra", [{}, {"ema_decay": 0.9}, {"optimizer": "adam", "schedule": "one_cycle"}], ids=str)
def test_steps_to_their_end_are_fit(extra: dict[str, Any]) -> None:
    ours, theirs = net(), net()
    run = mbgd.fit(ours, (X, Y, W), **{**WORDS, **extra})
    assert torch.equal(end(theirs, **extra), flat(ours))
    assert run.steps_done == 560


def test_every_step_is_told() -> None:
    seen = list(mbgd.steps(net(), (X, Y, W), **WORDS))
    assert sum(len(done) for done in seen) == seen[-1].progress.steps_done == 560
    assert seen[-1].progress.rows_seen == 80 * N
    assert len(seen) > 2
    sizes = np.concatenate([done.sizes for done in seen])
    assert sizes.tolist() == [*[M] * 6, 2] * 80
    assert all(np.isfinite(done.losses).all() and len(done.losses) == len(done) for done in seen)


def test_between_two_yields_everything_is_the_callers() -> None:
    """Its random numbers come as if nothing ran in between, its thread count stands, and it may look and train on."""
    plain = end(net())
    torch.manual_seed(9)
    expected = torch.rand(4)
    torch.manual_seed(9)
    torch.set_num_threads(2)
    model, drawn = net(), []
    torch.manual_seed(9)
    for _ in mbgd.steps(model, (X, Y, W), threads=1, **WORDS):
        assert torch.get_num_threads() == 2
        assert torch.is_grad_enabled()
        drawn.append(torch.rand(1))
        model.eval()
        with torch.no_grad():
            model(X)
        model.train()
    assert torch.equal(torch.cat(drawn), expected[: len(drawn)])
    assert len(drawn) > 2
    assert torch.equal(flat(model), plain)  # what the caller drew has reached no dropout mask
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("how", ["break", "close", "garbage", "error", "throw"])
def test_breaking_off_leaves_everything_as_it_was(how: str) -> None:
    model = net().eval()
    model[1].train()
    modes = [module.training for module in model.modules()]
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    flow = mbgd.steps(model, (X, Y, W), threads=1, prefetch=2, **WORDS)
    done = next(flow)
    assert model.training
    if how == "break":
        for _ in flow:
            break
        flow.close()
    elif how == "close":
        flow.close()
    elif how == "garbage":
        del flow
        gc.collect()
    elif how == "error":
        with pytest.raises(ZeroDivisionError):
            _ = [1 / 0 for _ in flow]
        flow.close()
    else:
        with pytest.raises(KeyError):
            flow.throw(KeyError("stop"))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == 2
    assert [module.training for module in model.modules()] == modes
    assert done.progress.steps_done > 0
    assert all(p.grad is None for p in model.parameters())
    import threading

    assert not [thread for thread in threading.enumerate() if thread.name == "mbgd-ahead"]


def test_stopping_leaves_the_weights_on_that_step() -> None:
    model, same = net(), net()
    for done in mbgd.steps(model, (X, Y, W), **WORDS):
        stopped_at = done.progress.steps_done
        break
    assert 0 < stopped_at < 560
    assert torch.equal(end(same, steps=stopped_at), flat(model))


def test_two_loops_side_by_side_do_not_touch_each_other() -> None:
    """One of each in turn, as a teacher and a pupil would be trained."""
    one, other = net(), net(hidden=5)
    flows = [mbgd.steps(one, (X, Y, W), **WORDS), mbgd.steps(other, (X, Y, W), **{**WORDS, "seed": 4})]
    while flows:
        flows = [flow for flow in flows if next(flow, None) is not None]
    assert torch.equal(flat(one), end(net()))
    assert torch.equal(flat(other), end(net(hidden=5), seed=4))


def test_a_loss_that_is_not_finite_comes_after_the_good_steps() -> None:
    x = X.clone()
    order = [int(row) for batch in mbgd.batches(torch.arange(N), batch_size=M, seed=3) for row in batch]
    x[order[20]] = float("inf")
    model, same = net(), net()
    flow = mbgd.steps(model, (x, Y, W), **WORDS)
    assert next(flow).progress.steps_done == 2
    with pytest.raises(DivergenceError, match="in step 3 "):
        next(flow)
    assert torch.equal(end(same, steps=2), flat(model))


@pytest.mark.parametrize("word", ["validation", "patience", "target_loss", "time_limit", "checkpoint_every", "metric"])
def test_what_only_fit_does_is_refused(word: str) -> None:
    words = {
        "validation": 0.1,
        word: 0.1 if word in ("validation", "target_loss") else "loss" if word == "metric" else "3s",
    }
    words |= {"patience": 1} if word == "patience" else {}
    with pytest.raises(
        PlanError, match=r"^(validation|target_loss|time_limit|checkpoint_every|patience|metric) belongs to fit"
    ):
        mbgd.steps(net(), (X, Y), loss="squared_error", **words)


def test_wrong_arguments_are_refused_before_the_first_step() -> None:
    with pytest.raises(PlanError, match="say learning_rate instead"):
        mbgd.steps(net(), (X, Y), loss="squared_error", lr=0.1)  # type: ignore[call-arg]
    with pytest.raises(PlanError, match="dropout belongs to fit_table"):
        mbgd.steps(net(), (X, Y), loss="squared_error", dropout=0.1)  # type: ignore[call-arg]


class Noisy(torch.utils.data.Dataset[Any]):
    """Augments at random, from torch's generator."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return X[row] + 0.1 * torch.randn(WIDTH, dtype=torch.float64), Y[row]


def test_a_dataset_that_draws_at_random_draws_anew_each_epoch_and_the_same_each_run() -> None:
    seen: list[Tensor] = []

    class Spy(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                seen.append(x.detach().clone())
            return super().forward(x)

    def run() -> Tensor:
        seen.clear()
        model = Spy(*net(norm=False))
        for _ in mbgd.steps(model, Noisy(), **{**WORDS, "epochs": 40, "batch_size": N, "sampling": "iid"}):
            torch.rand(3)  # the caller draws, too
        return flat(model)

    first = run()
    noises = torch.stack(seen)
    assert len(seen) == 40
    assert len(torch.unique(noises.flatten())) > 0.9 * noises.numel()  # no chunk draws what another has drawn
    assert torch.equal(run(), first)
