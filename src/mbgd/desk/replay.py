"""Train the last interval of a run again and compare the bits."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mbgd import signals
from mbgd.desk.going import going
from mbgd.desk.parts import Parts
from mbgd.desk.plan import Plan
from mbgd.desk.recorder import Recorder
from mbgd.desk.run_files import CHECKPOINTS
from mbgd.desk.standing import Standing, from_checkpoint
from mbgd.desk.train import Look, Trained
from mbgd.desk.versions import changed_versions
from mbgd.errors import DivergenceError, SavedFileError
from mbgd.record.checkpoint import Checkpoint, load, newest


@dataclass(frozen=True)
class Verified:
    """Sentences: what was found to hold, what was not, and what could not be looked at, with the reason."""

    held: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    repeated: int = 0  # trainings whose last steps came out the same

    def __add__(self, other: Verified) -> Verified:
        return Verified(
            self.held + other.held,
            self.wrong + other.wrong,
            self.unseen + other.unseen,
            self.repeated + other.repeated,
        )


def replayed(folder: Path, parts: Parts, plan: Plan, saved: Any, *, which: str = "") -> Verified:
    """Train from the checkpoint before the last, or the start, to the last, and compare. `parts` are fresh; of several
    trainings the sentence says `which`."""
    last = newest(folder)
    if last is None or last.checkpoint.step == 0:
        return Verified(unseen=(f"no step was repeated: {folder} has no checkpoint of a step behind its start",))
    later = last.checkpoint
    earlier = _before(folder, later)
    if earlier is None and later.facts.get("recoveries"):
        return Verified(unseen=(f"no step was repeated: {folder} has one checkpoint alone since it went back",))
    start = Standing() if earlier is None else from_checkpoint(parts.engine, earlier.tensors, earlier.facts)
    again = _trained(parts, plan, start, upto=later.step)
    steps = f"{which}steps {start.progress.steps_done + 1:,} to {later.step:,}"
    differ = _differences(again, later, from_start=earlier is None)
    if not differ:
        return Verified(held=(f"{steps} were trained again, to the same bits: a resume is exact here",), repeated=1)
    because = "; ".join(changed_versions(saved["versions"])) or "another kind of processor may be why"
    return Verified(wrong=(f"{steps} were trained again, {differ[0]} came out in other bits: {because}",))


def at_its_end(folder: Path, parts: Parts, plan: Plan) -> Standing:
    """Where a training stands that came to its end: its newest checkpoint, or the start, trained on without a folder."""
    last = newest(folder)
    start = Standing()
    if last is not None:
        start = from_checkpoint(parts.engine, last.checkpoint.tensors, last.checkpoint.facts)
    return _ended(going(parts, plan, recorder=Recorder(None, checkpoint_every=None), start=start)).standing


def _ended(training: Generator[Look, Any, Trained]) -> Trained:
    while True:
        try:
            next(training)
        except StopIteration as end:
            trained: Trained = end.value
            return trained


def _before(folder: Path, later: Checkpoint) -> Checkpoint | None:
    """The newest checkpoint of an earlier step after as many recoveries; None where it would be the start."""
    for path in sorted((folder / CHECKPOINTS).glob("step-*"), reverse=True):
        found = load(path)
        if found.step < later.step and found.facts.get("recoveries") == later.facts.get("recoveries"):
            return found
    return None


def _trained(parts: Parts, plan: Plan, start: Standing, *, upto: int) -> Checkpoint:
    """The checkpoint of a step, made anew: written and read back by the code that any run goes through. A signal that ends the
    command takes its folder away."""
    ends = replace(parts.ends, every_steps=(*parts.ends.every_steps, upto))
    with (
        tempfile.TemporaryDirectory(prefix="mbgd-verify-") as name,
        signals.undo_if_ended(partial(shutil.rmtree, name, ignore_errors=True)),
    ):
        recorder = Recorder(Path(name), checkpoint_every=upto)
        timeless = replace(plan, time_limit=None)  # seconds of another day end nothing
        training = going(replace(parts, ends=ends), timeless, recorder=recorder, start=start)
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
    return names + [
        name for name in then.facts if name not in apart and not _says(again.facts.get(name), then.facts[name])
    ]


def _says(now: Any, then: Any) -> bool:
    """Whether a fact is what it was; a version that wrote less left out what is not compared."""
    if isinstance(now, dict) and isinstance(then, dict):
        return all(name in now and _says(now[name], value) for name, value in then.items())
    if isinstance(now, (list, tuple)) and isinstance(then, (list, tuple)):
        return len(now) == len(then) and all(map(_says, now, then))
    return bool(now == then)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    raw = (tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (a, b))
    return a.numel() == 0 or torch.equal(*raw)
