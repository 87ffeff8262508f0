"""Say what an interrupted run has left, and how to go on with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mbgd.desk.run_files import CHECKPOINTS, MODELS, PLAN, REFIT, RESULT


def left_in(folder: Path) -> Callable[[], str]:
    """The sentence as a function, which may be called where a signal ends the process: it asks the file system alone.

    To be made before the folder is: a run that stands there already, and that this one would replace, is not what is left.
    """
    before = _of_file(os.path.join(folder, PLAN))

    def said() -> str:
        plan = _of_file(os.path.join(folder, PLAN))
        if plan is None or plan == before:
            return "interrupted before training began; nothing is left of it"
        return what_is_left(folder)

    return said


def what_is_left(folder: Path) -> str:
    """Of a run that has begun."""
    if _of_file(os.path.join(folder, RESULT)) is not None:
        return f"interrupted when {folder} had ended; 'mbgd resume {folder}' shows its scores"
    if any(_has_saved(place) for place in _trainings(folder)):
        return f"saved in {folder}; 'mbgd resume {folder}' goes on with it"
    return f"interrupted before the first checkpoint; 'mbgd resume {folder}' begins it anew"


def _trainings(folder: Path) -> list[str]:
    """The run's own folder, those of several models, and of a second training in each."""
    models = os.path.join(folder, MODELS)
    each = [str(folder), *(os.path.join(models, name) for name in _names(models))]
    return each + [os.path.join(place, REFIT) for place in each]


def _has_saved(place: str) -> bool:
    """Whether there is a checkpoint, or the result of one of several models."""
    saved = any(name.startswith("step-") for name in _names(os.path.join(place, CHECKPOINTS)))
    return saved or _of_file(os.path.join(place, RESULT)) is not None


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (OSError, ValueError):
        return []


def _of_file(path: str) -> tuple[int, ...] | None:
    """What tells a file from another of its name; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # a name that no file can have
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns
