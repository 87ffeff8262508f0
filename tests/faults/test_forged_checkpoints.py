"""Law: a checkpoint that says what none says, its digests right, is passed over for the one before with a notice; where none is
left the resume is refused, and nothing of it is ever put into the model."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from mbgd.errors import SavedFileError
from mbgd.model.tensors import tensor_bytes
from mbgd.record.checkpoint import load
from mbgd.store import seal
from short_runs import fit, outcome, resume

Forge = Callable[[dict[str, Tensor], dict[str, Any]], object]


def forge(path: Path, change: Forge) -> None:
    """A checkpoint of other tensors or facts, written and sealed as docs/formats.md has it."""
    found = load(path)
    tensors, facts = dict(found.tensors), json.loads(json.dumps(found.facts))
    change(tensors, facts)
    data = tensor_bytes(tensors)
    (path / "state.safetensors").write_bytes(data)
    said = json.loads((path / "manifest.json").read_text())
    del said["sha256"]
    said |= {
        "facts": facts,
        "files": {"state.safetensors": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}},
    }
    (path / "manifest.json").write_bytes(seal(said))


def put(*keys: Any, to: Any) -> Forge:
    def change(tensors: dict[str, Tensor], facts: Any) -> None:
        for key in keys[:-1]:
            facts = facts[key]
        facts[keys[-1]] = to(facts[keys[-1]]) if callable(to) else to

    return change


def tensor(name: str, make: Callable[[Tensor], Tensor]) -> Forge:
    return lambda tensors, facts: tensors.update({name: make(tensors[name])})


DAMAGE: dict[str, tuple[Forge, str]] = {
    "a moment of one number": (tensor("optimizer.0.exp_avg", lambda t: t.sum()), r"'optimizer.0.exp_avg' must be \(5, 3\)"),
    "a moment transposed": (tensor("optimizer.0.exp_avg_sq", lambda t: t.T.contiguous()), "'optimizer.0.exp_avg_sq' must be"),
    "a count of steps below 0": (tensor("optimizer.1.step", lambda t: -t), "'optimizer.1.step' must be one number of at least 0"),
    "no first moment": (lambda tensors, facts: tensors.pop("optimizer.0.exp_avg"), "'optimizer.0.exp_avg' must be there"),
    "best weights of one number": (tensor("best.parameter.0.weight", lambda t: t[:1, :1]), "'best.parameter.0.weight' must be"),
    "a best weight less": (lambda tensors, facts: tensors.pop("best.parameter.0.bias"), "'best.parameter.0.bias' must be there"),
    "steps below 0": (put("progress", "steps_done", to=-1), "facts.progress.steps_done must be a whole number of at least 0"),
    "a step more": (put("progress", "steps_done", to=lambda n: n + 1), "facts.progress.steps_done must be"),
    "a row behind the last": (put("progress", "cursor", "row", to=1 << 40), "facts.progress.cursor.row must be below the 92"),
    "rows of an epoch more": (put("progress", "rows_seen", to=lambda n: n + 92), "facts.progress.rows_seen must be"),
    "an epoch of text": (put("progress", "cursor", "epoch", to="1"), "facts.progress.cursor.epoch must be a whole number"),
    "a best step to come": (put("best", "steps_done", to=1 << 50), "facts.best must be of a step up to"),
    "a place behind the words": (put("generators", "numpy", 2, to=10**6), r"numpy\[2\] must be a whole number from 0 to 624"),
    "a generator of few words": (put("generators", "numpy", 1, to=[1]), r"numpy\[1\] must have at least 624"),
    "another generator": (put("generators", "numpy", 0, to="PCG64"), r"numpy\[0\] must be 'MT19937'"),
    "Python's of another version": (put("generators", "python", 0, to=2), r"generators.python\[0\] must be"),
    "seconds of text": (put("seconds", to="x"), "facts.seconds must be a number of at least 0"),
    "no state": (lambda tensors, facts: facts.pop("state"), "facts.state must be there"),
    "a rate of a list": (put("state", "groups", 0, "lr", to=[0.1]), "lr must be like"),
    "snapshots of none": (put("snapshots", to=[]), "facts.snapshots must have at least 1 entries"),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two checkpoints behind its start."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    fit(folder, engine="autograd", epochs=2)
    return folder


def stopped(whole: Path, to: Path) -> list[Path]:
    """A copy of the run as if it had been killed, and its checkpoints, the newest last."""
    shutil.copytree(whole, to)
    for name in ("result.json", "model.safetensors"):
        (to / name).unlink()
    return sorted((to / "checkpoints").iterdir())


@pytest.mark.parametrize("name", DAMAGE)
def test_what_no_checkpoint_says_is_passed_over(whole: Path, tmp_path: Path, name: str) -> None:
    change, message = DAMAGE[name]
    path = stopped(whole, tmp_path / "run")[-1]
    forge(path, change)
    run = resume(tmp_path / "run")
    assert len(run.notices) == 1
    assert f"checkpoint {path} was passed over: " in run.notices[0]
    assert re.search(message, run.notices[0])
    assert outcome(tmp_path / "run", checkpoint=False) == outcome(whole, checkpoint=False)


def test_where_none_is_left_the_run_is_refused(whole: Path, tmp_path: Path) -> None:
    for path in stopped(whole, tmp_path / "run"):
        forge(path, DAMAGE["a moment of one number"][0])
    with pytest.raises(SavedFileError, match="run must have one whole checkpoint, all 2 of .* are damaged"):
        resume(tmp_path / "run")


def test_another_architecture_is_no_damage(whole: Path, tmp_path: Path) -> None:
    """An older checkpoint would not help: it is said at once."""
    path = stopped(whole, tmp_path / "run")[-1]
    forge(path, tensor("parameter.0.weight", lambda t: t[:1]))
    with pytest.raises(
        SavedFileError, match=r"must hold 'parameter.0.weight' as .*; it belongs to another architecture"
    ):
        resume(tmp_path / "run")
