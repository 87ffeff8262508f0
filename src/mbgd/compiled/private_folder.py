"""Folders that code may be loaded from: nobody but this user, and root, can put a file there or swap a folder on the way.

As OpenSSH's StrictModes, whose rule is for `~/.ssh/authorized_keys`, but all the way up and link by link. Systems without
owners in Python (Windows) are not looked at: a user's folders are closed to others there.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import grp
    import pwd

ROOT = 0
_BY_ALL = stat.S_IWGRP | stat.S_IWOTH
_MOST_LINKS = 40  # as Linux follows
_UNKNOWN_OWNER = Path("/proc/sys/kernel/overflowuid")  # whom files of users outside a user namespace seem to belong to
_KNOWN_OWNERS = Path("/proc/self/uid_map")


def make_private(folder: Path, *, own: int) -> str:
    """Make the folder and those above it that are missing, for this user alone. Returns why others could put code there, ""
    where nobody can; nothing is made below a folder that is not trusted. Raises OSError.

    Its last `own` levels must be folders of this user that nobody else may write to. Those above may be root's, and links, and
    open to others where these cannot rename what is not theirs (the sticky bit).
    """
    if why := _why_not(folder, own):
        return why
    for level in (*reversed(folder.parents), folder):
        if not level.exists():
            level.mkdir(mode=0o700, exist_ok=True)
    return _why_not(folder, own)


def is_private(found: os.stat_result) -> bool:
    """Whether what was found is this user's, and nobody else may write to it."""
    return not hasattr(os, "geteuid") or (found.st_uid == os.geteuid() and not _others_may_write(found))


def _why_not(folder: Path, own: int) -> str:
    """Of the levels that are there."""
    if not hasattr(os, "geteuid"):
        return ""
    for level, found in _levels(folder):
        if why := _why_not_trusted(level, found):
            return why
    for level in (folder, *folder.parents)[:own]:
        if level.exists() and (stat.S_ISLNK(level.lstat().st_mode) or not is_private(level.lstat())):
            return f"{level} must be a folder of user {os.geteuid()} alone"
    return ""


def _levels(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every folder and link on the way, from the root down to the first that is missing."""
    here, left, links = Path(path.anchor), list(path.parts[:0:-1]), 0
    yield here, here.lstat()
    while left:
        name = left.pop()
        here = here.parent if name == ".." else here / name
        try:
            found = here.lstat()
        except FileNotFoundError:
            return
        yield here, found
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(here))
            target = Path(os.readlink(here))
            here = Path(target.anchor) if target.is_absolute() else here.parent
            left += target.parts[:0:-1] if target.is_absolute() else target.parts[::-1]


def _why_not_trusted(level: Path, found: os.stat_result) -> str:
    if found.st_uid not in (ROOT, os.geteuid(), _unknown_owner()):
        return f"{level} belongs to user {found.st_uid}"
    if stat.S_ISLNK(found.st_mode) or found.st_mode & stat.S_ISVTX or not _others_may_write(found):
        return ""
    return f"others may write to {level}, which 'chmod go-w {level}' ends"


def _others_may_write(found: os.stat_result) -> bool:
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _is_private_group(found.st_gid)


def _is_private_group(group: int) -> bool:
    """Whether a group is the user's own, of his name and with nobody else in it, as many systems make one for each user; their
    home folders may be open to it."""
    try:
        user, known = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return user.pw_gid == group and known.gr_name == user.pw_name and set(known.gr_mem) <= {user.pw_name}


def _unknown_owner() -> int:
    """In a user namespace, as in a container without root, the owner of what belongs to users outside: the system's root among
    them, and whoever else it was that let this process see his folders. Elsewhere root."""
    try:
        if _KNOWN_OWNERS.read_text().split() == ["0", "0", "4294967295"]:
            return ROOT
        return int(_UNKNOWN_OWNER.read_text())
    except (OSError, ValueError):
        return ROOT
