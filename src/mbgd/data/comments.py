"""Skip the comments of a CSV file: its bytes without them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import BinaryIO, cast

BLOCK = 1 << 20  # bytes read at once
_BOM = b"\xef\xbb\xbf"


def without_comments(raw: BinaryIO, *, comment: str, delimiter: str) -> BinaryIO:
    """As pandas has it: from the character on, the rest of a line is skipped, but not within quotes; a line of nothing else
    is no line."""
    return cast(BinaryIO, io.BufferedReader(_Uncommented(raw, comment.encode(), delimiter.encode()), BLOCK))


class _Uncommented(io.RawIOBase):
    def __init__(self, raw: BinaryIO, comment: bytes, delimiter: bytes) -> None:
        self.raw, self.left = raw, b""
        self.lines = _kept(raw, comment=comment, delimiter=delimiter)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed asks for any buffer
        self.left = self.left or next(self.lines, b"")
        n = min(len(buffer), len(self.left))
        buffer[:n], self.left = self.left[:n], self.left[n:]
        return n

    def close(self) -> None:
        self.raw.close()
        super().close()


def _kept(raw: BinaryIO, *, comment: bytes, delimiter: bytes) -> Iterator[bytes]:
    """Blocks of whole lines without comments; none is empty."""
    marks = re.compile(b'["' + re.escape(comment + delimiter) + b"]")
    rest, quoted, first = b"", False, True
    while block := raw.read(BLOCK):
        block = block.removeprefix(_BOM) if first else block
        first = False
        whole = rest + block
        end = max(whole.rfind(b"\n"), whole.rfind(b"\r")) + 1
        lines, rest = whole[:end].splitlines(keepends=True), whole[end:]
        kept, quoted = _cut_all(lines, quoted, comment=comment, marks=marks)
        if kept:
            yield kept
    kept, _ = _cut_all([rest], quoted, comment=comment, marks=marks)
    if kept:
        yield kept


def _cut_all(lines: list[bytes], quoted: bool, *, comment: bytes, marks: re.Pattern[bytes]) -> tuple[bytes, bool]:
    kept = []
    for line in lines:
        left = line
        if quoted or b'"' in line or comment in line:
            left, quoted = _cut(line, quoted, comment=comment, marks=marks)
        kept.append(left)
    return b"".join(kept), quoted


def _cut(line: bytes, quoted: bool, *, comment: bytes, marks: re.Pattern[bytes]) -> tuple[bytes, bool]:
    """(the line up to its comment, whether it ends within quotes); a quote counts where a cell begins."""
    at, start = 0, -1 if quoted else 0  # where to look next, and where the cell begins
    while True:
        if quoted:
            end = line.find(b'"', at)
            if end < 0:
                return line, True
            doubled = line[end + 1 : end + 2] == b'"'
            quoted, at = doubled, end + 1 + doubled
            continue
        found = marks.search(line, at)
        if found is None:
            return line, False
        mark, at = found[0], found.end()
        if mark == comment:
            before = line[: found.start()]
            ends = line[len(line.rstrip(b"\r\n")) :]
            return (before + ends if before.strip() else b""), False
        if mark != b'"':
            start = at
        elif found.start() == start:
            quoted = True
