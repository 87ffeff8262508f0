"""Take a folder for a new run: which may be begun in, which may be replaced, and who of two processes has it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from mbgd import signals
from mbgd.desk.run_files import CHECKPOINTS, LOCK, PLAN, look_into
from mbgd.errors import PlanError, SavedFileError, listed
from mbgd.store import (
    LARGEST_JSON,
    FolderLock,
    InUseError,
    announced,
    check_name,
    make_folder,
    parse_json,
    read_bytes,
    reading,
    remove_from,
    shortened,
    sweep,
    was_made_here,
)

_LONGEST_STEM = 200  # bytes of a name, which a number follows


Replaced = tuple[int, int] | None  # which plan.json it has; None where nothing is replaced


class ExistsError(PlanError):
    """Something is there already in which no run may be begun."""


class State(Enum):
    """What a path is to a run that wants to begin there."""

    FREE = "nothing, or an empty folder"
    NEVER_BEGAN = "what a training wrote that was ended before its plan"
    RUN = "a run"
    PART = "a part of a run"
    OTHER = "anything else"


NO_PLAN = {  # what is said of a folder without a plan, behind its name
    State.FREE: " without it; it is no run, or training never began",
    State.NEVER_BEGAN: ", whose training was ended before it began; 'mbgd train' with --out {path} begins it",
    State.PART: ", which holds a part of a run; copy it whole, plan.json with it",
    State.OTHER: " without it; it is no run, or training never began",
}


def state_of(path: Path) -> State:
    """Raises StorageError where a folder may not be looked into."""
    if not path.is_dir():
        return State.OTHER if os.path.lexists(path) else State.FREE
    if os.path.lexists(path / PLAN):
        return State.RUN if _is_plan(path / PLAN) else State.OTHER
    found = look_into(path)
    if not (found.files or found.folders or found.others):
        return State.FREE
    with announced(path, to="read"):
        lock_alone = found.files == (LOCK,) and not found.folders and not _size(path / LOCK)
        made_here = lock_alone or was_made_here(path)
    if made_here and not found.others and (found.being_emptied or not found.began):
        return State.NEVER_BEGAN
    return State.PART if any(f"{CHECKPOINTS}/" in name for name in found.files) else State.OTHER


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:  # its holder has removed it since
        return 0


def _is_plan(path: Path) -> bool:
    """Whether a plan.json is one of a run, or so damaged that nobody can know; another program's is not."""
    if not path.is_file():
        return False
    try:
        said = parse_json(read_bytes(path, most=LARGEST_JSON))
    except ValueError:
        return was_made_here(path.parent)
    except SavedFileError:
        return False
    return isinstance(said, dict) and {"command", "plan", "versions"} <= set(said)


def check_new(path: Path | None, *, replace: bool = False) -> Replaced:
    """The run that is to be replaced, for `open_new`. Raises PlanError for what is there already; a run may be replaced
    where that was asked for, nothing else, and only where nothing is in it that is none of a run's."""
    if path is None:
        return None
    check_name(path, "out")
    state = state_of(path)
    if state in (State.PART, State.OTHER):
        with contextlib.suppress(SavedFileError), reading(path):  # raises InUseError: it is about to be a run
            state = state_of(path)
    return _check(path, state, replace=replace)


def _check(path: Path, state: State, *, replace: bool) -> Replaced:
    if state in (State.FREE, State.NEVER_BEGAN):
        return None
    if state is State.RUN and replace:
        _check_all_ours(path)
        return _identity(path)
    remedy = {
        State.RUN: f"which exists; 'mbgd resume {path}' goes on with it",
        State.PART: "which holds a part of a run and no plan.json; copy it whole and go on with it, or choose another name",
    }
    raise ExistsError(f"out must be a new folder, got {path}, {remedy.get(state, 'which exists; choose another name')}")


def _check_all_ours(path: Path) -> None:
    others = look_into(path).others
    if others:
        raise PlanError(
            f"out may replace a run alone, got {path}, which also holds {listed(others)}; move that elsewhere, or choose "
            "another name"
        )


@contextmanager
def open_new(path: Path | None, *, replaced: Replaced = None) -> Iterator[Path | None]:
    """A new, locked run folder. An existing run is never written over; one that `check_new` said may be replaced is removed,
    once nobody uses it, and so is what a start left that was killed before the run began. The folder itself stays what it
    was: a link, a mount, with its mode.

    Raises PlanError, StorageError; InUseError where another process has the folder or took it first.
    """
    if path is None:
        yield None
        return
    if replaced is None:
        check_new(path)
    with contextlib.ExitStack() as held:
        was_there = path.is_dir() and state_of(path) is State.FREE

        def remove() -> None:
            if not (path / PLAN).exists():  # nothing to go on with: the next training may have the name
                _remove_again(path, folder_too=not was_there)

        with signals.deferred():
            _take(path, held, replaced=replaced)
            held.enter_context(signals.undo_if_ended(remove))
        try:
            yield path
        except BaseException:
            remove()
            raise


def _take(path: Path, held: contextlib.ExitStack, *, replaced: Replaced) -> None:
    """Make the folder if it is not there, lock it until `held` ends, and empty it."""
    while True:
        make_folder(path)
        lock = FolderLock(path, signed=False)
        try:
            held.enter_context(lock)
            break
        except InUseError:
            raise
        except OSError:
            if path.is_dir():
                raise  # else whoever had it has removed it again
    if state_of(path) is State.RUN and (replaced is None or _identity(path) != replaced):
        raise InUseError(f"out must be a new folder, {path} was taken by another process; choose another name")
    _check(path, state_of(path), replace=replaced is not None)  # only now nobody can change what it is
    sweep(path.parent)
    lock.sign()
    found = look_into(path)
    remove_from(path, set(found.files) - {LOCK}, found.folders, first=PLAN)


def _identity(path: Path) -> Replaced:
    with announced(path / PLAN, to="read"):
        found = (path / PLAN).stat()
    return found.st_ino, found.st_mtime_ns


def _remove_again(path: Path, *, folder_too: bool) -> None:
    """All that a run has, and nothing that came from elsewhere meanwhile."""
    with contextlib.suppress(OSError):
        found = look_into(path)
        remove_from(path, set(found.files) - {LOCK}, found.folders)
        (path / LOCK).unlink(missing_ok=True)  # while it is locked: who waits for it sees that it is another's
        if folder_too:
            path.rmdir()


def free_name(name: str, parent: Path = Path("runs")) -> Path:
    """runs/<name>-<k> with the first free k."""
    stem, k = shortened(name, most=_LONGEST_STEM), 1
    while os.path.lexists(parent / f"{stem}-{k}"):
        k += 1
    return parent / f"{stem}-{k}"
