"""`mbgd verify`: any changed byte of any file is found, the last interval is trained again to the same bits, nothing is changed."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import mbgd
from command import LABEL, NUMBER, table
from mbgd.cli import run as command
from mbgd.desk.table_plan import table_plan
from mbgd.desk.tables import table_fitting
from mbgd.record import checkpoint
from mbgd.record.checkpoint import newest
from mbgd.store import read_sealed, write_sealed
from short_runs import MASK, W, X, Y, fit, other_net

HOW = ("--epochs", "4", "--quiet", "--dropout", "0.2")  # 9 steps an epoch
KINDS = {
    "one model": (*NUMBER, *HOW, "--checkpoint-every", "5"),
    "from the start": (*NUMBER, *HOW, "--checkpoint-every", "20"),
    "no checkpoint": (*NUMBER, *HOW),
    "refit": (*LABEL, *HOW, "--checkpoint-every", "7", "--refit"),
    "members": (*NUMBER, *HOW, "--checkpoint-every", "7", "--members", "2"),
    "members, refit": (*LABEL, *HOW, "--checkpoint-every", "7", "--members", "2", "--refit"),
    "folds": (*NUMBER, *HOW, "--checkpoint-every", "7", "--folds", "2", "--members", "2"),
}
SAID = {
    "one model": ["steps 31 to 35 were trained again, to the same bits"],
    "from the start": ["steps 1 to 20 were trained again, to the same bits"],
    "no checkpoint": ["has no checkpoint of a step behind its start"],
    "refit": [f"{which}were trained again, to the same bits" for which in ("steps 29 to 35 ", "refit, steps 8 to 14 ")],
    "members": [f"model {k} of 2, steps 29 to 35 were trained again, to the same bits" for k in (1, 2)],
    "members, refit": [
        f"model {k} of 2, {which}were trained again, to the same bits"
        for k in (1, 2)
        for which in ("steps 29 to 35 ", "refit, steps 8 to 14 ")
    ],
    "folds": [f"model {k} of 4, steps 8 to 14 were trained again, to the same bits" for k in (1, 2, 3, 4)],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "t.csv"
    table().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def made(data: Path) -> Callable[[str], Path]:
    """Each kind of run, trained once."""

    def make(kind: str) -> Path:
        folder = data.parent / kind
        if not folder.exists():
            assert command(["train", str(data), *KINDS[kind], "--out", str(folder)]) == 0
        return folder

    return make


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize("kind", ["one model", *(pytest.param(k, marks=pytest.mark.slow) for k in list(KINDS)[1:])])
def test_a_whole_run_holds_and_stays_as_it_is(
    kind: str, made: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = made(kind)
    before = contents(folder)
    capfd.readouterr()
    assert command(["verify", str(folder)]) == 0
    said = capfd.readouterr()
    assert all(sentence in said.out + said.err for sentence in SAID[kind])
    assert said.out.count("were trained again, to the same bits") == len(SAID[kind]) - (kind == "no checkpoint")
    held = [line for line in said.out.splitlines() if line.startswith("holds: ")]
    for path in before:
        if path.endswith((".json", ".jsonl", "model.safetensors")) and "step-" not in path:
            assert any(path in line for line in held), path
    for path in folder.rglob("step-*"):
        assert any(str(path) in line for line in held), path
    assert contents(folder) == before
    assert command(["verify", str(folder), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["wrong"] == []


def test_any_damaged_file_is_named(
    made: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(made("one model"), tmp_path / "run")
    chance = random.Random(3)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in (".lock", "README.md")]
    assert len(files) == 9  # plan, manifest, history, model, result, and two files of each of two checkpoints
    for path in files:
        whole = path.read_bytes()
        if path.parent == folder and path.suffix != ".safetensors":
            states = [whole[: len(whole) // 2], b""] if path.suffix == ".json" else [b"{\n" + whole]
        else:
            at = chance.randrange(len(whole))
            states = [whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :], whole[:-1]]
        for state in states:
            path.write_bytes(state)
            capfd.readouterr()
            assert command(["verify", str(folder)]) == 4
            said = capfd.readouterr().err
            named = path.parent.name if path.parent.name.startswith("step-") else path.name
            assert said.startswith("mbgd: error: ")
            assert named in said
            assert said.count("\n") == 1
        path.write_bytes(whole)
    (folder / "model.safetensors").unlink()
    assert command(["verify", str(folder)]) == 4
    assert "model.safetensors is missing" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("refit", "refit/history.jsonl"),
        ("members", "models/2/history.jsonl"),
        ("members, refit", "models/2/first.safetensors"),
        ("folds", "out_of_fold.parquet"),
    ],
)
def test_damage_behind_the_last_checkpoint_is_found_by_the_result(
    kind: str, name: str, made: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(made(kind), tmp_path / "run")
    path = folder / name
    whole = path.read_bytes()
    at = whole.rindex(b'"loss": ') + len(b'"loss": 0.') if path.suffix == ".jsonl" else len(whole) // 2
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    capfd.readouterr()
    assert command(["verify", str(folder)]) == 4
    said = f"{path} must be as the run left it, its SHA-256 shows that it was changed; restore it from a copy"
    assert capfd.readouterr().err == f"mbgd: error: {said}\n"


def test_a_run_without_a_checkpoint_is_whole_and_its_last_line_says_what_was_not_done(
    made: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = "every file is whole; no step was repeated"
    shutil.copytree(made("no checkpoint"), tmp_path / "r")
    capfd.readouterr()
    assert command(["verify", str(tmp_path / "r")]) == 0
    said = capfd.readouterr()
    assert said.out.splitlines()[-1] == whole
    assert "note: no step was repeated: " in said.err
    assert command(["verify", str(made("one model"))]) == 0  # which has checkpoints
    assert whole not in capfd.readouterr().out
    (tmp_path / "r" / "model.safetensors").write_bytes(b"other")
    assert command(["verify", str(tmp_path / "r")]) == 4
    assert whole not in capfd.readouterr().out


def test_what_is_made_for_the_repetition_goes_where_a_signal_ends_the_command(
    made: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By `os._exit`, which ends no block."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    undo, there = [], []

    def interrupted(*parts: object, **how: object) -> object:
        there.append([path.name[:12] for path in tmp_path.iterdir()])
        undo[-1]()
        there.append([path.name[:12] for path in tmp_path.iterdir()])
        raise KeyboardInterrupt

    @contextmanager
    def undone(how: Callable[[], None]) -> Iterator[None]:
        undo.append(how)
        yield

    monkeypatch.setattr("mbgd.signals.undo_if_ended", undone)
    monkeypatch.setattr("mbgd.desk.replay.going", interrupted)
    assert command(["verify", str(made("one model"))]) == 130
    assert there == [["mbgd-verify-"], []]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": -1}, "steps must be a whole number of at least 0, got -1"),
        ({"files": {"../t.csv": {"bytes": 1, "sha256": "0" * 64}}}, "files must be of files in the run's folder"),
    ],
)
def test_a_result_that_was_sealed_again_and_says_what_none_says_is_no_file_as_written(
    changed: dict[str, object],
    said: str,
    made: Callable[[str], Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = shutil.copytree(made("no checkpoint"), tmp_path / "run") / "result.json"
    write_sealed(path, {**read_sealed(path), **changed})
    capfd.readouterr()
    assert command(["verify", str(path.parent)]) == 4
    assert capfd.readouterr().err.startswith(f"mbgd: error: {path} must be the result of a run: {said}")


DAMAGED = [("one model", "", ""), ("members", "models/2", "model 2 of 2, "), ("refit", "refit", "refit, ")]


@pytest.mark.parametrize("where", DAMAGED, ids=lambda where: where[0])
def test_a_checkpoint_that_training_does_not_come_to_is_found(
    where: tuple[str, str, str], made: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whole by its checksums, and yet not what the steps before it make: one bit of one weight."""
    kind, place, which = where
    folder = shutil.copytree(made(kind), tmp_path / "run")
    training = folder / place
    found = newest(training)
    assert found is not None
    tensors = dict(found.checkpoint.tensors)
    name = next(name for name in tensors if name.startswith("parameter."))
    tensors[name].view(torch.int32).view(-1)[0] ^= 1
    shutil.rmtree(found.checkpoint.path)
    checkpoint.save(training, step=found.checkpoint.step, tensors=tensors, facts=found.checkpoint.facts)
    capfd.readouterr()
    assert command(["verify", str(folder)]) == 4
    said = capfd.readouterr().err
    assert re.search(
        rf"error: {which}steps \d+ to {found.checkpoint.step} were trained again, {name} came out in", said
    )


def test_changed_and_moved_data(
    made: Callable[[str], Path], data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(made("one model"), tmp_path / "run")
    moved = tmp_path / "t.csv"
    shutil.copy(data, moved)
    assert command(["verify", str(folder), "--data", str(moved)]) == 0
    moved.write_bytes(moved.read_bytes().replace(b"red", b"rde", 1))
    capfd.readouterr()
    assert command(["verify", str(folder), "--data", str(moved)]) == 3
    assert "the data is not what it was when the run began" in capfd.readouterr().err
    assert command(["verify", str(tmp_path / "nothing")]) == 4


def test_a_module_of_ones_own_and_a_frame(tmp_path: Path) -> None:
    fit(tmp_path / "run", epochs=1, checkpoint_every=6)
    alone = mbgd.verify(tmp_path / "run")
    assert not alone.wrong
    assert alone.unseen == ("no step was repeated: give its module and rows, verify(run, model, data)",)
    np.random.seed(9)
    found = mbgd.verify(tmp_path / "run", other_net(), (X, Y, W), validation=MASK)
    assert "steps 13 to 18 were trained again, to the same bits" in found.held[-1]
    assert (found.wrong, found.unseen) == ((), ())
    frame = table()
    plan = table_plan({"target": "y", "epochs": 2, "checkpoint_every": 4, "drop": ("key", "when")})
    for _ in table_fitting(frame, plan=plan, out=tmp_path / "frame"):
        pass
    assert "to the same bits" in mbgd.verify(tmp_path / "frame", data=frame).held[-1]
    with pytest.raises(mbgd.PlanError, match="was trained on a frame in memory; give it again"):
        mbgd.verify(tmp_path / "frame")
