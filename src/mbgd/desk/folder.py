"""A run's folder: what is written while it goes, and what is read to go on; without a folder, history alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mbgd.desk.machine import MOST_THREADS
from mbgd.desk.new_folder import NO_PLAN, State, state_of
from mbgd.desk.parts import EACH_EPOCH, Parts
from mbgd.desk.plan import Plan
from mbgd.desk.recorder import Recorder
from mbgd.desk.run_files import HISTORY, PLAN, check_own, sweep_training
from mbgd.desk.standing import Standing, check_standing, from_checkpoint
from mbgd.desk.versions import changed_versions, versions
from mbgd.errors import DamagedError, PlanError, SavedFileError, taken_at_its_word
from mbgd.record.checkpoint import Checkpoint, newest
from mbgd.record.history import History, cut_back, rewind
from mbgd.record.loggers import make_logger
from mbgd.store import FolderLock, InUseError, check_name, read_sealed, sweep, write_sealed
from mbgd.store.schema import (
    FILE_NAME,
    Absent,
    Demand,
    Entries,
    Flag,
    Items,
    Maybe,
    Named,
    OneOf,
    Text,
    Tree,
    Whole,
    Word,
)

FORMAT = 1


def new_recorder(folder: Path | None, plan: Plan) -> Recorder:
    """The recorder of a run that begins."""
    logger = make_logger(plan.log, folder, facts=plan.to_json())
    return Recorder(folder, checkpoint_every=plan.checkpoint_every, logger=logger)


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


_LEVELS = 12  # of lists and objects within each other
_OF_DATA = Entries({"rows": Absent(Whole()), "validation": Absent(Maybe(Entries({"rows": Absent(Whole())})))})
_RESOLVED: dict[str, Demand] = {
    EACH_EPOCH: Absent(Flag()),
    "data": Absent(Maybe(_OF_DATA)),
    "threads": Absent(Whole(1, MOST_THREADS)),
    "engine": Absent(Word(("autograd", "fused"))),
    "device": Absent(Text()),
}
_NEEDED_BY_FIT = ("threads", "engine", "device")
_SCHEMA = Entries(
    {
        "format": Whole(1),
        "command": Word(("fit", "fit_table")),
        "data": Maybe(OneOf("a path or several", (FILE_NAME, Items(FILE_NAME)))),
        "plan": Entries({}),
        "resolved": Entries(_RESOLVED),
        "versions": Named(Text()),
    }
)


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
    saved: dict[str, Any] = read_sealed(
        path / PLAN,
        remedy=f"restore it from a copy, or begin a new run by what it says now: 'mbgd train --plan {path / PLAN}'",
    )
    if isinstance(saved, dict) and Whole(FORMAT + 1).accepts(saved.get("format")):
        raise SavedFileError(
            f"{path / PLAN} has format {saved['format']}, this version reads up to {FORMAT}; upgrade mbgd"
        )
    found = _SCHEMA.fault(saved, "") or Tree(_LEVELS).fault(saved, "it")
    lacks = [
        name for name in _NEEDED_BY_FIT if not found and saved["command"] == "fit" and name not in saved["resolved"]
    ]
    found = f"resolved.{lacks[0]} must be there, it is missing" if lacks else found
    if found:
        raise SavedFileError(f"{path / PLAN} must be the plan of a run: {found}; restore it from a copy")
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
    found = newest(path, check=lambda checkpoint: _check_point(parts, checkpoint))
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


def _check_point(parts: Parts, checkpoint: Checkpoint) -> None:
    """Raises DamagedError for a checkpoint that no training of these rows comes to, and what `check_standing` does."""
    check_standing(parts.engine, checkpoint.tensors, checkpoint.facts)
    at, n_rows = checkpoint.facts["progress"], parts.order.n_rows
    epoch, row = at["cursor"]["epoch"], at["cursor"]["row"]
    rows = epoch * n_rows + row
    if at["steps_done"] != checkpoint.step:
        raise DamagedError(f"facts.progress.steps_done must be {checkpoint.step}, got {at['steps_done']}")
    if row >= n_rows:
        raise DamagedError(f"facts.progress.cursor.row must be below the {n_rows:,} training rows, got {row:,}")
    if at["rows_seen"] > rows or (parts.tail != "drop" and at["rows_seen"] != rows):
        raise DamagedError(
            f"facts.progress.rows_seen must be {rows:,}, those before its cursor, got {at['rows_seen']:,}"
        )
    if at["steps_done"] > rows or (rows and not at["steps_done"]):
        raise DamagedError(f"facts.progress.steps_done must be those of {rows:,} rows, got {at['steps_done']:,}")


def _lines_that_led_to(at: Checkpoint | None, path: Path, start: Standing) -> tuple[History, tuple[str, ...]]:
    """The history up to a checkpoint, all behind it dropped, and a notice where the file was taken away."""
    if at is None or at.history is None:
        return rewind(path, start.progress.steps_done, recoveries=len(start.recoveries)), ()
    lost = at.history.bytes > 0 and not path.exists()
    said = f"{path} is missing: its lines up to step {at.step:,} are lost, later ones are written"
    return cut_back(path, at.history), ((said,) if lost else ())
