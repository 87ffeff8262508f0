"""Write result.json, the summary of a finished run with the checksums of the files that have none inside, and read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from mbgd.desk.run_files import RESULT
from mbgd.errors import SavedFileError
from mbgd.store import DIGEST, Digest, digest_from, file_digest, read_sealed, write_sealed
from mbgd.store.schema import Absent, Entries, Items, Maybe, Named, Real, Text, Tree, Whole

_FILES = "files"
_LEVELS = 12  # of lists and objects within each other
_INSIDE = re.compile(r"\w[\w.\-]*(/\w[\w.\-]*)*")
_SCORES = Named(Maybe(Real()))
_SCHEMA = Entries(
    {
        "ending": Absent(Text()),
        "why": Absent(Text()),
        "steps": Absent(Whole()),
        "epochs": Absent(Real(0.0)),
        "seconds": Absent(Real(0.0)),
        "scores": Absent(Named(_SCORES)),
        "baselines": Absent(Named(_SCORES)),
        "calibration": Absent(Maybe(Entries({"temperature": Real()}))),
        "notices": Absent(Items(Text())),
        _FILES: Absent(Named(DIGEST)),
    }
)


def write_result(folder: Path, summary: Mapping[str, Any], *, files: Mapping[str, Digest]) -> None:
    """Written last of all: where it is, the run has ended. `files` are named as seen from the folder. Raises StorageError."""
    write_sealed(folder / RESULT, {**summary, _FILES: {name: asdict(one) for name, one in files.items()}})


def read_result(folder: Path) -> dict[str, Any]:
    """The summary of a finished run. Raises SavedFileError where it is not what was written."""
    said = _read(folder)
    return {name: value for name, value in said.items() if name != _FILES}


def files_of_result(folder: Path) -> dict[str, Digest]:
    """What the files named by the result must be; none of a version that named none. Raises SavedFileError."""
    return {name: digest_from(one) for name, one in _read(folder).get(_FILES, {}).items()}


def check_file(path: Path, expected: Digest) -> None:
    """Raises SavedFileError where a file is not the one that was there when the run ended."""
    if file_digest(path) != expected:
        raise SavedFileError(
            f"{path} must be as the run left it, its SHA-256 shows that it was changed; restore it from a copy"
        )


def _read(folder: Path) -> dict[str, Any]:
    path = folder / RESULT
    said = read_sealed(path, remedy="restore it from a copy, or remove it: 'mbgd resume' makes it again")
    found = _SCHEMA.fault(said, "") or Tree(_LEVELS).fault(said, "it")
    if not found and (wrong := [name for name in said.get(_FILES, {}) if not _INSIDE.fullmatch(name)]):
        found = f"files must be of files in the run's folder, got {wrong[0][:80]!r}"
    if found:
        raise SavedFileError(f"{path} must be the result of a run: {found}; restore it from a copy")
    return cast(dict[str, Any], said)
