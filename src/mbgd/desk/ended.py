"""The summary of a finished run in, its result.json out, with the checksums of the files that have none inside; and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mbgd.desk.run_files import RESULT
from mbgd.errors import SavedFileError, taken_at_its_word
from mbgd.store import Digest, digest_from, file_digest, read_sealed, write_sealed

_FILES = "files"


def write_result(folder: Path, summary: Mapping[str, Any], *, files: Mapping[str, Digest]) -> None:
    """Written last of all: where it is, the run has ended. `files` are named as seen from the folder. Raises StorageError."""
    write_sealed(folder / RESULT, {**summary, _FILES: {name: asdict(one) for name, one in files.items()}})


def read_result(folder: Path) -> dict[str, Any]:
    """The summary of a finished run. Raises SavedFileError where it is not what was written."""
    said = _read(folder)
    return {name: value for name, value in said.items() if name != _FILES}


def files_of_result(folder: Path) -> dict[str, Digest]:
    """What the files named by the result must be; none of a version that named none. Raises SavedFileError."""
    with taken_at_its_word(folder / RESULT):
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
    if not isinstance(said, dict):
        raise SavedFileError(f"{path} must be the result of a run, got something else; restore it from a copy")
    return said
