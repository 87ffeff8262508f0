"""Open a file of exactly that name: no link is followed, no pipe or device waited for, whoever made the folder."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from mbgd.errors import SavedFileError

_ALONE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_LINKS = {errno.ELOOP, errno.EMLINK}  # what O_NOFOLLOW says of a link, here and on BSD
_KINDS = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder"}


def own_file(path: str | os.PathLike[str], flags: int) -> int:
    """An opener for `open`: a descriptor of a regular file. A new one has the mode that the umask leaves.

    Raises SavedFileError for a link, folder, pipe or device: in a folder from elsewhere it may lead to any file of the
    user, or never end. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        _check(path, os.lstat(path).st_mode)  # before it is opened: that alone may move a device
    try:
        descriptor = os.open(path, flags | _ALONE, 0o666)
    except OSError as error:
        if error.errno in _LINKS:
            raise _refused(path, "a link") from None
        raise
    try:
        _check(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_shared(path: Path) -> bool:
    """Whether a file has other names as well, hard links, which what is added to it would change too.

    Raises SavedFileError for what is no regular file, OSError.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    _check(path, found.st_mode)
    return found.st_nlink > 1


def check_own_folder(path: Path) -> None:
    """Raises SavedFileError where something else than a folder has that name, a link to one included."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISDIR(mode):
        raise SavedFileError(
            f"{path} must be a folder of the run itself, got {_kind(mode)}; put the folder that was meant in its place"
        )


def check_own_tree(path: Path) -> None:
    """`check_own_folder` of a folder with all that is in it, whose files are to be regular ones. Raises OSError."""
    check_own_folder(path)
    for name in os.listdir(path) if path.is_dir() else ():
        mode = os.lstat(path / name).st_mode
        if stat.S_ISDIR(mode):
            check_own_tree(path / name)
        else:
            _check(path / name, mode)


def _check(path: str | os.PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise _refused(path, _kind(mode))


def _kind(mode: int) -> str:
    return "a file" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "a pipe or device")


def _refused(path: str | os.PathLike[str], kind: str) -> SavedFileError:
    return SavedFileError(
        f"{os.fspath(path)} must be a file of the run itself, got {kind}, which is not written to; take it away"
    )
