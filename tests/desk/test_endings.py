"""How long a run waits for a better score, and what it is bounded by; and a resume with another optimizer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mbgd
from mbgd import MBGDError, PlanError, SavedFileError, StopReason
from mbgd.desk.folder import read_plan
from mbgd.desk.length import MOST_EPOCHS
from mbgd.desk.run import fitting, module_plan
from mbgd.loop.stop import Best
from mbgd.step.light_start import light_start
from mbgd.step.state import capture, restore
from mbgd.step.update import Updater, make_optimizer
from mbgd.store import write_sealed
from problems import arrays, flat, mlp

N, WIDTH = 40, 4
X, Y = (torch.tensor(part) for part in arrays(N, WIDTH)[:2])
MASK = np.arange(N) % 4 == 0
WORDS: Any = {"loss": "squared_error", "batch_size": 8, "seed": 3, "validation": MASK, "metric": "loss"}


def net() -> nn.Sequential:
    return mlp(WIDTH)


# --- patience -----------------------------------------------------------------------------------------------------------


def keras(scores: list[float], *, patience: int, min_delta: float, greater: bool) -> int | None:
    """The look at which Keras' EarlyStopping stops, counted from 1: its `on_epoch_end`, word for word."""
    sign = 1.0 if greater else -1.0
    best, wait = None, 0
    for k, current in enumerate(scores, 1):
        wait += 1
        if best is None or sign * (current - best) > min_delta:
            best, wait = current, 0
            continue
        if wait >= patience:
            return k
    return None


@pytest.mark.parametrize("greater", [True, False])
@pytest.mark.parametrize("min_delta", [0.0, 0.05, 0.3])
def test_a_gain_has_to_be_larger_than_min_delta(min_delta: float, greater: bool) -> None:
    rng = np.random.default_rng(7)
    for _ in range(50):
        scores = np.round(np.cumsum(rng.normal(scale=0.1, size=30)), 2).tolist()
        best, stop = Best(), None
        for k, score in enumerate(scores, 1):
            best = best.after(score, steps_done=k, epoch=k, greater_is_better=greater, min_delta=min_delta)
            if stop is None and best.looks_since >= 4:
                stop = k
            top = max(scores[:k]) if greater else min(scores[:k])
            assert best.score == top  # whatever a gain is, the best is the best, the later of two alike
            assert best.steps_done == k - scores[:k][::-1].index(top)
        assert stop == keras(scores, patience=4, min_delta=min_delta, greater=greater)


def test_small_gains_count_once_they_add_up() -> None:
    best = Best()
    since = []
    for k in range(7):
        best = best.after(0.25 * k, steps_done=k, epoch=k, greater_is_better=True, min_delta=0.6)
        since.append(best.looks_since)
    assert since == [0, 1, 2, 0, 1, 2, 0]


def test_a_run_ends_by_min_delta_and_its_resume_too(tmp_path: Path) -> None:
    words = {**WORDS, "patience": 3, "min_delta": 0.02, "epochs": 200, "learning_rate": 0.02, "checkpoint_every": 5}
    whole = mbgd.fit(net(), (X, Y), **words)
    assert whole.ending.reason is StopReason.NO_PROGRESS
    scores = [score for score in whole.history["validation_loss"] if score is not None]
    assert len(scores) == keras(scores, patience=3, min_delta=0.02, greater=False)
    longer = mbgd.fit(net(), (X, Y), **{**words, "min_delta": 0.0})
    assert longer.steps_done > whole.steps_done
    flow = fitting(net(), (X, Y), plan=module_plan(words, None), out=tmp_path / "run")
    for look in flow:
        if look.progress.cursor.epoch == len(scores) - 2:
            break
    flow.close()
    model = net()
    run = mbgd.resume(tmp_path / "run", model, (X, Y), validation=MASK)
    assert run.steps_done == whole.steps_done
    assert torch.equal(flat(model), flat(whole.model))


def test_min_delta_is_for_patience() -> None:
    with pytest.raises(PlanError, match="^min_delta needs patience, got min_delta=0.1 alone"):
        mbgd.fit(net(), (X, Y), min_delta=0.1, **WORDS)
    with pytest.raises(PlanError, match="^min_delta must be a number at least 0, got -1"):
        mbgd.fit(net(), (X, Y), min_delta=-1, patience=3, **WORDS)
    with pytest.raises(PlanError, match=r"'tol' is not an argument of MBGD; say min_delta \(with patience\) instead"):
        mbgd.fit(net(), (X, Y), tol=0.1, **WORDS)  # type: ignore[call-arg]


WAITS: dict[str, tuple[dict[str, Any], float | None]] = {
    "patience": ({"patience": 3}, MOST_EPOCHS),
    "a target loss": ({"target_loss": -1.0}, MOST_EPOCHS),
    "both": ({"patience": 3, "target_loss": -1.0}, MOST_EPOCHS),
    "patience and epochs": ({"patience": 3, "epochs": 4}, 4),
    "patience and a schedule that falls to an end": ({"patience": 3, "schedule": "cosine"}, 10),
    "patience and a fading decay": ({"patience": 3, "weight_decay_fades": True, "weight_decay": 0.1}, 10),
    "patience and steps": ({"patience": 3, "steps": 8}, 2),
    "patience and a time limit": ({"patience": 3, "time_limit": 1}, None),
    "nothing": ({}, 10),
}


@pytest.mark.parametrize("name", WAITS)
def test_every_run_has_a_bound(name: str) -> None:
    words, epochs = WAITS[name]
    looks: list[Any] = []

    def first(look: Any) -> bool:
        looks.append(look)
        return True

    mbgd.fit(net(), (X, Y), callback=first, **{**WORDS, **words})
    assert looks[0].epochs == epochs


def test_patience_alone_ends_a_run_that_goes_on_for_more_than_ten_epochs() -> None:
    run = mbgd.fit(net(), (X, Y), patience=10, learning_rate=0.02, **WORDS)
    assert run.ending.reason is StopReason.NO_PROGRESS
    assert 10 < run.resolved["epochs_done"] < MOST_EPOCHS


# --- another optimizer at a resume --------------------------------------------------------------------------------------


def groups(model: nn.Module) -> torch.optim.Optimizer:
    assert isinstance(model, nn.Sequential)
    with light_start():
        return torch.optim.Adam([{"params": model[0].parameters()}, {"params": model[-1].parameters()}], lr=0.01)


@pytest.mark.parametrize("old", [False, True], ids=["", "a run of a version that wrote no class"])
@pytest.mark.parametrize("other", ["SGD", "AdamW", "RMSprop"])
def test_a_resume_with_another_optimizer_is_refused(other: str, old: bool, tmp_path: Path) -> None:
    def words(kind: str) -> Any:
        return partial(getattr(torch.optim, kind), lr=0.01)

    flow = fitting(
        net(),
        (X, Y),
        plan=module_plan({**WORDS, "optimizer": words("Adam"), "epochs": 3, "checkpoint_every": 2}, None),
        out=tmp_path / "run",
    )
    next(flow), next(flow)
    flow.close()
    if old and other != "AdamW":  # whose settings are Adam's
        plan = read_plan(tmp_path / "run")
        del plan["resolved"]["optimizer"]
        write_sealed(tmp_path / "run" / "plan.json", plan)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.safetensors")}
    with pytest.raises(MBGDError, match=f"optimizer.*(Adam, got {other}|{other}, got one of Adam)") as caught:
        mbgd.resume(tmp_path / "run", net(), (X, Y), validation=MASK, optimizer=words(other))
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in before} == before
    mbgd.resume(tmp_path / "run", net(), (X, Y), validation=MASK, optimizer=words("Adam"))


def test_a_resume_with_another_rate_in_the_optimizer_is_refused(tmp_path: Path) -> None:
    def made(rate: float) -> Any:
        model = net()
        return model, torch.optim.SGD(model.parameters(), lr=rate)

    model, optimizer = made(0.1)
    words = {**WORDS, "optimizer": optimizer, "epochs": 3, "checkpoint_every": 2}
    flow = fitting(model, (X, Y), plan=module_plan(words, None), out=tmp_path / "run")
    next(flow)
    flow.close()
    model, optimizer = made(0.05)
    with pytest.raises(
        PlanError, match=r"^learning_rates must stay what the run was begun with, \[0.1\], got \[0.05\]; give"
    ):
        mbgd.resume(tmp_path / "run", model, (X, Y), validation=MASK, optimizer=optimizer)
    model, optimizer = made(0.1)
    mbgd.resume(tmp_path / "run", model, (X, Y), validation=MASK, optimizer=optimizer)


def test_another_structure_of_groups_is_refused() -> None:
    model = net()
    state = capture(Updater(make_optimizer("adam", model), model))
    with pytest.raises(
        SavedFileError, match=r"parameter groups, of \[2, 2\] tensors, got groups of \[4\]; give the opt"
    ):
        restore(Updater(groups(model), model), state)
    old = {key: value for key, value in state.facts.items() if key not in ("optimizer_class", "group_sizes")}
    with pytest.raises(SavedFileError, match="parameter groups"):
        restore(Updater(groups(model), model), type(state)(state.tensors, old))
    with pytest.raises(SavedFileError, match="must be of the optimizer SGD, got one with eps, which SGD has not"):
        restore(Updater(make_optimizer("sgd", model), model), type(state)(state.tensors, old))
    restore(Updater(make_optimizer("adam", model), model), type(state)(state.tensors, old))
