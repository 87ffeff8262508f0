"""A run folder in, what of it is whole and whether its training repeats here to the bit, in plain sentences, out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from mbgd.desk.folder import INIT, MANIFEST, MODEL, PLAN, RESULT, changed_versions, read_plan
from mbgd.desk.going import going
from mbgd.desk.knobs import Knobs
from mbgd.desk.parts import Parts
from mbgd.desk.plan import Plan
from mbgd.desk.planned import from_json
from mbgd.desk.prepare import prepare
from mbgd.desk.recorder import HISTORY, Recorder
from mbgd.desk.several import MODELS
from mbgd.desk.standing import Standing, from_checkpoint
from mbgd.desk.table_run import REFIT
from mbgd.desk.tables import begun_again
from mbgd.errors import DivergenceError, MBGDError, SavedFileError
from mbgd.model.saved import load_model
from mbgd.record.checkpoint import Checkpoint, load, newest
from mbgd.record.history import read_history
from mbgd.store import FolderLock, read_json


@dataclass(frozen=True)
class Verified:
    """Sentences: what was found to hold, what was not, and what could not be looked at, with the reason."""

    held: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    def __add__(self, other: Verified) -> Verified:
        return Verified(self.held + other.held, self.wrong + other.wrong, self.unseen + other.unseen)


def verify(
    run: str | os.PathLike[str], model: nn.Module | None = None, data: Any = None, **again: Unpack[Knobs]
) -> Verified:
    """Read every file of a run, and train once more from the checkpoint before the last to the last: equal bits show that
    a resume is exact on this machine. Nothing in the folder is changed.

    A run of `fit` needs `model` and `data` for the second part, and in `again` what plan.json cannot hold, as for `resume`.
    Raises SavedFileError where the folder holds no run, DataError where the data is not what it was, StorageError.
    """
    folder = Path(run)
    saved = read_plan(folder)
    with FolderLock(folder):
        found = _files(folder)
        if found.wrong:
            return found
        if saved["command"] == "fit_table":
            _, table, parts = begun_again(folder, saved, data=data)
            found += Verified(held=("the data is what it was when the run began",))
            first = folder / MODELS / "1"
            return found + _replayed(first if first.exists() else folder, parts, table.plan, saved)
        if model is None or data is None:
            return found + Verified(
                unseen=("no step was repeated: give its module and rows, verify(run, model, data)",)
            )
        plan = from_json(saved["plan"], **{"threads": saved["resolved"]["threads"], **again})
        return found + _replayed(folder, prepare(model, data, plan=plan), plan, saved)


def _files(folder: Path) -> Verified:
    """Every file of the run and of the trainings inside it."""
    found = Verified()
    for place in (folder, folder / REFIT, *_numbered(folder / MODELS)):
        if place.is_dir():
            found += _of_one(place)
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
    if (folder / RESULT).exists() and not (folder / MODEL).exists():
        found += Verified(wrong=(f"{folder / MODEL} is missing, {RESULT} says that the run has ended; train again",))
    return found


def _readable(folder: Path) -> Iterator[Path]:
    names = (PLAN, MANIFEST, INIT, HISTORY, MODEL, RESULT)
    yield from (folder / name for name in names if (folder / name).exists())
    yield from sorted((folder / "checkpoints").glob("step-*"))


def _said(path: Path) -> str:
    """What is said of a whole file or checkpoint. Raises SavedFileError of any other."""
    if path.name.startswith("step-"):
        return f"every byte is as it was written, {len(load(path).tensors)} tensors"
    if path.suffix == ".safetensors":
        return f"every byte is as it was written, {len(load_model(path).tensors)} tensors"
    if path.suffix == ".jsonl":
        return f"{len(read_history(path))} records"
    read_json(path)
    return "it is whole JSON"


def _replayed(folder: Path, parts: Parts, plan: Plan, saved: Any) -> Verified:
    """Train from the checkpoint before the last, or the start, to the last, and compare."""
    last = newest(folder)
    if last is None or last.checkpoint.step == 0:
        return Verified(unseen=(f"no step was repeated: {folder} has no checkpoint of a step behind its start",))
    later = last.checkpoint
    earlier = _before(folder, later)
    if earlier is None and later.facts.get("recoveries"):
        return Verified(unseen=(f"no step was repeated: {folder} has one checkpoint alone since it went back",))
    start = Standing() if earlier is None else from_checkpoint(parts.engine, earlier.tensors, earlier.facts)
    again = _trained(parts, plan, start, upto=later.step)
    steps = f"steps {start.progress.steps_done + 1:,} to {later.step:,}"
    differ = _differences(again, later, from_start=earlier is None)
    if not differ:
        return Verified(held=(f"{steps} were trained again, to the same bits: a resume is exact here",))
    because = "; ".join(changed_versions(saved["versions"])) or "another kind of processor may be why"
    return Verified(wrong=(f"{steps} were trained again, {differ[0]} came out in other bits: {because}",))


def _before(folder: Path, later: Checkpoint) -> Checkpoint | None:
    """The newest checkpoint of an earlier step after as many recoveries; None where it would be the start."""
    for path in sorted((folder / "checkpoints").glob("step-*"), reverse=True):
        found = load(path)
        if found.step < later.step and found.facts.get("recoveries") == later.facts.get("recoveries"):
            return found
    return None


def _trained(parts: Parts, plan: Plan, start: Standing, *, upto: int) -> Checkpoint:
    """The checkpoint of a step, made anew: written and read back by the code that any run goes through."""
    ends = replace(parts.ends, every_steps=(*parts.ends.every_steps, upto))
    with tempfile.TemporaryDirectory(prefix="mbgd-verify-") as name:
        recorder = Recorder(Path(name), checkpoint_every=upto)
        training = going(replace(parts, ends=ends), plan, recorder=recorder, start=start)
        with suppress(DivergenceError):  # a run that diverged was saved before that
            for look in training:
                if look.progress.steps_done == upto:
                    next(training, None)  # what follows a look is saved when the next is asked for
                    break
        training.close()
        found = newest(Path(name))
    if found is None:
        raise SavedFileError(f"step {upto:,} was not come to again; the plan of the run is not the one that made it")
    return found.checkpoint


def _differences(again: Checkpoint, then: Checkpoint, *, from_start: bool) -> list[str]:
    """Names of tensors and facts that differ; of a start nobody knows the generators that were not ours."""
    ours, theirs = again.tensors, then.tensors
    names = [name for name in (*ours, *theirs) if name not in ours or name not in theirs]
    names += [name for name in ours if name in theirs and not _same_bits(ours[name], theirs[name])]
    apart = {"seconds", *(("generators",) if from_start else ())}
    return names + [name for name in then.facts if name not in apart and again.facts.get(name) != then.facts[name]]


def _same_bits(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    raw = (tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (a, b))
    return a.numel() == 0 or torch.equal(*raw)


def failed(found: Verified) -> MBGDError | None:
    """The error of a run in which something does not hold; None where all does."""
    if not found.wrong:
        return None
    more = f" (and {len(found.wrong) - 1} more)" if len(found.wrong) > 1 else ""
    return SavedFileError(f"{found.wrong[0]}{more}")
