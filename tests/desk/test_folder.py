"""Run folders: when a checkpoint is due, what may be replaced, which names are free, what an older or foreign folder says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mbgd.desk.folder import (
    open_existing,
    read_plan,
    write_plan,
)
from mbgd.desk.new_folder import check_new, free_name, open_new
from mbgd.desk.plan import make_plan
from mbgd.desk.recorder import Recorder
from mbgd.desk.run_files import PLAN
from mbgd.errors import PlanError, SavedFileError, StorageError
from mbgd.loop.progress import Progress
from mbgd.store import FolderLock


def at(step: int) -> Progress:
    return Progress(steps_done=step, rows_seen=0)


def planned(path: Path, command: str = "fit_table") -> Path:
    path.mkdir(exist_ok=True)
    resolved = {"threads": 1, "engine": "fused", "device": "cpu"} if command == "fit" else {}
    write_plan(path, command=command, plan=make_plan({}), resolved=resolved)
    return path


def test_a_checkpoint_is_due_every_so_many_steps_or_seconds(tmp_path: Path) -> None:
    by_steps = Recorder(tmp_path, checkpoint_every=5)
    assert [step for step in range(1, 16) if by_steps.is_due(at(step), seconds=1e9)] == [5, 10, 15]
    by_seconds = Recorder(tmp_path, checkpoint_every="2.5s", saved_at=10.0)
    assert [seconds for seconds in (10.0, 12.4, 12.5, 99.0) if by_seconds.is_due(at(5), seconds)] == [12.5, 99.0]
    resumed = Recorder(tmp_path, checkpoint_every=None, saved_at=10.0, saved_step=5)
    assert [seconds for seconds in (69.9, 70.0) if resumed.is_due(at(5), seconds)] == [70.0]
    for saved_step in (None, 0):  # no step has been saved yet, or a module's start alone
        begun = Recorder(tmp_path, checkpoint_every=None, saved_step=saved_step)
        assert [seconds for seconds in (4.9, 5.0) if begun.is_due(at(5), seconds)] == [5.0]
    assert not Recorder(None, checkpoint_every=1).is_due(at(5), seconds=1e9)


def test_without_a_folder_history_is_kept_all_the_same() -> None:
    recorder = Recorder(None, checkpoint_every=None)
    recorder.history({"step": 1, "loss": 0.5})
    recorder.history({"step": 2, "loss": 0.25})
    assert recorder.lines["loss"] == [0.5, 0.25]


def test_a_new_folder_is_made_and_locked_and_an_empty_one_taken(tmp_path: Path) -> None:
    for path in (tmp_path / "a" / "b" / "run", tmp_path / "empty"):
        if path.name == "empty":
            path.mkdir()
        with open_new(path) as folder:
            assert folder == path
            with pytest.raises(StorageError, match="run folder must have one writer"), FolderLock(path):
                pass
        with FolderLock(path):
            pass
    with open_new(None) as folder:
        assert folder is None


def test_only_a_run_may_be_replaced_and_only_when_nobody_uses_it(tmp_path: Path) -> None:
    run, other, file = planned(tmp_path / "run"), tmp_path / "other", tmp_path / "file"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    file.write_text("dear")
    with pytest.raises(PlanError, match="'mbgd resume .*run' goes on with it"):
        check_new(run)
    for path in (other, file):
        for replace in (False, True):
            with pytest.raises(PlanError, match="which exists; choose another name"):
                check_new(path, replace=replace)
    with (
        FolderLock(run),
        pytest.raises(StorageError, match="is in use by process"),
        open_new(run, replaced=check_new(run, replace=True)),
    ):
        pass
    assert (run / PLAN).exists()
    with open_new(run, replaced=check_new(run, replace=True)):
        assert [path.name for path in run.iterdir()] == [".lock"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other", "run"]


def test_the_first_free_number(tmp_path: Path) -> None:
    assert free_name("t", tmp_path) == tmp_path / "t-1"
    for k in (1, 2, 4):
        (tmp_path / f"t-{k}").mkdir()
    assert free_name("t", tmp_path) == tmp_path / "t-3"
    assert free_name("u", tmp_path) == tmp_path / "u-1"


def test_a_plan_is_read_as_it_was_written_and_anything_else_is_named(tmp_path: Path) -> None:
    run = planned(tmp_path / "run")
    said = read_plan(run)
    assert (said["format"], said["command"], said["data"]) == (1, "fit_table", None)
    assert said["plan"] == make_plan({}).to_json()
    for text, message in [
        (json.dumps({**said, "format": 2}), "has format 2, this version reads up to 1; upgrade mbgd"),
        ("[1, 2]", "must be the plan of a run: it must be an object, got [1, 2]; restore it from a copy"),
        ('{"plan": {}}', "must be the plan of a run: format must be there, it is missing; restore it from a copy"),
        ("{", "must hold JSON, got something else; it is damaged or not MBGD's"),
    ]:
        (run / PLAN).write_text(text)
        with pytest.raises(SavedFileError) as caught:
            read_plan(run)
        assert str(caught.value) == f"{run / PLAN} {message}"
    with pytest.raises(SavedFileError, match="run must be a folder that a training run has written, got .*nowhere"):
        read_plan(tmp_path / "nowhere")


def test_a_run_is_gone_on_with_by_the_door_that_began_it(tmp_path: Path) -> None:
    for began, asked, door in [
        ("fit", "fit_table", r"mbgd\.resume\(run, model, data\)"),
        ("fit_table", "fit", "'mbgd resume .*'"),
    ]:
        run = planned(tmp_path / began, began)
        with (
            pytest.raises(PlanError, match=f"was written by {began}; go on with it by {door}"),
            open_existing(run, command=asked),
        ):
            pass


def test_what_a_dead_process_left_half_written_is_swept(tmp_path: Path) -> None:
    run = planned(tmp_path / "run")
    (run / "checkpoints").mkdir()
    dead = 2**22 + 1  # beyond the largest process id of Linux
    left = [
        run / f".tmp-{dead}-{'0' * 32}-plan.json",
        run / "checkpoints" / f".tmp-{dead}-{'0' * 32}-step-000000000001",
    ]
    left[0].write_text("{")
    left[1].mkdir()
    with open_existing(run, command="fit_table"):
        assert not any(path.exists() for path in left)
