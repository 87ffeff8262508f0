"""Lines and tables in, a terminal, a file or a pipe out: what came from data cannot steer it, and nobody need listen."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

from mbgd.errors import plain

if TYPE_CHECKING:  # a table takes a tenth of a second to load
    from rich.table import Table

REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM,
           errno.EMFILE, errno.ENFILE, errno.EBADF}  # fmt: skip


def open_streams() -> None:
    """A stream that was closed by whoever began us leads nowhere; a letter that one cannot write is spelt out there."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  open to the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def tell(line: str = "") -> None:
    """A line of the results, on stdout."""
    print(plain(line))


def tell_table(shown: Table) -> None:
    """A table of the results; its cells are `Text` of `plain` words."""
    from rich.console import Console

    Console(soft_wrap=False).print(shown)


def hear_no_more() -> None:
    """What is left in the buffers of stdout goes nowhere: whoever read it has gone, or it has no room there."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
