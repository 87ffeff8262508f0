"""What checkpoints cost: the flights table trained with one every 5 seconds and with none, in turn, speeds compared.

    python bench/checkpoints.py [PAIRS] [SECONDS]

A training is as many whole epochs as take SECONDS (60) on this machine. On one core, so that the thread that hashes, writes and
reads back takes its time from the training. Timed is the training alone, from its first look to its last. Beside it stand the
processor seconds of the same part, which neighbours on a busy machine change less, and the whole call with reading and scores.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from timing import Cell, alone, interval, report

FILE = Path(__file__).parent.parent / "examples" / "flights.parquet"
PAIRS, SECONDS, GOAL = 7, 60.0, 0.98
SIDES = {"every 5 s": "5s", "none": "1000000s"}
Outcome = tuple[float, float, float, int]  # seconds and processor seconds of training, seconds of the call, checkpoints


def train(every: str, epochs: float) -> Outcome:
    """One training, its files on the disk that holds the temporary ones."""
    from mbgd.desk.table_plan import table_plan
    from mbgd.desk.tables import table_fitting

    plan = table_plan({"target": "arr_delay", "epochs": epochs, "checkpoint_every": every})
    start, saved, at = time.perf_counter(), 0, []
    with tempfile.TemporaryDirectory() as folder:
        for look in table_fitting(str(FILE), plan=plan, out=Path(folder) / "run"):
            at.append((time.perf_counter(), time.process_time()))
            saved += sum(one.failure is None for one in look.saves)
    wall, processor = (last - first for first, last in zip(at[0], at[-1], strict=True))
    return wall, processor, time.perf_counter() - start, saved


def main() -> None:
    alone()
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    runs: dict[str, list[Outcome]] = {side: [] for side in SIDES}
    for every in SIDES.values():  # not counted
        wall, *_ = train(every, 2.0)
    epochs = max(1.0, round(2.0 * seconds / wall))
    for pair in range(pairs):
        for side in list(SIDES)[:: 1 if pair % 2 else -1]:
            runs[side].append(train(SIDES[side], epochs))
    print(json.dumps({"name": "checkpoints", "epochs": epochs, "runs": runs}))
    kinds = ("training", "processor seconds of it", "the whole call")
    report([cell(runs, k, f"flights: {kind}", GOAL if k == 0 else None) for k, kind in enumerate(kinds)])
    saved = median(one[3] for one in runs["every 5 s"])
    seconds = median(one[0] for one in runs["every 5 s"])
    low, high = interval([1 - b[0] / a[0] for a, b in zip(runs["every 5 s"], runs["none"], strict=True)])
    loss = f"loss of speed {100 * low:.2f} % to {100 * high:.2f} %, goal at most 2 %"
    print(f"\n{saved:g} checkpoints in {seconds:.0f} s of training; {loss}")


def cell(runs: dict[str, list[Outcome]], which: int, name: str, goal: float | None) -> Cell:
    on, off = ([one[which] for one in runs[side]] for side in SIDES)
    ratios = [b / a for a, b in zip(on, off, strict=True)]
    low, high = interval(ratios)
    sides = ("a checkpoint every 5 s", "none")
    speeds = (3600 / median(on), 3600 / median(off))
    return Cell(name, *sides, "trainings an hour", *speeds, median(ratios), low, high, goal, len(on))


if __name__ == "__main__":
    main()
