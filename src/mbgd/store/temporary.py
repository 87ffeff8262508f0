"""Names of what is being written, and the removal of those that processes which are gone have left."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

TEMPORARY = re.compile(r"\.tmp-(\d+)-([0-9a-f]{32})-")
_PLACE = 16  # hex digits for the machine and its start; those behind them are chance
_MOST_BYTES = 200  # of a name that stands behind a temporary one's 55, where 255 are what file systems take
_live: set[str] = set()  # of this process


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """A new name beside `path`, under which it is written; no sweep of this process takes it away inside."""
    chance = uuid.uuid4().hex[_PLACE:]
    place = path.parent / f".tmp-{os.getpid()}-{this_start()}{chance}-{shortened(path.name, most=_MOST_BYTES)}"
    _live.add(place.name)
    try:
        yield place
    finally:
        _live.discard(place.name)


def shortened(name: str, *, most: int) -> str:
    """A file's name cut to so many bytes, between two characters."""
    while len(name.encode(errors="surrogatepass")) > most:
        name = name[: min(most, len(name) - 1)]
    return name


def sweep(folder: Path, *, of_holder: Callable[[str], bool] = lambda name: False) -> None:
    """Remove what processes that are gone left half-written in `folder`.

    Those are gone that were started on this machine since it was, in this container, and live no more; of any other nobody
    here can know. The holder of a folder's lock gives `of_holder`, which says whether a name is one that the holder of
    that lock alone writes: a temporary of such a file is stale, whoever left it.
    """
    try:
        names = [name for name in sorted(os.listdir(folder)) if _is_stale(name, of_holder)]
    except OSError:  # none there, or none that may be looked into: what is done there does not need it
        return
    for name in names:
        discard(folder / name)


def discard(path: Path) -> None:
    """Remove a folder with all in it, or whatever else has that name, as far as the system allows."""
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()  # rmtree would open a pipe, and wait for who writes to it


def _is_stale(name: str, of_holder: Callable[[str], bool]) -> bool:
    match = TEMPORARY.match(name)
    if match is None or name in _live:
        return False
    if of_holder(name[match.end() :]):
        return True
    return match[2].startswith(this_start()) and (int(match[1]) == os.getpid() or not is_alive(int(match[1])))


@cache
def this_start() -> str:
    """Hex digits of this start of this machine, and of the container: where a process id means the process that we know."""
    try:
        container = os.readlink("/proc/self/ns/pid")
    except OSError:
        container = ""
    said = "\n".join((boot_id(), container, platform.node()))
    return hashlib.sha256(said.encode(errors="surrogateescape")).hexdigest()[:_PLACE]


def boot_id() -> str:
    """Which start of the machine a process id belongs to; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Whether a process of that id is there, or may be."""
    if os.name == "nt":  # there signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
