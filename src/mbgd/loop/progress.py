"""How far a run is: counted in steps and rows trained on, never in rows fetched."""

from __future__ import annotations

from dataclasses import dataclass

from mbgd.data.order import Cursor

START = Cursor()


@dataclass(frozen=True)
class Progress:
    """Position and counts after the last update."""

    steps_done: int = 0
    rows_seen: int = 0
    cursor: Cursor = START

    def after(self, *, steps: int, rows: int, cursor: Cursor) -> Progress:
        return Progress(self.steps_done + steps, self.rows_seen + rows, cursor)
