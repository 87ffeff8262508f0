"""Write lines and tables to a terminal, a file or a pipe: data cannot steer a terminal, and a closed pipe is no failure."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from mbgd.errors import plain

if TYPE_CHECKING:  # a table takes a tenth of a second to load
    from rich.table import Table

REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM,
           errno.EMFILE, errno.ENFILE, errno.EBADF}  # fmt: skip

GAP = 2  # blanks between two columns of a table


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


def tell_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = ()) -> None:
    """A table of the results, as wide as the terminal, numbers in the columns named in `right` at their right edge."""
    from rich.console import Console

    console, cells = Console(soft_wrap=False), [[plain(cell) for cell in row] for row in rows]
    lines = _lines(headings, cells, right=right, width=console.width)
    if lines is None:
        console.print(_rich_table(headings, cells, right=right))
        return
    for line in lines:
        print(line)


def _lines(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str], width: int
) -> list[str] | None:
    """What rich makes of a table whose last column alone is to be wrapped, in a twentieth of the time; None of any other."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    *widths, last = [max(map(cell_len, column)) for column in zip(headings, *rows, strict=True)]
    free = width - sum(widths) - GAP * len(widths)
    if last > free and (free < max(widths) or headings[-1] in right):
        return None
    made, console = [], Console(width=max(1, free))
    for row in (headings, *rows):
        front = "".join(
            " " * (own - cell_len(cell)) * (name in right)
            + cell
            + " " * (own - cell_len(cell)) * (name not in right)
            + " " * GAP
            for name, cell, own in zip(headings, row, widths, strict=False)
        )
        end = row[-1]
        if headings[-1] in right:
            end = " " * (last - cell_len(end)) + end
        wrapped = [end] if cell_len(end) <= free else [line.plain for line in Text(end).wrap(console, free)]
        made += [front + wrapped[0], *(" " * cell_len(front) + line for line in wrapped[1:])]
    return [line.rstrip() for line in made]


def _rich_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False)
    for heading in headings:
        shown.add_column(heading, justify="right" if heading in right else "left")
    for row in rows:
        shown.add_row(*map(Text, row))
    return shown


def hear_no_more() -> None:
    """What is left in the buffers of stdout goes nowhere: whoever read it has gone, or it has no room there."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
