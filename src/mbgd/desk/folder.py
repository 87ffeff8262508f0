"""A run's folder: what is written while it goes, and what is read to go on; without a folder, history alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mbgd.desk.parts import Parts
from mbgd.desk.plan import Plan
from mbgd.desk.recorder import HISTORY, Recorder
from mbgd.desk.standing import Standing, from_checkpoint
from mbgd.desk.versions import changed_versions, versions
from mbgd.errors import PlanError, SavedFileError, taken_at_its_word
from mbgd.record.checkpoint import Checkpoint, newest
from mbgd.record.history import History, cut_back, rewind
from mbgd.record.loggers import make_logger
from mbgd.store import TEMPORARY, FolderLock, new_folder, read_sealed, remove_folder, sweep, write_sealed

FORMAT = 1
PLAN, MANIFEST, RESULT = "plan.json", "manifest.json", "result.json"
MODEL, INIT = "model.safetensors", "init.safetensors"
LOCK, CHECKPOINTS = ".lock", "checkpoints"


def new_recorder(folder: Path | None, plan: Plan) -> Recorder:
    """The recorder of a run that begins."""
    logger = make_logger(plan.log, folder, facts=plan.to_json())
    return Recorder(folder, checkpoint_every=plan.checkpoint_every, logger=logger)


def check_new(path: Path | None, *, replace: bool = False) -> None:
    """Raises PlanError for what is there already; a run may be replaced where that was asked for, nothing else."""
    if path is None or not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    is_run = (path / PLAN).exists()
    if not (is_run and replace) and not never_began(path):
        remedy = f"'mbgd resume {path}' goes on with it" if is_run and not replace else "choose another name"
        raise PlanError(f"out must be a new folder, got {path}, which exists; {remedy}")


def never_began(path: Path) -> bool:
    """Whether a folder holds what a run writes before its plan, and nothing else: the process ended before it trained."""
    if not path.is_dir() or not (path / LOCK).exists():
        return False
    names = {entry.name for entry in path.iterdir() if not TEMPORARY.match(entry.name)}
    return names <= {LOCK, MANIFEST, INIT, CHECKPOINTS}


@contextmanager
def open_new(path: Path | None, *, replace: bool = False) -> Iterator[Path | None]:
    """A new, locked run folder. An existing run is never written over; with `replace` it is removed, once nobody uses it,
    and so is what a start left that was killed before the run began."""
    if path is None:
        yield None
        return
    check_new(path, replace=replace)
    if (path / PLAN).exists() or never_began(path):
        with FolderLock(path):
            remove_folder(path)
    new_folder(path)
    try:
        with FolderLock(path):
            yield path
    except BaseException:
        if not (path / PLAN).exists():  # nothing to go on with: the next training may have the name
            shutil.rmtree(path, ignore_errors=True)
        raise


def free_name(name: str, parent: Path = Path("runs")) -> Path:
    """runs/<name>-<k> with the first free k."""
    k = 1
    while (parent / f"{name}-{k}").exists():
        k += 1
    return parent / f"{name}-{k}"


def write_plan(path: Path, *, command: str, plan: Plan, resolved: Mapping[str, Any], data: Any = None) -> None:
    """plan.json: all that the run depends on, written before its first update."""
    write_sealed(
        path / PLAN,
        {
            "format": FORMAT,
            "command": command,
            "data": data,
            "plan": plan.to_json(),
            "resolved": dict(resolved),
            "versions": versions(),
        },
    )


_PLAN_HOLDS: dict[str, Any] = {
    "format": int,
    "command": str,
    "plan": dict,
    "resolved": dict,
    "versions": dict,
    "data": str | list | None,
}


def read_plan(path: Path) -> dict[str, Any]:
    """plan.json of a run folder."""
    if not path.is_dir():
        raise SavedFileError(
            f"run must be a folder that a training run has written, got {path}; 'mbgd train --out' makes one"
        )
    if not (path / PLAN).exists():
        if never_began(path):
            raise SavedFileError(
                f"run must hold {PLAN}, got {path}, whose training was ended before it began; "
                f"'mbgd train' with --out {path} begins it"
            )
        raise SavedFileError(f"run must hold {PLAN}, got {path} without it; it is no run, or training never began")
    saved = read_sealed(
        path / PLAN,
        remedy=f"restore it from a copy, or begin a new run by what it says now: 'mbgd train --plan {path / PLAN}'",
    )
    if not isinstance(saved, dict) or any(
        name not in saved or not isinstance(saved[name], kind) for name, kind in _PLAN_HOLDS.items()
    ):
        raise SavedFileError(f"{path / PLAN} must be the plan of a run, got something else; restore it from a copy")
    if saved["format"] > FORMAT:
        raise SavedFileError(
            f"{path / PLAN} has format {saved['format']}, this version reads up to {FORMAT}; upgrade mbgd"
        )
    return saved


@contextmanager
def open_existing(path: Path, *, command: str) -> Iterator[dict[str, Any]]:
    """The plan of an existing run, which stays locked for as long as somebody goes on with it."""
    saved = read_plan(path)
    if saved["command"] != command:
        door = "mbgd.resume(run, model, data)" if saved["command"] == "fit" else f"'mbgd resume {path}'"
        raise PlanError(f"{path} was written by {saved['command']}; go on with it by {door}")
    with FolderLock(path):
        sweep(path)
        sweep(path / "checkpoints")
        yield saved


def go_on(path: Path, parts: Parts, plan: Plan, saved: Mapping[str, Any]) -> tuple[Standing, Recorder, tuple[str, ...]]:
    """(where the newest valid checkpoint stands, the recorder that goes on from there, notices). The engine is put there."""
    found = newest(path)
    notices = changed_versions(saved["versions"])
    start = Standing()
    if found is not None:
        with taken_at_its_word(found.checkpoint.path):
            start = from_checkpoint(parts.engine, found.checkpoint.tensors, found.checkpoint.facts)
        notices += found.notices
    history, lost = _lines_that_led_to(None if found is None else found.checkpoint, path / HISTORY, start)
    notices += lost
    recorder = Recorder(
        path,
        checkpoint_every=plan.checkpoint_every,
        history=history,
        saved_at=start.seconds,
        saved_step=None if found is None else found.checkpoint.step,
        logger=make_logger(plan.log, path, facts=plan.to_json(), step=start.progress.steps_done),
    )
    return start, recorder, notices


def _lines_that_led_to(at: Checkpoint | None, path: Path, start: Standing) -> tuple[History, tuple[str, ...]]:
    """The history up to a checkpoint, all behind it dropped, and a notice where the file was taken away."""
    if at is None or at.history is None:
        return rewind(path, start.progress.steps_done, recoveries=len(start.recoveries)), ()
    lost = at.history.bytes > 0 and not path.exists()
    said = f"{path} is missing: its lines up to step {at.step:,} are lost, later ones are written"
    return cut_back(path, at.history), ((said,) if lost else ())
