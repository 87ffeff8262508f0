"""A training look by look in, its curves and what a callback or the screen was told on the way out."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator, Mapping
from typing import Any

from mbgd.desk.further import Further
from mbgd.desk.train import Look
from mbgd.record.history import History

Callback = Callable[[Mapping[str, Any]], Any]


def watched(training: Generator[Look, bool | None, Further], *, callback: Callback | None, verbose: Any) -> Further:
    """Let it run to its end; after each epoch `callback` gets a record and may return True to stop."""
    told, stop = _Epoch(), False
    while True:
        try:
            look = training.send(stop) if told.begun else next(training)
        except StopIteration as ended:
            done: Further = ended.value
            return done
        record = told.after(look)
        stop = False
        if record is not None:
            if verbose:
                sys.stdout.write(_line(record) + "\n")
            stop = callback is not None and bool(callback(record))


class _Epoch:
    """The looks since the last epoch's end, made one record at the next."""

    def __init__(self) -> None:
        self.begun = False
        self._loss_sum, self._rows, self._seen = 0.0, 0, 0

    def after(self, look: Look) -> dict[str, Any] | None:
        rows = look.progress.rows_seen - (self._seen if self.begun else 0)
        self.begun, self._seen = True, look.progress.rows_seen
        self._loss_sum, self._rows = self._loss_sum + look.loss * rows, self._rows + rows
        if look.progress.cursor.row:
            return None
        record = {
            "epoch": look.progress.cursor.epoch,
            "loss": self._loss_sum / self._rows,
            "learning_rate": look.learning_rate,
            "seconds": look.seconds,
            **{f"validation_{name}": value for name, value in look.scores.items()},
        }
        self._loss_sum, self._rows = 0.0, 0
        return record


def _line(record: Mapping[str, Any]) -> str:
    named = (f"{name} {value:.6g}" for name, value in record.items() if name not in ("epoch", "seconds"))
    return f"epoch {record['epoch']}  " + "  ".join(named)


def loss_curve(history: History) -> list[float]:
    """Mean training loss of each epoch, each row's before its update; the last epoch may be begun only."""
    sums: dict[int, list[float]] = {}
    seen = 0
    for record in history:
        rows, seen = record["rows_seen"] - seen, record["rows_seen"]
        total = sums.setdefault(math.ceil(record["epoch"] - 1e-9), [0.0, 0.0])
        total[0], total[1] = total[0] + (record["loss"] or 0.0) * rows, total[1] + rows
    return [loss / rows for loss, rows in sums.values() if rows]


def validation_curve(history: History, metric: str) -> list[float]:
    """The score of the validation rows at each look; empty where there are none."""
    column = f"validation_{metric}"
    return [value for value in history[column] if value is not None] if column in history else []
