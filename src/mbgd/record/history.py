"""Keep the history of a run, one record a look: in memory, and as JSON lines that survive a torn last one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbgd.errors import SavedFileError, did_you_mean
from mbgd.store import (
    Digest,
    announced,
    append_line,
    digest_of,
    finite,
    is_shared,
    parse_json,
    read_bytes,
    sync,
    write_bytes,
)
from mbgd.store.schema import Absent, Entries, Tree, Whole

if TYPE_CHECKING:
    import pyarrow as pa

Record = Mapping[str, Any]
RECOVERED = "recovered_from"  # the step that was not finite, in the record of going back
_RECORD = Entries({"step": Absent(Whole()), "rows_seen": Absent(Whole()), RECOVERED: Absent(Whole())})
_ANY = Tree(4)
_SHOWN = 5  # rows at either end of what is printed


class History:
    """What was seen while training, a row a record: `history["loss"]` is a list, `for record in history` gives dicts."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records: list[dict[str, Any]] = []
        self._columns: dict[str, None] = {}
        for record in records:
            self.append(record)

    def append(self, record: Record) -> None:
        """Add one record, held as the file holds it; a key never seen before is a new column, None in the rows before."""
        self._records.append(json.loads(_line(record)))
        self._columns.update(dict.fromkeys(record))

    @property
    def columns(self) -> list[str]:
        """Names in the order in which they were first seen."""
        return list(self._columns)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Every record with every column."""
        return ({name: record.get(name) for name in self._columns} for record in self._records)

    def __getitem__(self, column: str) -> list[Any]:
        """Raises KeyError, naming the columns there are."""
        if column not in self._columns:
            known = ", ".join(self._columns) or "none yet"
            raise KeyError(f"history has the columns {known}, got {column!r}{did_you_mean(column, self._columns)}")
        return [record.get(column) for record in self._records]

    def __contains__(self, column: object) -> bool:
        return column in self._columns

    def to_arrow(self) -> pa.Table:
        """The same as an Arrow table, which pandas and polars read; None and what is not finite become null."""
        import pyarrow as pa

        return pa.table({name: pa.array(self[name]) for name in self._columns})

    def __repr__(self) -> str:
        if not self._records:
            return "History of 0 records"
        n, rows = len(self), list(self)
        head, tail = (rows, []) if n <= 2 * _SHOWN else (rows[:_SHOWN], rows[-_SHOWN:])
        cells = [self.columns, *([_shown(row[name]) for name in self._columns] for row in (*head, *tail))]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
        if tail:
            lines.insert(1 + _SHOWN, "...".rjust(widths[0]))
        return "\n".join([*lines, f"History of {n} record{'s' if n > 1 else ''}"])


class HistoryWriter:
    """Appends records to a file of JSON lines; they survive a killed process, and a power loss from `sync` on."""

    def __init__(self, path: Path) -> None:
        """Goes on behind the records that are there; a torn last line is taken out first, and a file that has other names
        becomes one of its own. Raises SavedFileError for a link, a pipe or a device: it leads elsewhere."""
        self.path = path
        with announced(path, to="read"):
            shared = is_shared(path)
        if path.exists() and _lines(path)[1]:
            _rewrite(path, read_history(path))
        data = read_bytes(path) if path.exists() else b""
        if shared:
            write_bytes(path, data)
        self._bytes = len(data)
        self._hash = hashlib.sha256(data)  # goes on with each line: no save reads them all again

    @property
    def digest(self) -> Digest:
        """Of all that was written so far."""
        return Digest(self._bytes, self._hash.hexdigest())

    def append(self, record: Record) -> None:
        """Raises StorageError; the file then stands as before."""
        line = _line(record)
        append_line(self.path, line)
        data = line.encode() + b"\n"
        self._bytes += len(data)
        self._hash.update(data)

    def sync(self) -> None:
        """To be called before a checkpoint: then a run that resumes from it finds every record up to there."""
        if self.path.exists():
            sync(self.path)


def read_history(path: Path) -> History:
    """The records of a file; a last line that a crash cut short is left out.

    Raises SavedFileError naming the line where another one is damaged.
    """
    records, damaged = _records(path)
    if damaged:
        raise _damage(path, damaged)
    return History(record for record in records if record is not None)


def rewind(path: Path, step: int, *, recoveries: int = 0) -> History:
    """Drop the records of steps after `step`, which will be made again, and return those that stay.

    A record with `recovered_from` says that the steps go back: those after it are steps after one more recovery. Of so many
    recoveries all records before the last stay.

    Damage behind them, as a power loss leaves it, goes too; in front of one of them it raises SavedFileError. The file
    is replaced as a whole or not at all; a missing file is an empty history.
    """
    if not path.exists():
        return History()
    records, damaged = _records(path)
    stays, gone_back = [], 0
    for record in records:
        gone_back += record is not None and RECOVERED in record
        past = gone_back < recoveries or (
            gone_back == recoveries and record is not None and record.get("step", 0) <= step
        )
        stays.append(record is not None and past)
    if damaged and any(stays[damaged:]):
        raise _damage(path, damaged)
    kept = History(record for record, stay in zip(records, stays, strict=True) if stay and record is not None)
    if len(kept) < len(records) or _lines(path)[1]:
        _rewrite(path, kept)
    return kept


def cut_back(path: Path, to: Digest) -> History:
    """Drop all behind the records that led to a checkpoint, and return these: they are as they were written.

    The file is replaced as a whole or not at all; a missing one is an empty history. Raises SavedFileError where a record
    was changed.
    """
    if not path.exists():
        return History()
    data = read_bytes(path)
    if not begins_with(data, to):
        raise changed_in_front(path, to)
    if len(data) > to.bytes:
        write_bytes(path, data[: to.bytes])
    return read_history(path)


def begins_with(data: bytes, what: Digest) -> bool:
    """Whether the first bytes of a file are those that were written."""
    return len(data) >= what.bytes and digest_of(data[: what.bytes]) == what


def changed_in_front(path: Path, to: Digest) -> SavedFileError:
    """What is said of a history that led to a checkpoint and is another now."""
    return SavedFileError(
        f"{path} must begin with the {to.bytes:,} bytes that led to a checkpoint, a line of them was changed since; "
        "restore it from a copy, or remove it: training goes on without these lines"
    )


def _records(path: Path) -> tuple[list[dict[str, Any] | None], int]:
    """A record for each line, None where it is damaged, and the number of the first such line or 0."""
    lines, torn = _lines(path)
    records = [_parsed(line) for line in lines]
    damaged = records.index(None) + 1 if None in records else 0
    last = _parsed(torn)
    return (records if last is None else [*records, last]), damaged


def _damage(path: Path, line: int) -> SavedFileError:
    return SavedFileError(
        f"{path} must hold one JSON object a line, line {line} is none that a run writes; restore it or remove that line"
    )


def _rewrite(path: Path, history: History) -> None:
    write_bytes(path, "".join(_line(record) + "\n" for record in history._records).encode())


def _lines(path: Path) -> tuple[list[bytes], bytes]:
    """Whole lines, and what stands behind the last line end."""
    *lines, torn = read_bytes(path).split(b"\n")
    return lines, torn


def _line(record: Record) -> str:
    return json.dumps(finite(record), ensure_ascii=False)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = parse_json(line)
    except ValueError:
        return None
    return None if _RECORD.fault(value, "") or _ANY.fault(value, "") else value


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
