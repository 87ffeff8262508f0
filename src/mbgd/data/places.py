"""A row number of a table in, the file and the row where a person would look for it out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mbgd.data.order import IntArray


@dataclass(frozen=True)
class Part:
    """Where some rows came from: `start` is the table row at which the part's first record stands (or would stand)."""

    label: str
    start: int
    rows: int
    header_rows: int = 0
    path: Path | None = None


@dataclass(frozen=True, eq=False)
class Places:
    """The places of a table's rows; `taken` holds their original numbers, where some rows were picked."""

    n_rows: int
    parts: tuple[Part, ...]
    taken: IntArray | None = None

    def original(self, row: int) -> int:
        """The row's number in the whole table, counted from 0."""
        return int(row) if self.taken is None else int(self.taken[row])

    def of(self, row: int) -> tuple[str, int]:
        """(file, row): rows are records and count from 1, in a CSV file with the header as row 1."""
        number = self.original(row)
        part = self.parts[max(0, bisect_right([part.start for part in self.parts], number) - 1)]
        return part.label, number - part.start + 1 + part.header_rows


def listed(tables: Sequence[Places], rows: Sequence[int], *, most: int = 8) -> str:
    """'a.csv: rows 3, 9; b.csv: row 2' for rows of tables that lie one behind the other; beyond `most` only '...'."""
    found: dict[str, list[int]] = {}
    for row in rows[:most]:
        table, at = _of_one(tables, row)
        label, number = table.of(at)
        found.setdefault(label, []).append(number)
    said = [
        f"{label}: row{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}" for label, numbers in found.items()
    ]
    return "; ".join(said) + (", ..." if len(rows) > most else "")


def original(tables: Sequence[Places], row: int) -> int:
    """The number, counted from 0, that the row has in the table it is of."""
    table, at = _of_one(tables, row)
    return table.original(at)


def _of_one(tables: Sequence[Places], row: int) -> tuple[Places, int]:
    for table in tables:
        if row < table.n_rows:
            return table, row
        row -= table.n_rows
    raise IndexError(row)
