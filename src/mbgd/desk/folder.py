"""A run's folder: what is written while it goes, and what is read to go on; without a folder, history alone."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mbgd.desk.new_folder import NO_PLAN, State, state_of
from mbgd.desk.parts import Parts
from mbgd.desk.plan import Plan
from mbgd.desk.recorder import Recorder
from mbgd.desk.run_files import HISTORY, PLAN, check_own, sweep_training
from mbgd.desk.standing import Standing, from_checkpoint
from mbgd.errors import PlanError, SavedFileError, taken_at_its_word
from mbgd.record.checkpoint import Checkpoint, newest
from mbgd.record.history import History, cut_back, rewind
from mbgd.record.loggers import make_logger
from mbgd.store import FolderLock, InUseError, check_name, read_sealed, sweep, write_sealed

FORMAT = 1


def new_recorder(folder: Path | None, plan: Plan) -> Recorder:
    """The recorder of a run that begins."""
    logger = make_logger(plan.log, folder, facts=plan.to_json())
    return Recorder(folder, checkpoint_every=plan.checkpoint_every, logger=logger)


def versions() -> dict[str, str]:
    """What bit-identity depends on."""
    return {
        "mbgd": version("mbgd"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


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
    check_name(path, "run")
    if not path.is_dir():
        raise SavedFileError(
            f"run must be a folder that a training run has written, got {path}; 'mbgd train --out' makes one"
        )
    if not (path / PLAN).exists():
        why = NO_PLAN.get(state_of(path), NO_PLAN[State.OTHER])
        raise SavedFileError(f"run must hold {PLAN}, got {path}{why.format(path=path)}")
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
        if read_plan(path) != saved:
            raise InUseError(f"run must be the one that was there, {path} was taken by another process; try again")
        check_own(path)
        sweep(path.parent)
        sweep_training(path)
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


def changed_versions(saved: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each version that differs: the resumed run is then exact in order, not in bits."""
    now = versions()
    return tuple(
        f"{name} is {now[name]}, the run was begun with {then}: the same rows in the same order, bits may differ"
        for name, then in saved.items()
        if name != "mbgd" and name in now and now[name] != then
    )
