"""Law: a run of fit stopped or killed after any step, and resumed, ends with the same bits: weights, optimizer, history.

Each run starts from a module with other weights than the first had: what it goes on from is in the folder alone.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import textwrap
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import mbgd
from mbgd import DataError, PlanError, Run, SavedFileError, StopReason
from mbgd.desk.folder import read_plan
from mbgd.desk.run import fitting, module_plan
from mbgd.record.checkpoint import newest
from mbgd.store import write_sealed
from problems import arrays, flat, mlp

N, WIDTH, M = 30, 3, 4
X, Y, W = (torch.tensor(part) for part in arrays(N, WIDTH))
MASK = np.arange(N) % 5 == 0  # 24 rows are left: 6 steps an epoch


def net() -> nn.Sequential:
    return mlp(WIDTH, hidden=5, dropout=0.3, norm=True)


class Two(nn.Module):
    """The same with two outputs, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        out = self.inner(x)[:, 0]
        return {"mean": out, "twice": 2 * out}


def model_of(name: str) -> nn.Module:
    return Two() if "several" in name else net()


def other_net(name: str = "") -> nn.Module:
    """The same module with nothing of its weights or buffers."""
    model = model_of(name)
    for tensor in model.state_dict().values():
        tensor.fill_(7)
    return model


class Noisy(Dataset[Any]):
    """Augments by all three generators, as users' own datasets do."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        noise = torch.randn(WIDTH) + np.random.normal() + random.random()
        return X[row] + 0.1 * noise, Y[row], W[row]


def cubed(output: Tensor, y: Tensor) -> Tensor:
    return (output[:, 0] - y).abs() ** 3


def both(outputs: dict[str, Tensor], y: tuple[Tensor, Tensor]) -> Tensor:
    return (outputs["mean"] - y[0]) ** 2 + (outputs["twice"] - y[1]).abs()


def gap(y_true: Any, y_pred: Any) -> float:
    return float(np.abs(y_true[0] - y_pred["mean"]).max())


AGAIN: dict[str, dict[str, Any]] = {  # what plan.json cannot hold
    "everything": {"validation": MASK},
    "a dataset that draws at random": {},
    "one's own loss and optimizer": {"loss": cubed, "optimizer": partial(torch.optim.RMSprop, momentum=0.5)},
    "several outputs and a metric": {"loss": both, "metric": (gap, "min"), "validation": MASK},
    "stopped by patience": {"validation": (X[MASK], Y[MASK])},
    "stopped by target loss": {},
}
PLANS: dict[str, dict[str, Any]] = {
    "everything": {
        "batch_size": M,
        "loss": "squared_error",
        "optimizer": "adam",
        "learning_rate": 0.05,
        "schedule": "one_cycle",
        "ema_decay": 0.8,
        "clip_norm": 1.0,
        "epochs": 3,
        "checkpoint_every": 1,
    },
    "a dataset that draws at random": {
        "batch_size": M,
        "loss": "huber",
        "momentum": 0.9,
        "learning_rate": 0.05,
        "tail": "even",
        "validation": 0.2,
        "epochs": 3,
        "checkpoint_every": 1,
    },
    "one's own loss and optimizer": {
        "batch_size": M,
        "learning_rate": 0.01,
        "sampling": "iid",
        "schedule": "cosine",
        "micro_batch": 2,
        "allow_batch_norm": True,
        "validation": 0.2,
        "epochs": 3.5,
        "checkpoint_every": 3,
    },
    "several outputs and a metric": {
        "batch_size": M,
        "optimizer": "adam",
        "learning_rate": 0.05,
        "epochs": 3,
        "checkpoint_every": 1,
    },
    "stopped by patience": {
        "batch_size": M,
        "loss": "squared_error",
        "optimizer": "adam",
        "learning_rate": 0.5,
        "patience": 2,
        "epochs": 50,
        "checkpoint_every": 5,
    },
    "stopped by target loss": {
        "batch_size": M,
        "loss": "squared_error",
        "optimizer": "adam",
        "learning_rate": 0.05,
        "target_loss": 0.2,
        "epochs": 50,
        "checkpoint_every": 5,
    },
}


def rows_of(name: str) -> Any:
    return Noisy() if "dataset" in name else (X, (Y, -Y), W) if "several" in name else (X, Y, W)


def fresh_chance() -> None:
    """A run ought not to depend on the caller's generators; a dataset may, and finds them as its first run did."""
    np.random.seed(5)
    random.seed(5)


def saved_aside() -> None:
    """Wait for a checkpoint that is being written beside the training."""
    for thread in threading.enumerate():
        if thread.name == "mbgd-aside":
            thread.join()


def begun(name: str, folder: Path, copies: Path) -> tuple[Run, list[Path]]:
    """The whole run, and a copy of its folder as it stood after each look."""
    fresh_chance()
    plan = module_plan({**PLANS[name], **AGAIN[name]}, None)
    flow, kept = fitting(model_of(name), rows_of(name), plan=plan, out=folder), []
    while True:
        try:
            look = next(flow)
        except StopIteration as ended:
            run: Run = ended.value
            break
        saved_aside()
        kept.append(shutil.copytree(folder, copies / f"{look.progress.steps_done:03}"))
    kept.append(shutil.copytree(folder, copies / "end"))
    return run, kept


def facts(folder: Path) -> dict[str, Any]:
    """All that the last checkpoint and the history hold, times apart."""
    found = newest(folder)
    assert found is not None
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    for line in history:
        del line["seconds"]
    result = json.loads((folder / "result.json").read_text())
    kept = {k: v for k, v in found.checkpoint.facts.items() if k != "seconds"}
    return {
        "step": found.checkpoint.step,
        "facts": kept,
        "history": history,
        "scores": result["scores"],
        "ending": {k: v for k, v in result["facts"].items() if k != "seconds"},
    }


def same_bits(one: Path, other: Path) -> bool:
    a, b = newest(one), newest(other)
    assert a is not None
    assert b is not None
    mine, theirs = a.checkpoint.tensors, b.checkpoint.tensors
    return set(mine) == set(theirs) and all(
        torch.equal(t.contiguous().view(torch.uint8), theirs[name].contiguous().view(torch.uint8))
        if t.ndim
        else t == theirs[name]
        for name, t in mine.items()
    )


@pytest.mark.parametrize("name", PLANS)
def test_stopping_after_any_step_and_resuming_changes_nothing(name: str, tmp_path: Path) -> None:
    whole, copies = begun(name, tmp_path / "whole", tmp_path / "copies")
    expected, weights = facts(tmp_path / "whole"), flat(whole.model)
    resumed_at = set()
    for copy in copies:
        found = newest(copy)
        assert found is not None
        resumed_at.add(found.checkpoint.step)
        np.random.seed(99)  # a resumed run starts in another process, whose generators stand elsewhere
        model = other_net(name)
        run = mbgd.resume(copy, model, rows_of(name), **AGAIN[name])
        assert torch.equal(flat(model), weights), copy
        assert facts(copy) == expected, copy
        assert same_bits(copy, tmp_path / "whole"), copy
        assert run.ending.reason is whole.ending.reason
        assert [row["loss"] for row in run.history] == whole.history["loss"]
        assert run.notices == ()
    every = PLANS[name]["checkpoint_every"]
    assert resumed_at >= set(range(0, whole.steps_done, every))
    if "patience" in name:
        assert whole.ending.reason is StopReason.NO_PROGRESS
        assert whole.resolved["best_step"] < whole.steps_done
    if "target" in name:
        assert whole.ending.reason is StopReason.TARGET_LOSS


def test_resuming_ten_times_in_one_epoch_changes_nothing(tmp_path: Path) -> None:
    """Stopped every second step by a limit in time that is over at once, each time in the folder of the time before."""
    words: Any = {"loss": "squared_error", "batch_size": M, "optimizer": "adam", "epochs": 3, "checkpoint_every": 2}
    words["ema_decay"] = 0.9
    whole, model = net(), other_net()
    mbgd.fit(whole, (X, Y, W), out=tmp_path / "whole", **words)
    run = mbgd.fit(net(), (X, Y, W), out=tmp_path / "run", time_limit=1e-9, **words)
    times = 0
    while run.ending.reason is StopReason.TIME:
        assert run.steps_done == 2 * (times + 1)
        times += 1
        # a limit that lies just behind the seconds that are used up
        limit = _seconds(tmp_path / "run") + 1e-9 if times < 11 else 1e9
        run = mbgd.resume(tmp_path / "run", model, (X, Y, W), time_limit=limit)
    assert times == 11
    assert torch.equal(flat(model), flat(whole))
    assert facts(tmp_path / "run") == facts(tmp_path / "whole")


def _seconds(folder: Path) -> float:
    found = newest(folder)
    assert found is not None
    return float(found.checkpoint.facts["seconds"])


def test_a_damaged_checkpoint_is_passed_over_and_said(tmp_path: Path) -> None:
    whole, copies = begun("everything", tmp_path / "whole", tmp_path / "copies")
    copy = copies[9]
    found = newest(copy)
    assert found is not None
    state = found.checkpoint.path / "state.safetensors"
    whole_state = state.read_bytes()
    state.write_bytes(whole_state[:-1] + bytes([whole_state[-1] ^ 1]))
    model = other_net()
    run = mbgd.resume(copy, model, (X, Y, W), **AGAIN["everything"])
    assert len(run.notices) == 1
    assert "was passed over" in run.notices[0]
    assert torch.equal(flat(model), flat(whole.model))
    assert facts(copy) == facts(tmp_path / "whole")


CHILD = textwrap.dedent(
    """
    import json, os, random, signal, sys, time
    sys.path[:0] = {path!r}
    import torch, mbgd
    import torch._dynamo  # which an optimizer would import at its first step, for a second, in each child
    from test_resume_fit import AGAIN, PLANS, X, Y, W, fresh_chance, net, other_net

    torch.set_num_threads(1)
    run, kills, epochs, chance = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), random.Random(8)
    words = {{**PLANS["everything"], "epochs": epochs, **AGAIN["everything"]}}

    def train():
        fresh_chance()
        if os.path.exists(run + "/plan.json"):
            mbgd.resume(run, other_net(), (X, Y, W), **AGAIN["everything"])
        else:
            mbgd.fit(net(), (X, Y, W), out=run, **words)

    def names():
        return os.listdir(run + "/checkpoints") if os.path.exists(run + "/plan.json") else []

    def saved():
        return max((int(name[5:17]) for name in names() if name.startswith("step-")), default=-1)

    def saving():
        return any(name.startswith(".tmp-") for name in names())

    done = inside = 0
    while done < kills:
        child = os.fork()  # from a process that has imported everything and computed nothing
        if not child:
            train()
            os._exit(0)
        wanted = saved() + chance.randrange(1, 5)
        while saved() < wanted and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.0005)
        if done % 2:
            time.sleep(chance.uniform(0.0, 0.004))  # what it is at then is its own affair
        else:
            while not saving() and os.waitpid(child, os.WNOHANG) == (0, 0):
                pass
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        inside += saving()
        done += 1
    at = saved()
    train()
    print(json.dumps([at, inside]))
    """
)


def killed(run: Path, *, kills: int, epochs: int) -> tuple[int, int]:
    """Train in a process that is killed so many times, then once more to the end: (step of the last kill, how many fell
    into a save)."""
    code = CHILD.format(path=[str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code, str(run), str(kills), str(epochs)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    at, inside = json.loads(done.stdout)
    return at, inside


@pytest.mark.parametrize(
    ("kills", "epochs"), [(20, 20), pytest.param(200, 200, marks=pytest.mark.slow)], ids=["20 kills", "200 kills"]
)
def test_killed_at_random_moments_and_resumed_it_ends_with_the_same_bits(
    kills: int, epochs: int, tmp_path: Path
) -> None:
    at, inside = killed(tmp_path / "killed", kills=kills, epochs=epochs)
    assert at >= kills  # each of them got on
    assert kills < 200 or inside >= 20  # half of them were sent while one was seen to be written
    fresh_chance()
    model = net()
    words: Any = {**PLANS["everything"], "epochs": epochs, **AGAIN["everything"]}
    mbgd.fit(model, (X, Y, W), out=tmp_path / "whole", **words)
    assert facts(tmp_path / "killed") == facts(tmp_path / "whole")
    assert same_bits(tmp_path / "killed", tmp_path / "whole")
    loaded = other_net()
    mbgd.load(tmp_path / "killed", loaded)
    assert torch.equal(flat(loaded), flat(model))


# --- what a resume refuses, and what it says ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    mbgd.fit(net(), (X, Y, W), out=folder, loss="squared_error", batch_size=M, epochs=2, checkpoint_every=5)
    return folder


class Wider(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


WRONG: dict[str, tuple[Any, Any, dict[str, Any], type[Exception], str]] = {
    "no module": (None, (X, Y, W), {}, PlanError, "trained a module of your own: give it and its rows again"),
    "another module": (Wider, (X, Y, W), {}, SavedFileError, "it belongs to another architecture"),
    "fewer rows": (
        net,
        (X[:-1], Y[:-1], W[:-1]),
        {},
        DataError,
        "got rows 29, they were 30; give those, in the same order",
    ),
    "other rows": (net, (X + 1e-9, Y, W), {}, DataError, "got other values; give those, in the same order"),
    "rows in another order": (net, (X.flip(0), Y.flip(0), W.flip(0)), {}, DataError, "got other values"),
    "no weights": (net, (X, Y), {}, DataError, "got rows without weights, they had some; give those"),
    "weights of another type": (
        net,
        (X, Y, W.float()),
        {},
        DataError,
        "got types float64 and float64 and float32, they were float64 and",
    ),
    "another rate": (
        net,
        (X, Y, W),
        {"learning_rate": 3},
        PlanError,
        "learning_rate must stay what the run was begun with",
    ),
    "more epochs": (
        net,
        (X, Y, W),
        {"epochs": 9},
        PlanError,
        "epochs must stay what the run was begun with, 2.0, got 9; leave it",
    ),
    "a word unknown": (net, (X, Y, W), {"lr": 3}, PlanError, "say learning_rate instead"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_resume_with_something_else_is_refused(name: str, stopped: Path) -> None:
    model, data, words, kind, said = WRONG[name]
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    with pytest.raises(kind) as caught:
        mbgd.resume(stopped, None if model is None else model(), data, **words)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file() and path.name != ".lock"} == {
        path: content for path, content in before.items() if path.name != ".lock"
    }


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SavedFileError, match="run must be a folder that a training run has written"):
        mbgd.resume(tmp_path / "nothing", net(), (X, Y))
    with pytest.raises(SavedFileError, match=r"run must hold plan.json"):
        mbgd.resume(tmp_path, net(), (X, Y))


def test_threads_are_those_of_the_run_and_a_change_is_said(stopped: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(stopped, tmp_path / "run")
    assert mbgd.resume(copy, net(), (X, Y, W)).resolved["threads"] == 1
    run = mbgd.resume(copy, net(), (X, Y, W), threads=2)
    assert run.notices == ("threads is 2, the run was begun with 1: bits may differ",)
    plan = read_plan(copy)
    plan["versions"]["torch"] = "1.0"
    write_sealed(copy / "plan.json", plan)
    run = mbgd.resume(copy, net(), (X, Y, W))
    assert len(run.notices) == 1
    assert "the run was begun with 1.0" in run.notices[0]
