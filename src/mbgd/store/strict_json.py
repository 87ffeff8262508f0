"""Read JSON of a file that anybody may have written: each name once in an object, and no more memory than was granted."""

from __future__ import annotations

import json
from typing import Any

SLACK = 1 << 26
"""Bytes that reading a file may take beside what it has itself."""
_OF_OBJECT, _OF_LIST, _OF_ENTRY = 256, 96, 64  # bytes in memory, at most, of what begins with a byte of text
_OF_CHARACTER = 4


def parse_json(data: bytes, *, file_size: int | None = None, finite: bool = True) -> Any:
    """The value. Raises ValueError for what is no JSON, a name that an object has twice, a number that JSON has not (`NaN`,
    unless `finite` is False), too many levels, and for more lists, objects and entries than fit into four times the file's
    bytes and the slack: ninety million bytes of `{}` would take two thousand million."""
    room = _OF_CHARACTER * (len(data) if file_size is None else file_size) + SLACK
    takes = _OF_CHARACTER * len(data) + _OF_OBJECT * data.count(b"{") + _OF_LIST * data.count(b"[")
    if takes + _OF_ENTRY * data.count(b",") > room:
        raise ValueError(f"its {len(data):,} bytes of JSON hold more lists and objects than any such file has")
    try:
        return json.loads(data, object_pairs_hook=_each_once, parse_constant=_refused if finite else None)
    except RecursionError:
        raise ValueError("its JSON has too many levels of lists and objects") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, which two readers could take for two others if it had a name twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its JSON has an object with the same name twice")
    return found


def _refused(word: str) -> Any:
    raise ValueError(f"its JSON has the word {word}, which is no JSON")
