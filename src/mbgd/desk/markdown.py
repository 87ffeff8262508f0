"""Escape text for Markdown: no name from the data makes a table, a link or HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mbgd.errors import plain

_MEANS_SOMETHING = re.compile(
    r"[&<>|`*\\\[\]~#!$@{}^]"  # HTML, cells, code, emphasis, links, headings, mathematics, mentions
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis, but within a word
    r"|:(?=/)|(?<=www)\."  # addresses, which GitHub makes links of
    r"|^[-+=:]|^\d(?=\d*[.)](?: |$))",  # lists, lines below headings
    re.IGNORECASE,
)
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]+")


def escaped(text: object) -> str:
    """With a character reference in place of each character that Markdown would read; any blanks become one space, and what is
    not printable is spelt out."""
    shown = plain(_BLANK.sub(" ", str(text)).strip())
    return _MEANS_SOMETHING.sub(lambda found: f"&#{ord(found[0])};", shown)


def listed(texts: Iterable[object], *, most: int) -> str:
    """The first few, escaped, with commas between them."""
    texts = list(texts)
    return ", ".join(escaped(text) for text in texts[:most]) + (", ..." if len(texts) > most else "")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; cells as they are to stand there."""
    return [_line(headings), _line(["---"] * len(headings)), *(_line(row) for row in rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
