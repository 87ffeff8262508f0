"""Save tensors and facts of one step as a verified checkpoint folder, and find the newest whole one of a run."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mbgd.errors import DamagedError, MBGDError, SavedFileError, StorageError
from mbgd.model.header import read_header
from mbgd.model.tensors import read_tensors, tensor_bytes
from mbgd.record.checkpoint_files import MANIFEST, NAME, STATE
from mbgd.store import (
    DIGEST,
    LARGEST_JSON,
    Digest,
    digest_from,
    read_bytes,
    remove_folder,
    seal,
    sha256,
    unseal,
    write_folder,
)
from mbgd.store.schema import Absent, Entries, Whole

FORMAT = 1
_NAME = re.compile(NAME)
_SCHEMA = Entries({"step": Whole(), "facts": Entries({}), "files": Entries({STATE: DIGEST}), "history": Absent(DIGEST)})


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a run needs to go on after `step` updates."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    path: Path
    history: Digest | None = None  # of the lines of history.jsonl that led here; None of a version that kept none


@dataclass(frozen=True)
class Found:
    """The newest checkpoint that is whole, and a sentence for each newer one that is not."""

    checkpoint: Checkpoint
    notices: tuple[str, ...]


def save(
    run: Path,
    *,
    step: int,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, object],
    history: Digest | None = None,
    keep: int = 2,
    recoveries: int = 0,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Path:
    """Write RUN/checkpoints/step-<step> and return its path: on disk, re-read and found whole when this returns.

    Only then are older ones removed, those behind the `keep` newest whole ones; a failed save changes nothing, nor does
    one that `is_wanted` no longer, asked last before it gets its name. After each of the `recoveries` of a run, which go
    back in steps, all that is saved is newer than what was saved before. `facts` must be JSON. Raises StorageError.
    """

    def check(written: Path) -> None:
        _verify_new(written)
        if not is_wanted():
            raise OSError(errno.ECANCELED, "nobody waits for it")

    state = tensor_bytes(tensors)
    named = {STATE: {"bytes": len(state), "sha256": hashlib.sha256(state).hexdigest()}}
    led_here = {} if history is None else {"history": asdict(history)}
    manifest = seal({"format": FORMAT, "step": step, "facts": dict(facts), "files": named, **led_here})
    folder = run / "checkpoints"
    path = folder / _free_name(folder, step, recoveries)
    write_folder(path, {STATE: state, MANIFEST: manifest}, verify=check)
    _rotate(folder, newest=path, keep=keep)
    return path


def newest(run: Path, *, check: Callable[[Checkpoint], None] = lambda checkpoint: None) -> Found | None:
    """The newest whole checkpoint, or None where none was ever saved; changes nothing on disk. One is whole where `check`,
    which may look further, raises no DamagedError.

    Raises SavedFileError where there are checkpoints and none is whole, or one is of a newer format; StorageError where none
    that may be read is whole, and another may not be read.
    """
    notices: list[str] = []
    refused: list[MBGDError] = []
    for path in _by_age(run / "checkpoints"):
        try:
            found = load(path)
            check(found)
            return Found(found, tuple(notices))
        except (DamagedError, StorageError) as error:
            notices.append(f"checkpoint {path} was passed over: {error}")
            refused += [error] if isinstance(error.__cause__, PermissionError) else []
    if refused:  # who may read it may find it whole
        raise refused[0]
    if notices:
        raise SavedFileError(
            f"run must have one whole checkpoint, all {len(notices)} of {run} are damaged; "
            f"train again with `mbgd train --plan {run / 'plan.json'}`, which makes the same run"
        )
    return None


def load(path: Path) -> Checkpoint:
    """One checkpoint, each byte checked against its SHA-256. Raises SavedFileError."""
    manifest = verify(path)
    try:
        tensors = read_tensors(read_header(path / STATE))
    except SavedFileError as error:
        raise DamagedError(str(error)) from None
    history = digest_from(manifest["history"]) if "history" in manifest else None
    return Checkpoint(manifest["step"], tensors, manifest["facts"], path, history)


def verify(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint whose every byte is as it was written. Raises SavedFileError."""
    try:
        manifest = unseal(read_bytes(path / MANIFEST, most=LARGEST_JSON))
    except (ValueError, SavedFileError) as error:
        raise DamagedError(f"{MANIFEST} is not as it was written ({error})") from None
    if found := Whole(1).fault(manifest.get("format"), "format"):
        raise DamagedError(f"{MANIFEST} says what none says: {found}")
    if manifest["format"] > FORMAT:
        raise SavedFileError(
            f"{path} has format {manifest['format']}, this MBGD reads {FORMAT}; install the version that wrote it or a later one"
        )
    if found := _SCHEMA.fault(manifest, ""):
        raise DamagedError(f"{MANIFEST} says what none says: {found}")
    named = _NAME.search(path.name)
    if named and int(named[1]) != manifest["step"]:
        raise DamagedError(f"{MANIFEST} is of step {manifest['step']}")
    for name, expected in manifest["files"].items():
        if name != STATE:
            raise DamagedError(f"{MANIFEST} names {name!r}, which is no file of a checkpoint")
        _verify_file(path / name, expected)
    return manifest


def _verify_file(path: Path, expected: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise DamagedError(f"{path.name} is missing")
    size = path.stat().st_size
    if size != expected["bytes"]:
        raise DamagedError(f"{path.name} has {size} bytes and had {expected['bytes']}")
    if sha256(path) != expected["sha256"]:
        raise DamagedError(f"the SHA-256 of {path.name} is not the one written in {MANIFEST}")


def _verify_new(path: Path) -> None:
    try:
        verify(path)
    except SavedFileError as error:
        raise OSError(errno.EIO, f"what was read back differs from what was written: {error}") from None


def _rotate(folder: Path, *, newest: Path, keep: int) -> None:
    """Remove all that is older than the `keep` newest whole ones, so that damage never leaves a run with fewer."""
    whole = 0
    for path in _by_age(folder):
        if whole >= keep:
            with contextlib.suppress(StorageError):  # the new one is safe; the next save tries again
                remove_folder(path)
        elif path == newest or _is_whole(path):
            whole += 1


def _is_whole(path: Path) -> bool:
    try:
        verify(path)
    except (SavedFileError, StorageError):
        return False
    return True


def _by_age(folder: Path) -> Iterator[Path]:
    """Checkpoints, the newest first."""
    for recoveries, step, time in sorted(_named(folder), reverse=True):
        yield folder / _name(step, recoveries, time)


def _free_name(folder: Path, step: int, recoveries: int) -> str:
    """A step saved again gets a name behind those of the times before: nothing whole is ever overwritten."""
    times = [time for *saved, time in _named(folder) if saved == [recoveries, step]]
    return _name(step, recoveries, 1 + max(times, default=0))


def _name(step: int, recoveries: int, time: int) -> str:
    return f"step-{step:012d}" + (f"-r{recoveries}" if recoveries else "") + (f"-{time}" if time > 1 else "")


def _named(folder: Path) -> list[tuple[int, int, int]]:
    """(recoveries before it, step, which time it was saved) of every checkpoint in a folder."""
    matches = [_NAME.fullmatch(path.name) for path in folder.iterdir()] if folder.is_dir() else []
    return [(int(match[2] or 0), int(match[1]), int(match[3] or 1)) for match in matches if match]
