"""The folder of compiled kernels: in the user's cache where nobody else may write to it, else among temporary files."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mbgd.compiled.private_folder import make_private
from mbgd.store import sweep as sweep_temporaries

DAY = 86_400.0  # seconds
KERNELS = "kernels"
KEPT = 4  # folders kept besides our own: other versions and environments of this user
UNUSED_DAYS = 30
_OWN = 2  # levels that only we make: one for all kernels, and a folder of those that belong together


class Place(NamedTuple):
    """A folder that can be written, and the sentence that says why it is not the user's cache ("" where it is);
    `is_refused` where that could be written, but by others as well."""

    folder: Path
    why_temporary: str
    is_refused: bool = False


class _RefusedError(Exception):
    """Others could put code into a folder."""


def open_folder(name: str) -> Place:
    """The folder for `name`, made if need be and marked as used now; when it is new, ones long unused are removed."""
    wanted, is_refused = cache_root(os.environ), False
    why = "there is no home folder"
    if wanted is not None:
        folder = wanted / KERNELS / name
        try:
            _open(folder, own=_OWN)
            return Place(folder, "")
        except _RefusedError as refused:
            why, is_refused = str(refused), True
        except OSError as error:
            why = f"{folder} cannot be written ({error.strerror})"
    return Place(_temporary(name), f"{why}; MBGD_CACHE_DIR may name another folder", is_refused)


def _open(folder: Path, *, own: int) -> None:
    """Raises OSError, _RefusedError."""
    is_new = not folder.exists()
    if why := make_private(folder, own=own):
        raise _RefusedError(why)
    tempfile.TemporaryFile(dir=folder).close()  # made and closed at once: can it be?
    os.utime(folder)
    if is_new:
        sweep(folder)


def make_again(folder: Path) -> bool:
    """Whether a folder that was opened is there: another process may have swept it meanwhile. What killed processes left
    half-written in it is removed."""
    sweep_temporaries(folder)
    return folder.is_dir() or not make_private(folder, own=_OWN)


def cache_root(environment: Mapping[str, str]) -> Path | None:
    """MBGD_CACHE_DIR, else mbgd in XDG_CACHE_HOME where that is absolute (its specification says so), else in ~/.cache."""
    if own := environment.get("MBGD_CACHE_DIR"):
        return Path(own).absolute()
    if (common := environment.get("XDG_CACHE_HOME")) and Path(common).is_absolute():
        return Path(common) / "mbgd"
    try:
        return Path.home() / ".cache" / "mbgd"
    except RuntimeError:
        return None


def sweep(ours: Path) -> None:
    """Remove folders beside `ours` that nobody used for 30 days, and of those unused for a day all but the latest few."""
    others = []
    for folder in ours.parent.iterdir():
        if folder != ours and re.fullmatch(r"[0-9a-f]{32}", folder.name):
            with suppress(OSError):  # another process may sweep as well
                others.append((time.time() - folder.stat().st_mtime, folder))
    for place, (age, folder) in enumerate(sorted(others)):
        if age > UNUSED_DAYS * DAY or (place >= KEPT and age > DAY):
            shutil.rmtree(folder, ignore_errors=True)


def _temporary(name: str) -> Path:
    """Of one folder a user among the temporary files, else a new one for this process alone, which is removed at its end;
    another's folder of that name is never trusted."""
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"mbgd-{user}" / KERNELS / name
    try:
        _open(folder, own=_OWN + 1)
        return folder
    except (OSError, _RefusedError):
        alone = Path(tempfile.mkdtemp(prefix="mbgd-"))
        atexit.register(shutil.rmtree, alone, ignore_errors=True)
        return alone
