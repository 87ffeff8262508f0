"""Names of the files of a run's folder, and what else is in a folder that may be one."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mbgd.record.checkpoint_files import FILES as OF_CHECKPOINT
from mbgd.record.checkpoint_files import NAME as CHECKPOINT
from mbgd.record.loggers import EVENTS, MLFLOW, MLFLOW_FILE, MLFLOW_RUN, TENSORBOARD
from mbgd.store import TEMPORARY, announced, check_own_folder, sweep

PLAN, MANIFEST, RESULT = "plan.json", "manifest.json", "result.json"
MODEL, INIT, HISTORY = "model.safetensors", "init.safetensors", "history.jsonl"
CARD = "README.md"
OUT_OF_FOLD = "out_of_fold.parquet"
LOCK, CHECKPOINTS = ".lock", "checkpoints"
REFIT = "refit"  # the folder of the second training, inside that of the first
FIRST = "first.safetensors"  # the model before it, where the mean of several is scored on rows that it has not seen
MODELS = "models"  # holds a folder for each of several models, named by its number from 1 on


def _any(*patterns: str) -> str:
    return "(?:" + "|".join(patterns) + ")"


def _named(*names: str) -> str:
    """Files of these names, whole or as they are being written."""
    return f"(?:{TEMPORARY.pattern})?{_any(*map(re.escape, names))}"


_SAVED = rf"{CHECKPOINTS}/(?:{TEMPORARY.pattern})?{CHECKPOINT}"
_TRAINING = _any(
    _named(HISTORY, MODEL, FIRST, RESULT, MLFLOW_RUN),
    rf"{_SAVED}/{_any(*map(re.escape, OF_CHECKPOINT))}",
    rf"{TENSORBOARD}/{EVENTS}",
    rf"{MLFLOW}/{MLFLOW_FILE}",
)
_PLACE = rf"(?:{MODELS}/\d+/)?(?:{REFIT}/)?"  # of one of its trainings
_FILE = re.compile(_any(_named(PLAN, MANIFEST, INIT, CARD, OUT_OF_FOLD, LOCK), _PLACE + _TRAINING))
_FOLDER = re.compile(
    _any(MODELS, rf"{MODELS}/\d+", rf"(?:{MODELS}/\d+/)?{REFIT}", _PLACE + _any(CHECKPOINTS, _SAVED))
    + "|"
    + _PLACE
    + _any(TENSORBOARD, rf"{MLFLOW}(?:/.*)?")
)
_BEFORE = re.compile(  # what is written before the plan
    _any(_named(MANIFEST, INIT, PLAN, LOCK), rf"{CHECKPOINTS}/(?:{TEMPORARY.pattern})?step-0{{12}}/.*")
)


@dataclass(frozen=True)
class Found:
    """What is in a folder, named as seen from there with `/` between: files and folders that a run has, and anything else."""

    files: tuple[str, ...]
    folders: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def began(self) -> tuple[str, ...]:
        """Files that a run has from its plan on alone."""
        return tuple(name for name in self.files if not _BEFORE.fullmatch(name))

    @property
    def being_emptied(self) -> bool:
        """Whether the plan is out of sight, as when all is removed, or not yet in sight."""
        return any(TEMPORARY.match(name) and name.endswith(PLAN) for name in self.files)


def look_into(folder: Path) -> Found:
    """No link is followed: one is nothing that a run has. Raises StorageError."""
    files: list[str] = []
    folders: list[str] = []
    others: list[str] = []
    with announced(folder, to="read"):
        for name, mode in _walk(folder, ""):
            if stat.S_ISDIR(mode):
                (folders if _FOLDER.fullmatch(name) else others).append(name)
            else:
                (files if stat.S_ISREG(mode) and _FILE.fullmatch(name) else others).append(name)
    return Found(tuple(files), tuple(folders), tuple(others))


def _walk(folder: Path, inside: str) -> Iterator[tuple[str, int]]:
    """(name, mode) of all that is in a folder, but for what is in folders that no run has."""
    for entry in sorted(os.listdir(folder)):
        with suppress(FileNotFoundError):  # a run may be trained there
            name, mode = inside + entry, os.lstat(folder / entry).st_mode
            yield name, mode
            if stat.S_ISDIR(mode) and _FOLDER.fullmatch(name):
                yield from _walk(folder / entry, f"{name}/")


def check_own(folder: Path) -> None:
    """Raises SavedFileError where a run would be written to through a link: then it is written to elsewhere."""
    places = [folder, *(folder / MODELS).glob("[0-9]*")]
    for place in (folder / MODELS, *places[1:], *(one / REFIT for one in places)):
        check_own_folder(place)
    for place in (*places, *(one / REFIT for one in places)):
        check_own_folder(place / CHECKPOINTS)


def sweep_training(folder: Path) -> None:
    """Remove what was left half-written of a training; to be called by the holder of its run's lock."""
    sweep(folder, of_holder=lambda name: bool(_FILE.fullmatch(name)))
    sweep(folder / CHECKPOINTS, of_holder=lambda name: bool(re.fullmatch(CHECKPOINT, name)))
