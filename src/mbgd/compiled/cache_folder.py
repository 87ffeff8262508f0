"""A name in, a folder of that name out which this process may write: in the user's cache, else among temporary files."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

DAY = 86_400.0  # seconds
KEPT = 4  # folders kept besides our own: other versions and environments of this user
UNUSED_DAYS = 30


class Place(NamedTuple):
    """A folder that can be written, and the sentence that says why it is not the user's cache ("" where it is)."""

    folder: Path
    why_temporary: str


def open_folder(name: str) -> Place:
    """The folder for `name`, made if need be and marked as used now; when it is new, ones long unused are removed."""
    wanted, why = cache_root(os.environ), ""
    if wanted is not None:
        wanted = wanted / "kernels"
        why = _unwritable(wanted / name)
        if not why:
            return Place(wanted / name, "")
    else:
        why = "there is no home folder"
    private = _private_temporary()
    folder = private / "kernels" / name
    if _unwritable(folder):
        folder = Path(tempfile.mkdtemp(prefix="mbgd-"))
    return Place(folder, f"{why}; MBGD_CACHE_DIR may name another folder")


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


def _unwritable(folder: Path) -> str:
    """Why this folder cannot be made and written, "" if it can; the owner alone may read it, for code is loaded from it."""
    try:
        is_new = not folder.exists()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # made and closed at once: can it be?
        os.utime(folder)
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"
    if is_new:
        sweep(folder)
    return ""


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


def _private_temporary() -> Path:
    """One folder a user among the temporary files; another's folder of that name is never trusted."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"mbgd-{user}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        is_private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if not hasattr(os, "getuid") or (is_private and found.st_uid == os.getuid()):
            return folder
    return Path(tempfile.mkdtemp(prefix="mbgd-"))
