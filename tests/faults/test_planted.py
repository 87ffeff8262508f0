"""A run folder from elsewhere, whose names lead to other places or to what never ends: nothing outside changes, nothing hangs."""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command import NUMBER, table
from mbgd.cli import run as command
from mbgd.desk.new_folder import open_new
from mbgd.desk.table_plan import table_plan
from mbgd.desk.tables import table_fitting
from mbgd.errors import MBGDError, SavedFileError
from mbgd.record.history import HistoryWriter
from mbgd.store import FolderLock, append_bytes, check_own_tree, reading

LEAN: dict[str, Any] = {"target": "y", "batch_size": 32, "hidden_layer_sizes": (4,), "epochs": 2, "engine": "autograd"}
KINDS: dict[str, dict[str, Any]] = {
    "refit": {"refit": True, "log": "tensorboard"},
    "members": {"members": 2, "log": "tensorboard"},
}
CALLS = {
    "verify": ("verify", "RUN"),
    "resume": ("resume", "RUN", "--quiet"),
    "force": ("train", "DATA", *NUMBER, "--epochs", "1", "--engine", "autograd", "--quiet", "--force", "--out", "RUN"),
}
SECONDS = 900  # of a busy machine


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """A thread that waits for a pipe is not to be broken off: the tests end there, and say where."""
    before = signal.getsignal(signal.SIGTERM)
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with t.csv and runs that were stopped at their last checkpoint but few."""
    place = tmp_path_factory.mktemp("stopped")
    table(120).to_csv(place / "t.csv", index=False)
    for kind, words in KINDS.items():
        plan = table_plan({**LEAN, "checkpoint_every": 1, **words})
        flow = table_fitting(str(place / "t.csv"), plan=plan, out=place / kind)
        second = place / kind / ("refit" if kind == "refit" else "models/2")
        while not (second / "checkpoints").exists():
            next(flow)
        flow.close()
    return place


def names(run: Path) -> list[str]:
    """All that is in a run, but for the single files of checkpoints."""
    every = sorted(str(path.relative_to(run)) for path in run.rglob("*"))
    return [name for name in every if name.count("step-") == 0 or name.endswith("1")]


def everything(folder: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


def plant(run: Path, name: str, how: str) -> Path:
    """Put a link or a pipe in the place of a name, with what was there in `outside`; that folder."""
    outside = run.parent / "outside"
    outside.mkdir()
    real = outside / "real"
    (run / name).rename(real)
    if how == "link":
        (run / name).symlink_to(real)
    elif how == "hard link":
        (run / name).hardlink_to(real)
    else:
        os.mkfifo(run / name)
    return outside


def cases(run: Path) -> Iterator[tuple[str, str]]:
    for name in names(run):
        yield from ((name, how) for how in ("link", "pipe"))
        if (run / name).is_file():
            yield name, "hard link"


def tried(call: str, run: Path) -> int:
    """The exit code of a call; a fault of ours is none."""
    data = str(run.parent / "t.csv")
    code = command([{"RUN": str(run), "DATA": data}.get(word, word) for word in CALLS[call]])
    assert code in (0, 2, 3, 4, 5), code
    return code


def planted_everywhere(kind: str, call: str, *, stopped: Path, place: Path, every: int) -> int:
    """How many calls were tried."""
    tries = list(cases(stopped / kind))[::every]
    for number, (name, how) in enumerate(tries):
        here = place / str(number)
        here.mkdir()
        shutil.copy(stopped / "t.csv", here)
        run = shutil.copytree(stopped / kind, here / "run")
        outside = plant(run, name, how)
        before = everything(outside)
        tried(call, run)
        assert everything(outside) == before, (name, how)
        shutil.rmtree(here)
    return len(tries)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_outside_a_run_changes_whatever_leads_there(
    kind: str, call: str, stopped: Path, tmp_path: Path
) -> None:
    assert planted_everywhere(kind, call, stopped=stopped, place=tmp_path, every=17) >= 2


@pytest.mark.parametrize(
    "every", [pytest.param(4, id="some", marks=pytest.mark.slow), pytest.param(1, id="all", marks=pytest.mark.soak)]
)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_outside_a_run_changes_whatever_of_all_leads_there(
    kind: str, call: str, every: int, stopped: Path, tmp_path: Path
) -> None:
    n = planted_everywhere(kind, call, stopped=stopped, place=tmp_path, every=every)
    print(f"{kind}, {call}: {n} names")
    assert n >= 30 / every


FIRST = ["verify", *(pytest.param(call, marks=pytest.mark.slow) for call in ("resume", "force"))]


@pytest.mark.parametrize("call", FIRST)
@pytest.mark.parametrize("how", ["link", "hard link", "folder", "pipe", "device"])
def test_what_a_lock_leads_to_stays_as_it_is(how: str, call: str, stopped: Path, tmp_path: Path) -> None:
    """Any file of the user's, `verify` emptied it."""
    shutil.copy(stopped / "t.csv", tmp_path)
    run, letter = shutil.copytree(stopped / "refit", tmp_path / "run"), tmp_path / "letter"
    letter.write_text("dear")
    (run / ".lock").unlink()
    if how == "link":
        (run / ".lock").symlink_to(letter)
    elif how == "hard link":
        (run / ".lock").hardlink_to(letter)
    elif how == "folder":
        (run / ".lock").mkdir()
    elif how == "pipe":
        os.mkfifo(run / ".lock")
    else:
        (run / ".lock").symlink_to("/dev/zero")
    code = tried(call, run)
    assert code == (2 if call == "force" and how != "hard link" else 4)
    assert letter.read_text() == "dear"


def test_a_lock_is_said_to_be_none_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to(tmp_path / "letter")
    for lock in (FolderLock(tmp_path), reading(tmp_path)):
        with pytest.raises(SavedFileError) as caught, lock:
            pass
        assert str(caught.value) == (
            f"{tmp_path / '.lock'} must be a file of the run itself, got a link, which is not written to; take it away"
        )
    assert not (tmp_path / "letter").exists()


def test_verify_changes_nothing_and_needs_no_right_to_write(stopped: Path, tmp_path: Path) -> None:
    shutil.copy(stopped / "t.csv", tmp_path)
    run = shutil.copytree(stopped / "refit", tmp_path / "run")
    for path in (run, *run.rglob("*")):
        path.chmod(0o500 if path.is_dir() else 0o400)
    before = everything(run)
    for lock in (True, False):
        assert tried("verify", run) == 0, lock
        assert everything(run) == before
        if lock:
            run.chmod(0o700)
            (run / ".lock").unlink()
            run.chmod(0o500)
            before = everything(run)


def test_several_may_verify_at_once_and_nobody_writes_meanwhile(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        pass
    with reading(tmp_path), reading(tmp_path), pytest.raises(MBGDError, match="is in use by"), FolderLock(tmp_path):
        pass
    with FolderLock(tmp_path), pytest.raises(MBGDError, match="is in use by process"), reading(tmp_path):
        pass


def test_a_history_with_other_names_gets_a_file_of_its_own(tmp_path: Path) -> None:
    """As in a copy by hard links, which is to stay as it was."""
    path, copy = tmp_path / "history.jsonl", tmp_path / "copy"
    path.write_text('{"step": 1}\n')
    copy.hardlink_to(path)
    writer = HistoryWriter(path)
    writer.append({"step": 2})
    assert copy.read_text() == '{"step": 1}\n'
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


@pytest.mark.parametrize("how", ["link", "pipe", "folder"])
def test_nothing_is_added_to_what_is_no_file(how: str, tmp_path: Path) -> None:
    path = tmp_path / "events"
    if how == "link":
        path.symlink_to(tmp_path / "letter")
    elif how == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(SavedFileError, match="must be a file of the run itself"):
        append_bytes(path, b"x")
    with pytest.raises(SavedFileError, match="must be a file of the run itself"):
        HistoryWriter(path)
    assert sorted(os.listdir(tmp_path)) == ["events"]


@pytest.mark.parametrize("call", CALLS)
def test_pipes_and_links_of_temporary_names_are_swept(call: str, stopped: Path, tmp_path: Path) -> None:
    shutil.copy(stopped / "t.csv", tmp_path)
    run, word = shutil.copytree(stopped / "refit", tmp_path / "run"), "0123456789abcdef" * 2
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter").write_text("dear")
    for place in (run, run / "checkpoints"):
        os.mkfifo(place / f".tmp-1-{word}-plan.json")
        os.mkfifo(place / f".tmp-1-{word}-step-000000000001")
        (place / f".tmp-2-{word}-plan.json").symlink_to(tmp_path / "letters")
        (place / f".tmp-2-{word}-step-000000000001").symlink_to(tmp_path / "letters")
    code = tried(call, run)
    assert code == (2 if call == "force" else 0)
    assert call != "resume" or not [
        path for path in run.rglob(".tmp-*") if ("plan" in path.name) == (path.parent == run)
    ]
    assert (tmp_path / "letters" / "letter").read_text() == "dear"


@pytest.mark.parametrize("how", ["link", "pipe"])
def test_a_store_of_mlflow_in_which_a_name_leads_elsewhere_is_not_written_to(how: str, tmp_path: Path) -> None:
    place = tmp_path / "mlruns" / "0" / ("0" * 32) / "metrics"
    place.mkdir(parents=True)
    (place / "loss").write_text("1 0.5 0\n")
    check_own_tree(tmp_path / "mlruns")
    if how == "link":
        (place / "r2").symlink_to(tmp_path / "letter")
    else:
        os.mkfifo(place / "r2")
    with pytest.raises(SavedFileError, match="must be a file of the run itself"):
        check_own_tree(tmp_path / "mlruns")
    (tmp_path / "linked").symlink_to(tmp_path / "mlruns")
    with pytest.raises(SavedFileError, match="must be a folder of the run itself, got a link"):
        check_own_tree(tmp_path / "linked")


def test_a_start_that_fails_removes_nothing_that_came_meanwhile(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(MBGDError), open_new(run) as folder:
        assert folder is not None
        (folder / "manifest.json").write_text("{}")
        (folder / "letter.txt").write_text("dear")
        raise MBGDError
    assert os.listdir(run) == ["letter.txt"]
