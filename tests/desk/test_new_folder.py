"""What is not ours is never removed: which folders a run may begin in or replace, and what becomes of them on the way."""

from __future__ import annotations

import os
import resource
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command import LABEL, NUMBER, table
from mbgd.cli import run as command
from mbgd.desk.folder import read_plan
from mbgd.desk.new_folder import State, check_new, open_new, state_of
from mbgd.desk.run_files import look_into
from mbgd.errors import MBGDError, PlanError, SavedFileError
from mbgd.store import FolderLock, InUseError
from short_runs import fit

SHORT = ("--epochs", "1", "--engine", "autograd", "--checkpoint-every", "2", "--quiet")
WORD = "0123456789abcdef" * 2


def tree(folder: Path) -> dict[str, Any]:
    """All that is in a folder: bytes of files, targets of links, the kind of anything else."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = path.readlink()
        else:
            found[name] = path.read_bytes() if path.is_file() else stat.S_IFMT(path.stat().st_mode)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with t.csv and the finished run `run`."""
    folder = tmp_path_factory.mktemp("place")
    table(120).to_csv(folder / "t.csv", index=False)
    assert command(["train", str(folder / "t.csv"), *NUMBER, *SHORT, "--out", str(folder / "run")]) == 0
    return folder


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, as a training of this machine left it."""
    folder = shutil.copytree(place / "run", tmp_path / "run")
    with FolderLock(folder):
        pass
    return folder


def begin(folder: Path, *, replace: bool) -> None:
    with open_new(folder, replaced=check_new(folder, replace=replace)):
        (folder / "plan.json").write_text("{}")


KINDS = {
    "refit, tensorboard": (*NUMBER, "--refit", "--log", "tensorboard"),
    "members, refit": (*LABEL, "--members", "2", "--refit"),
    "folds, tensorboard": (*NUMBER, "--folds", "2", "--log", "tensorboard"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_a_run_is_known_as_one(kind: str, place: Path, tmp_path: Path) -> None:
    """Else it could not be replaced; of a model that was taken over, too."""
    init = () if "members" in kind or "folds" in kind else ("--init", str(place / "run"))
    words = [*KINDS[kind], *SHORT, *init, "--out", str(tmp_path / "run")]
    assert command(["train", str(place / "t.csv"), *words]) == 0
    found = look_into(tmp_path / "run")
    assert found.others == ()
    assert {"plan.json", "README.md", "result.json", ".lock"} <= set(found.files)
    begin(tmp_path / "run", replace=True)
    assert set(tree(tmp_path / "run")) == {".lock", "plan.json"}


def test_every_file_of_a_run_of_a_module_is_known_as_one(tmp_path: Path) -> None:
    fit(tmp_path / "run", "autograd", epochs=1)
    assert look_into(tmp_path / "run").others == ()


def test_files_of_mlflow_and_files_being_written_are_known() -> None:
    names = [
        "mlflow.json", "mlruns/0/meta.yaml", f"mlruns/12/{WORD}/meta.yaml", f"mlruns/12/{WORD}/metrics/validation/r2",
        f"models/2/mlruns/0/{WORD}/params/loss", f".tmp-1-{WORD}-plan.json", f"models/1/.tmp-1-{WORD}-result.json",
        f"refit/checkpoints/.tmp-7-{WORD}-step-000000000001-r2-3/state.safetensors",
    ]  # fmt: skip
    from mbgd.desk import run_files

    assert all(run_files._FILE.fullmatch(name) for name in names)
    others = ["notes.md", "README.md.bak", "models/README.md", "checkpoints/epoch-1.ckpt", "tensorboard/events.out.tfevents.1.host",
              "mlruns/0/x/artifacts/model.pkl", f".tmp-1-{WORD}-predictions.csv", "refit/plan.json", "predictions.csv"]  # fmt: skip
    assert not any(run_files._FILE.fullmatch(name) for name in others)


@pytest.mark.parametrize(
    "name", ["letter.txt", "checkpoints/mine.pt", "models/1/notes", "tensorboard/x", "empty/", "link", "pipe"]
)
def test_a_run_with_anything_else_in_it_is_not_replaced(name: str, run: Path) -> None:
    """Nothing of it is removed, and the sentence says what would not be touched."""
    path = run / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == "link":
        path.symlink_to(run.parent)
    elif name == "pipe":
        os.mkfifo(path)
    elif name == "empty/":
        path.mkdir()
    else:
        path.write_text("dear")
    before = tree(run)
    with pytest.raises(PlanError) as caught:
        begin(run, replace=True)
    assert str(caught.value) == (
        f"out may replace a run alone, got {run}, which also holds {name.rstrip('/')}; move that elsewhere, or choose another name"
    )
    assert tree(run) == before


FOREIGN: dict[str, dict[str, str]] = {
    "another program's": {"manifest.json": "{}", "checkpoints/epoch-1.ckpt": "weights", ".lock": ""},
    "of web extensions": {"manifest.json": '{"name": "x"}', ".lock": '{"pid": 1, "boot": "x"}'},
    "a model's": {"model.safetensors": "", "README.md": "# mine", "config.json": "{}"},
    "another's lock": {".lock": "held", "plan.txt": ""},
    "a plan's": {"plan.json": '{"format_version": "1.2"}', "README.md": "# infrastructure"},
    "a damaged plan's": {"plan.json": "{"},
    "a folder's of that name": {"plan.json/x": "dear"},
    "a lock's and a letter's": {".lock": "", "letter.txt": "dear"},
}  # fmt: skip


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_folder_of_anybody_else_is_never_touched(kind: str, replace: bool, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name, text in FOREIGN[kind].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    before = tree(folder)
    with pytest.raises(PlanError, match="which exists; choose another name"):
        begin(folder, replace=replace)
    assert tree(folder) == before


def copied(run: Path, to: Path) -> Iterator[Path]:
    """The folder after each file of a copy, in the order of names, up to the one before the plan."""
    for path in sorted(path for path in run.rglob("*") if path.is_file() and path.name != "plan.json"):
        name = path.relative_to(run)
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, to / name)
        yield to


def test_a_run_that_is_copied_in_part_is_not_begun_anew(run: Path, tmp_path: Path) -> None:
    said = set()
    for part in copied(run, tmp_path / "copy"):
        before = tree(part)
        for replace in (False, True):
            with pytest.raises(PlanError, match="out must be a new folder") as caught:
                begin(part, replace=replace)
            said.add(str(caught.value).replace(str(part), "RUN"))
        with pytest.raises(SavedFileError, match="run must hold plan.json"):
            read_plan(part)
        assert tree(part) == before
    assert said == {
        "out must be a new folder, got RUN, which exists; choose another name",
        "out must be a new folder, got RUN, which holds a part of a run and no plan.json; copy it whole and go on with it, "
        "or choose another name",
    }


def test_a_run_whose_plan_was_taken_away_is_not_begun_anew(run: Path) -> None:
    (run / "plan.json").unlink()
    before = tree(run)
    with pytest.raises(PlanError, match="which holds a part of a run and no plan.json"):
        begin(run, replace=True)
    with pytest.raises(SavedFileError, match="holds a part of a run; copy it whole, plan.json with it"):
        read_plan(run)
    assert tree(run) == before


def test_what_a_start_left_that_never_began_is_begun_in(tmp_path: Path) -> None:
    """A folder of nobody else: where its lock is a copy, it may be one that is being copied."""
    left = tmp_path / "left"
    left.mkdir()
    with FolderLock(left):
        (left / "manifest.json").write_text("{}")
        (left / f".tmp-1-{WORD}-plan.json").write_text("{")
    assert state_of(left) is State.NEVER_BEGAN
    shutil.copytree(left, tmp_path / "copy")
    assert state_of(tmp_path / "copy") is State.OTHER
    begin(left, replace=False)
    assert set(tree(left)) == {".lock", "plan.json"}


CALLS = ("unlink", "rename", "rmdir")


@pytest.mark.parametrize("call", CALLS)
def test_ended_anywhere_while_a_run_is_removed_it_is_whole_or_never_began(
    call: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = set(tree(run))
    for nth in range(1, 50):
        folder = shutil.copytree(run, tmp_path / f"run-{nth}")
        left, real = [nth], getattr(os, call)

        def die(*given: Any, left: list[int] = left, real: Any = real, **how: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return real(*given, **how)

        replaced = check_new(folder, replace=True)
        with monkeypatch.context() as patched:
            patched.setattr(os, call, die)
            try:
                with open_new(folder, replaced=replaced):
                    raise RuntimeError  # it was not met
            except KeyboardInterrupt:
                pass
            except RuntimeError:
                break
        if (folder / "plan.json").exists():
            assert set(tree(folder)) == whole
            assert read_plan(folder)["command"] == "fit_table"
        else:
            assert state_of(folder) in (State.NEVER_BEGAN, State.FREE)
            begin(folder, replace=False)
            assert set(tree(folder)) == {".lock", "plan.json"}
    assert nth > 1


def test_a_run_that_is_a_link_stays_one(place: Path, tmp_path: Path) -> None:
    """train --force through it, resume and verify."""
    real, link = tmp_path / "disk" / "real", tmp_path / "link"
    shutil.copytree(place / "run", real)
    link.symlink_to(real)
    real.chmod(0o750)
    data = str(place / "t.csv")
    assert command(["train", data, *NUMBER, *SHORT, "--force", "--out", str(link)]) == 0
    (real / "result.json").unlink()
    assert command(["resume", str(link), "--quiet"]) == 0
    assert command(["verify", str(link)]) == 0
    assert link.readlink() == real
    assert (real / "result.json").exists()
    assert stat.S_IMODE(real.stat().st_mode) == 0o750
    assert sorted(os.listdir(tmp_path)) == ["disk", "link"]
    assert os.listdir(tmp_path / "disk") == ["real"]


def test_a_link_to_nothing_or_to_a_letter_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")
    for to in ("nowhere", "letter"):
        (tmp_path / "link").symlink_to(tmp_path / to)
        with pytest.raises(PlanError, match="which exists; choose another name"):
            begin(tmp_path / "link", replace=True)
        (tmp_path / "link").unlink()
    assert (tmp_path / "letter").read_text() == "dear"


def test_what_a_failed_start_made_is_removed_while_nobody_else_can_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the folder is let go of, it may be another's."""
    run, real, removed = tmp_path / "run", os.unlink, []

    def watched(path: Any, **how: Any) -> None:
        if Path(path).parent == run:
            with pytest.raises(InUseError), FolderLock(run):
                pass
            removed.append(Path(path).name)
        real(path, **how)

    with pytest.raises(MBGDError), open_new(run):
        (run / "manifest.json").write_text("{}")
        monkeypatch.setattr(os, "unlink", watched)
        raise MBGDError
    assert removed == ["manifest.json", ".lock"]
    assert not run.exists()


def test_a_folder_that_somebody_made_stays_when_the_start_fails(tmp_path: Path) -> None:
    mine, new = tmp_path / "mine", tmp_path / "new"
    mine.mkdir()
    for folder in (mine, new):
        with pytest.raises(MBGDError), open_new(folder):
            raise MBGDError
    assert os.listdir(tmp_path) == ["mine"]
    assert os.listdir(mine) == []


def test_a_plan_of_millions_of_objects_takes_no_memory(tmp_path: Path) -> None:
    """It is judged before it is parsed: each `{}` would take 64 bytes of Python's."""
    (tmp_path / "plan.json").write_bytes(b"[" + b"{}," * 8_000_000 + b"{}]")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PlanError, match="which exists; choose another name"):
        check_new(tmp_path, replace=True)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 200e6
