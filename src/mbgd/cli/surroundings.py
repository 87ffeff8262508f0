"""What a process is begun with: the width of its terminal, its working folder, the memory that it may have."""

from __future__ import annotations

import os
import sys

from mbgd.errors import StorageError

NARROWEST, WIDEST = (
    20,
    10_000,
)  # columns of a terminal; tables and help cannot be laid out in fewer, and take long in more


def believe_width() -> None:
    """Forget a COLUMNS that no terminal has: 0, as some programs set it for those that they begin, or a million."""
    width = os.environ.get("COLUMNS", "")
    if width and not (width.isdecimal() and NARROWEST <= int(width[:9]) <= WIDEST):
        del os.environ["COLUMNS"]


def check_working_folder(arguments: list[str]) -> None:
    """Raises StorageError where the working folder has been removed: torch's libraries end the process there without a word
    of why. Help loads none of them."""
    if {"--help", "-h", "--version"} & set(arguments):
        return
    try:
        os.getcwd()
    except OSError as error:
        raise StorageError(
            f"the working folder must exist, the system gives none ({error.strerror}); cd to a folder that is there"
        ) from None


def address_space() -> int | None:
    """The bytes that `ulimit -v` lets this process have; None where there is no limit."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit
