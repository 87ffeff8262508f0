"""Follow the training of an estimator: its curves, its callback and what the screen shows."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from typing import Any

from mbgd.desk.callback import asks_to_stop
from mbgd.desk.further import Further
from mbgd.desk.train import Look
from mbgd.record.history import History

Callback = Callable[[Mapping[str, Any]], Any]


def watched(training: Generator[Look, bool | None, Further], *, callback: Callback | None, verbose: Any) -> Further:
    """Let it run to its end; after each epoch `callback` gets a record and may return True to stop."""
    stop = None
    with closing(training):
        while True:
            try:
                look = training.send(stop)
            except StopIteration as ended:
                done: Further = ended.value
                return done
            stop = None
            if look.progress.cursor.row == 0:
                record = _record(look)
                if verbose:
                    sys.stdout.write(_line(record) + "\n")
                stop = asks_to_stop(callback, record)


def _record(look: Look) -> dict[str, Any]:
    return {
        "epoch": look.progress.cursor.epoch,
        "loss": look.epoch_loss,
        "learning_rate": look.learning_rate,
        "seconds": look.seconds,
        **{f"validation_{name}": value for name, value in look.scores.items()},
    }


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
