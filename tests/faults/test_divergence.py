"""Row M: a number that is not finite is caught before its update lands; `recover` goes back, halves the rate and resumes."""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mbgd
from mbgd import DivergenceError
from mbgd.data.order import Order
from mbgd.desk import parts, recover
from mbgd.desk.run import fitting, module_plan
from mbgd.record.checkpoint import newest
from mbgd.seeds import step_seed
from problems import flat
from short_runs import ENGINES, MASK, M, W, X, Y, fresh_chance, net, other_net, outcome, saved_aside, words

PLAIN: Any = {"loss": "squared_error", "batch_size": M, "optimizer": "sgd", "momentum": 0.9, "validation": MASK}
WILD = 2.0  # a rate at which the weights grow without end; its half or quarter does not


def kept_rows() -> np.ndarray[Any, Any]:
    return np.flatnonzero(~MASK)


def rows_of_step(step: int) -> list[int]:
    """The row ids of a step, counted from 1, of 23 steps an epoch."""
    epoch, place = divmod(step - 1, 23)
    order = Order(len(kept_rows()), 0, "reshuffle", kept_rows()).rows(epoch)
    return [int(row) for row in order[place * M : (place + 1) * M]]


def spoilt(step: int) -> Any:
    """Targets that are finite, one of which has a squared error that is not: in that step for the first time."""
    earlier = {row for before in range(1, step) for row in rows_of_step(before)} if step <= 23 else set()
    y = Y.clone()
    row = next(row for row in rows_of_step(step) if row not in earlier)
    y[row] = 1e200
    return y, row


@pytest.mark.parametrize(
    ("engine", "step"),
    [
        ("fused", 1),
        ("fused", 23),
        ("autograd", 17),
        *(pytest.param("autograd", k, marks=pytest.mark.slow) for k in (1, 23)),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_run_before_its_update(step: int, engine: str, tmp_path: Path) -> None:
    y, row = spoilt(step)
    model = net()
    fresh_chance()
    with pytest.raises(DivergenceError) as caught:
        mbgd.fit(model, (X, y, W), out=tmp_path / "run", **words(engine, checkpoint_every="1000s"))
    error = caught.value
    assert (error.step, error.exit_code) == (step, 6)
    assert row in error.rows
    assert sorted(error.rows) == sorted(rows_of_step(step))
    assert bool(torch.isfinite(flat(model)).all())
    found = newest(tmp_path / "run")
    assert found is not None
    assert found.checkpoint.step == step - 1
    assert all(bool(torch.isfinite(t).all()) for t in found.checkpoint.tensors.values() if t.is_floating_point())
    with pytest.raises(DivergenceError) as again:
        mbgd.resume(tmp_path / "run", other_net(), (X, y, W), validation=MASK)
    assert (again.value.step, again.value.rows) == (step, error.rows)


@pytest.mark.parametrize("step", [1, 50, pytest.param(69, marks=pytest.mark.slow)])
def test_a_gradient_that_is_not_finite_at_a_step_that_is_known(step: int, tmp_path: Path) -> None:
    """A loss of one's own, whose value stays finite: its slope at one step, known by its seed, is that of a root at 0."""
    wanted = step_seed(0, step - 1) % (1 << 64)

    def cubed(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        value = (output[:, 0] - y).abs() ** 3
        bad = torch.initial_seed() % (1 << 64) == wanted
        return value + torch.sqrt(torch.zeros_like(y) * output[:, 0]) if bad else value

    model = net()
    with pytest.raises(DivergenceError) as caught:
        mbgd.fit(model, (X, Y, W), out=tmp_path / "run", **{**words("autograd"), "loss": cubed})
    assert (caught.value.step, caught.value.exit_code) == (step, 6)
    assert list(caught.value.rows) == rows_of_step(step)
    assert bool(torch.isfinite(flat(model)).all())
    found = newest(tmp_path / "run")
    assert found is not None
    assert found.checkpoint.step == step - 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_rate_of_ten_billion_ends_in_finite_weights_and_names_its_rows(engine: str) -> None:
    model = linear()
    with pytest.raises(DivergenceError) as caught:
        mbgd.fit(model, (X, Y), **{**PLAIN, "epochs": 40, "learning_rate": 1e10, "engine": engine})
    assert bool(torch.isfinite(flat(model)).all())
    assert sorted(caught.value.rows) == sorted(rows_of_step(caught.value.step))


# --- recover -------------------------------------------------------------------------------------------------------------


def linear() -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Linear(3, 1).double()


def trained(folder: Path | None, *, engine: str = "fused", **more: Any) -> Any:
    model = linear()
    fresh_chance()
    run = mbgd.fit(
        model, (X, Y), out=folder, **{**PLAIN, "epochs": 60, "learning_rate": WILD, "engine": engine, **more}
    )
    return run, flat(model)


@pytest.mark.parametrize("engine", ["fused", pytest.param("autograd", marks=pytest.mark.slow)])
def test_from_its_start_a_recovered_run_is_the_run_of_the_lower_rate(engine: str) -> None:
    """Halving is exact, so the bits are those of a run that was begun with that rate."""
    with pytest.raises(DivergenceError):
        trained(None, engine=engine)
    run, weights = trained(None, engine=engine, on_divergence="recover")
    n = len(run.notices)
    assert 1 <= n < recover.MOST_RECOVERIES
    assert run.notices[0].endswith("was not finite: training went back to step 0 with the learning rate times 0.5")
    lower, expected = trained(None, engine=engine, learning_rate=WILD * 0.5**n)
    assert torch.equal(weights, expected)
    assert run.steps_done == lower.steps_done == 23 * 60
    lines = [line for line in run.history if line["recovered_from"] is not None]
    assert [line["step"] for line in lines] == [0] * n
    assert [line["learning_rate"] for line in lines] == [WILD * 0.5**k for k in range(1, n + 1)]
    rates = [line["learning_rate"] for line in run.history]
    assert rates[0] == WILD
    assert rates[-1] == WILD * 0.5**n


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots stand near each other, as a short test needs them."""
    for room in (parts, recover):
        monkeypatch.setattr(room, "SNAPSHOT_STEPS", 60)


@pytest.mark.parametrize(
    ("engine", "more"),
    [("fused", 0), *(pytest.param(engine, 8, marks=pytest.mark.slow) for engine in ENGINES)],
)
@pytest.mark.usefixtures("near")
def test_a_run_that_recovers_resumes_from_anywhere_to_the_same_bits(engine: str, more: int, tmp_path: Path) -> None:
    """The folder is copied after each look, before, between and behind two divergences, and gone on with."""
    how: Any = {**PLAIN, "epochs": 60, "engine": engine, "on_divergence": "recover", "checkpoint_every": 30}
    how |= {"learning_rate": 4.0, "momentum": 0.0, "warmup": 0.9}  # the rate rises slowly until it is too high
    fresh_chance()
    flow = fitting(linear(), (X, Y), plan=module_plan(how, None), out=tmp_path / "whole")
    copies = []
    for k, _ in enumerate(flow):
        saved_aside()
        copies.append(shutil.copytree(tmp_path / "whole", tmp_path / f"copy-{k}"))
    expected = outcome(tmp_path / "whole")
    back = [line for line in expected["history"] if "recovered_from" in line]
    assert [line["step"] for line in back] == [0, 300]  # once to the start, once to the older of two good snapshots
    assert back[1]["recovered_from"] > 600  # where the loss had grown far above theirs, none was taken
    chance, went_back = random.Random(4), set()
    after = [k for k, copy in enumerate(copies) if "recovered_from" in (copy / "history.jsonl").read_text()]
    some = sorted({after[0] - 1, len(copies) - 2, *chance.sample(range(len(copies)), more)})
    for k in some:
        found = newest(copies[k])
        assert found is not None
        went_back.add(len(found.checkpoint.facts.get("recoveries", ())))
        np.random.seed(99)
        model = linear()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(7)
        run = mbgd.resume(copies[k], model, (X, Y), validation=MASK)
        assert outcome(copies[k]) == expected, k
        assert len(run.notices) == len(back)
    assert {0, len(back)} <= went_back  # some from before the first time, some from after the last
    found = mbgd.verify(tmp_path / "whole", linear(), (X, Y), validation=MASK)
    assert "to the same bits" in found.held[-1]


def test_a_bad_row_is_met_again_and_ends_the_run_with_what_was_tried(tmp_path: Path) -> None:
    y, row = spoilt(5)
    with pytest.raises(DivergenceError, match="going back and halving the rate was tried 8 times") as caught:
        mbgd.fit(net(), (X, y), out=tmp_path / "run", **{**PLAIN, "epochs": 1, "learning_rate": 0.1},
                 on_divergence="recover")  # fmt: skip
    assert caught.value.step == 5
    assert row in caught.value.rows
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    back = [line for line in history if "recovered_from" in line]
    assert [line["recovered_from"] for line in back] == [5] * 8
    assert all(math.isclose(line["learning_rate"], 0.1 * 0.5**k) for k, line in enumerate(back, 1))
