"""Where a file of results is written, which is none of those that it is made from."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mbgd.data.files import Dialect, find_files
from mbgd.desk.run_files import look_into
from mbgd.errors import PlanError
from mbgd.store import announced, check_name, sweep


def output_file(out: Path, *, inputs: Iterable[Path], force: bool) -> Path:
    """The place to write to: what a link leads to, as with a shell's `>`, so that the link stays.

    inputs: looked at where `out` exists alone. Raises PlanError for what is no file, is one of the inputs by whatever
    name, or is there and not to be replaced.
    """
    check_name(out, "out")
    with announced(out):
        place = Path(os.path.realpath(out)) if out.is_symlink() else out
        there = os.lstat(place) if os.path.lexists(place) else None
    if there is not None:
        if not stat.S_ISREG(there.st_mode):
            raise PlanError(f"out must be a file, got {out}, which is {_kind(there)}; choose another name")
        _check_apart(there, inputs, name=str(out))
        if not force:
            raise PlanError(f"out must be a new file, got {out}, which exists; --force replaces it")
    sweep(place.parent)
    return place


def check_stdout(descriptor: int, *, inputs: Iterable[Path]) -> None:
    """Raises PlanError where what is written there is appended to an input, which would never end."""
    there = os.fstat(descriptor)
    if stat.S_ISREG(there.st_mode):
        _check_apart(there, inputs, name="stdout")


def _check_apart(there: os.stat_result, inputs: Iterable[Path], *, name: str) -> None:
    for path in inputs:
        if path.exists() and os.path.samestat(path.stat(), there):
            raise PlanError(
                f"out must be another file than those that are read, got {name} and {path}; choose another name"
            )


def files_read(run: Any, data: Any) -> Iterator[Path]:
    """The model with all that its run has, and the files of rows, of whatever ending: what is no table is said elsewhere."""
    if isinstance(run, str | os.PathLike):
        folder = Path(run)
        check_name(folder, "model")
        yield from (folder / name for name in look_into(folder).files) if folder.is_dir() else (folder,)
    if isinstance(data, str | list | Path):
        yield from (file.path for file in find_files(data, dialect=Dialect(",")))


def check_not_inside(folder: Path, inputs: Iterable[Path]) -> None:
    """Raises PlanError where one of the inputs is in a folder that is to be replaced, by whatever name."""
    replaced = folder.stat()
    for path in inputs:
        real = Path(os.path.realpath(path))
        if any(above.exists() and os.path.samestat(above.stat(), replaced) for above in (real, *real.parents)):
            raise PlanError(
                f"out must be another folder than those that are read, got {folder}, which holds {path}; choose another name"
            )


def _kind(there: os.stat_result) -> str:
    if stat.S_ISLNK(there.st_mode):
        return "a link that leads nowhere"
    return "a folder" if stat.S_ISDIR(there.st_mode) else "a pipe or device"
