"""Verify a run: whether its files are whole and its training repeats here to the bit, in plain sentences."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from mbgd.data.manifest import covered
from mbgd.desk.ended import check_file, files_of_result, read_result
from mbgd.desk.fingerprint import check_same, compared, fingerprint
from mbgd.desk.folder import read_plan
from mbgd.desk.knobs import Knobs
from mbgd.desk.opened import Opened
from mbgd.desk.parts import EACH_EPOCH, Parts
from mbgd.desk.planned import from_json
from mbgd.desk.prepare import prepare
from mbgd.desk.replay import Verified, at_its_end, replayed
from mbgd.desk.run_files import CHECKPOINTS, HISTORY, INIT, MANIFEST, MODEL, MODELS, PLAN, REFIT, RESULT
from mbgd.desk.several import each_model, how_many
from mbgd.desk.table_run import TableRun, refit_parts
from mbgd.desk.tables import begun_again
from mbgd.errors import MBGDError, SavedFileError
from mbgd.model.saved import load_model
from mbgd.record.checkpoint import load, newest
from mbgd.record.checkpoint import verify as verify_checkpoint
from mbgd.record.history import begins_with, changed_in_front, read_history
from mbgd.store import Digest, digest_from, opened, read_bytes, read_json, read_sealed, reading


def verify(
    run: str | os.PathLike[str], model: nn.Module | None = None, data: Any = None, **again: Unpack[Knobs]
) -> Verified:
    """Read every file of a run, and train once more from the checkpoint before the last to the last: equal bits show that
    a resume is exact on this machine. Nothing in the folder is changed. Of several models, and of a refit, each is trained
    so; none for longer than it was between two checkpoints, but before a refit the first training goes to its end besides.

    A run of `fit` needs `model` and `data` for the second part, and in `again` what plan.json cannot hold, as for `resume`.
    Raises SavedFileError where the folder holds no run, DataError where the data is not what it was, StorageError.
    """
    folder = Path(run)
    saved = read_plan(folder)
    with reading(folder):
        found = _files(folder)
        if found.wrong:
            return found
        if saved["command"] == "fit_table":
            rows, table, _ = begun_again(folder, saved, data=data, again=again)
            found += Verified(held=(f"the data is what it was when the run began: {covered(rows.manifest)}",))
            return found + _tables_replayed(rows, table, saved)
        if model is None or data is None:
            return found + Verified(
                unseen=("no step was repeated: give its module and rows, verify(run, model, data)",)
            )
        plan = from_json(saved["plan"], **{"threads": saved["resolved"]["threads"], **again})
        parts = prepare(model, data, plan=plan)
        parts = parts.looked_at_each_epoch() if saved["resolved"].get(EACH_EPOCH) else parts
        then = saved["resolved"].get("data")
        now = fingerprint(parts.source, parts.validation, seed=plan.seed, as_before=then)
        check_same(then, now)
        found += Verified(held=(f"the rows are what they were when the run began: {compared(then)}",))
        return found + replayed(folder, parts, plan, saved)


def _tables_replayed(rows: Opened, run: TableRun, saved: Mapping[str, Any]) -> Verified:
    """The last interval of each training of a table's run."""
    found, models = Verified(), how_many(run.plan)
    for number, one in enumerate([run] if models == 1 else each_model(rows, run), 1):
        assert one.folder is not None
        which = f"model {number} of {models}, " if models > 1 else ""
        if not one.folder.exists():
            found += Verified(unseen=(f"{which}no step was repeated: it was not begun",))
            continue
        found += replayed(one.folder, _fresh(one), one.plan, saved, which=which)
        if (one.folder / REFIT).exists():
            found += _refit_replayed(one, saved, which=f"{which}refit, ")
    return found


def _refit_replayed(run: TableRun, saved: Mapping[str, Any], *, which: str) -> Verified:
    """The last interval of a second training, whose length and schedule follow from where the first one ended."""
    assert run.folder is not None
    if run.plan.time_limit is not None:
        return Verified(unseen=(f"{which}no step was repeated: the clock may have ended the training before it",))
    last = newest(run.folder / REFIT)
    if last is None:
        return Verified(unseen=(f"{which}no step was repeated: {run.folder / REFIT} has no checkpoint",))
    again, parts = refit_parts(run, at_its_end(run.folder, _fresh(run), run.plan))
    return replayed(run.folder / REFIT, parts, again.plan, saved, which=which)


def _fresh(run: TableRun) -> Parts:
    return run.parts(run.rows.sets.training, run.rows.sets.validation)


def _files(folder: Path) -> Verified:
    """Every file of the run and of the trainings inside it."""
    found = Verified()
    trained = (folder, *_numbered(folder / MODELS))
    places = [place for one in trained for place in (one, one / REFIT) if place.is_dir()]
    for place in places:
        found += _of_one(place)
    for place in places:
        found += _named_by_result(place, known=found)
    return found


def _named_by_result(folder: Path, *, known: Verified) -> Verified:
    """Files whose checksums stand in the result, but for those that are known to be wrong."""
    found = Verified()
    if not (folder / RESULT).exists():
        return found
    with suppress(SavedFileError):  # of a damaged result, which is said already
        for name, written in files_of_result(folder).items():
            if any(said.startswith(str(folder / name)) for said in known.wrong):
                continue
            try:
                check_file(folder / name, written)
                found += Verified(held=(f"{folder / name}: every byte is as the run left it",))
            except SavedFileError as error:
                found += Verified(wrong=(str(error),))
    return found


def _numbered(models: Path) -> list[Path]:
    return sorted((path for path in models.glob("*") if path.name.isdecimal()), key=lambda path: int(path.name))


def _of_one(folder: Path) -> Verified:
    found = Verified()
    for path in _readable(folder):
        try:
            found += Verified(held=(f"{path}: {_said(path)}",))
        except SavedFileError as error:
            found += Verified(wrong=(str(error) if str(path) in str(error) else f"{path}: {error}",))
    history = folder / HISTORY
    if not history.exists() and any(lines.bytes for lines in _led_to_checkpoints(folder)):
        found += Verified(wrong=(f"{history} is missing, checkpoints say that there was one; restore it from a copy",))
    if (folder / RESULT).exists() and not (folder / MODEL).exists():
        found += Verified(wrong=(f"{folder / MODEL} is missing, {RESULT} says that the run has ended; train again",))
    return found


def _readable(folder: Path) -> Iterator[Path]:
    names = (PLAN, MANIFEST, INIT, HISTORY, MODEL, RESULT)
    yield from (folder / name for name in names if (folder / name).exists())
    yield from sorted((folder / CHECKPOINTS).glob("step-*"))


def _said(path: Path) -> str:
    """What is said of a whole file or checkpoint. Raises SavedFileError of any other."""
    if path.name.startswith("step-"):
        return f"every byte is as it was written, {len(load(path).tensors)} tensors"
    if path.suffix == ".safetensors":
        return f"every byte is as it was written, {len(load_model(path).tensors)} tensors"
    if path.suffix == ".jsonl":
        return _said_of_history(path)
    if path.name == RESULT:
        read_result(path.parent)  # sealed again by somebody, it may say what no result does
    read_sealed(path)
    whole = opened(read_json(path))[1]
    return "it says what was written" if whole else "it is whole JSON, of a version that wrote no checksum"


def _said_of_history(path: Path) -> str:
    """Raises SavedFileError of a history that is not the one that led to each of its checkpoints."""
    records, data, led = read_history(path), read_bytes(path), list(_led_to_checkpoints(path.parent))
    for lines in led:
        if not begins_with(data, lines):
            raise changed_in_front(path, lines)
    n_checked = data[: max((lines.bytes for lines in led), default=0)].count(b"\n")
    checked = f", the first {n_checked} as they were when a checkpoint was saved" if n_checked else ""
    return f"{len(records)} records{checked}"


def _led_to_checkpoints(folder: Path) -> Iterator[Digest]:
    """Of the lines before each whole checkpoint; what is wrong with another is said elsewhere."""
    for path in (folder / CHECKPOINTS).glob("step-*"):
        with suppress(SavedFileError):
            history = verify_checkpoint(path).get("history")
            if history is not None:
                yield digest_from(history)


def failed(found: Verified) -> MBGDError | None:
    """The error of a run in which something does not hold; None where all does."""
    if not found.wrong:
        return None
    more = f" (and {len(found.wrong) - 1} more)" if len(found.wrong) > 1 else ""
    return SavedFileError(f"{found.wrong[0]}{more}")
