"""What checkpoints cost: the flights table trained with one every 10 seconds, the 5 seconds around it beside the 5 after them.

    python bench/checkpoints.py [SECONDS]

Speeds drift from minute to minute, and neighbours in time drift together. So the speed with a checkpoint every 5 seconds and the
speed without are taken in turn, from one training of SECONDS (300): rows in the half of each period that holds the checkpoint,
from the copy of the state to the bytes read back, and rows in the half that holds none. On one core, so that the thread that
hashes, writes and reads back takes its time from the training.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from timing import Cell, alone, interval, report

FILE = Path(__file__).parent.parent / "examples" / "flights.parquet"
SECONDS, PERIOD, BEFORE, GOAL = 300.0, 10.0, 0.5, 0.98
"""BEFORE the look that hears of a checkpoint it is made; a look comes some times a second."""


def main() -> None:
    alone()
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    at, _, _ = train(epochs=3.0)  # not counted
    at, rows, heard = train(epochs=max(3.0, 3.0 * seconds / at[-1]))
    half = PERIOD / 2
    starts = [one - BEFORE for one in heard if one - BEFORE > at[0] and one - BEFORE + PERIOD < at[-1]]
    on, off = (
        [float(np.interp(start + half, at, rows) - np.interp(start, at, rows)) / half for start in firsts]
        for firsts in (starts, [start + half for start in starts])
    )
    ratios = [a / b for a, b in zip(on, off, strict=True)]
    low, high = interval(ratios)
    print(json.dumps({"name": "checkpoints", "on": on, "off": off}))
    sides = ("a checkpoint every 5 s", "none")
    report(
        [Cell("flights: training", *sides, "rows/s", median(on), median(off), median(ratios), low, high, GOAL, len(on))]
    )
    print(f"\nLoss of speed {100 * (1 - high):.2f} % to {100 * (1 - low):.2f} %, goal at most 2 %")


def train(*, epochs: float) -> tuple[NDArray[np.float64], NDArray[np.float64], list[float]]:
    """Seconds and rows trained on at each look, and the seconds at which a checkpoint was heard of. Files are on the disk that
    holds the temporary ones."""
    from mbgd.desk.table_plan import table_plan
    from mbgd.desk.tables import table_fitting

    plan = table_plan({"target": "arr_delay", "epochs": epochs, "checkpoint_every": f"{PERIOD:g}s"})
    at, rows, heard = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for look in table_fitting(str(FILE), plan=plan, out=Path(folder) / "run"):
            at.append(time.perf_counter())
            rows.append(look.progress.rows_seen)
            assert all(saved.failure is None for saved in look.saves)
            heard += [at[-1]] * len(look.saves)
    start = at[0]
    return np.array(at) - start, np.array(rows, float), [one - start for one in heard]


if __name__ == "__main__":
    main()
