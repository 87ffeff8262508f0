"""Two functions in, the ratio of their speeds out with its interval: interleaved pairs on one core, one thread.

Machines drift by 15 % and more from minute to minute; a pair of runs one behind the other drifts together.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import median
from typing import Any

from machine import machine

PAIRS = 15
RESAMPLES = 4_000
FORCED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # where set, OpenBLAS may be held to slow kernels
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
Run = Callable[[], object]


@dataclass(frozen=True)
class Cell:
    """One comparison. `ratio` is our speed over theirs, the median over pairs; low and high bound 95 % of resamples."""

    name: str
    ours: str
    theirs: str
    unit: str
    our_speed: float
    their_speed: float
    ratio: float
    low: float
    high: float
    goal: float | None
    pairs: int

    @property
    def met(self) -> bool | None:
        """Whether even the lower end of the interval is above the goal."""
        return None if self.goal is None else self.low >= self.goal


def alone() -> None:
    """One core, one thread, and the kernels that BLAS picks itself."""
    own_kernels()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def own_kernels() -> None:
    """Run the process again, if need be, so that BLAS picks its own kernel and one thread.

    A new process, since BLAS reads these variables once, when NumPy loads it.
    """
    wanted = {k: v for k, v in os.environ.items() if k not in FORCED} | dict.fromkeys(ONE_THREAD, "1")
    if wanted != dict(os.environ):
        sys.stdout.flush()
        os.execve(sys.executable, sys.orig_argv, wanted)


def compare(
    ours: Run,
    theirs: Run,
    *,
    name: str,
    labels: tuple[str, str],
    amount: tuple[float, float],
    unit: str = "rows/s",
    goal: float | None = None,
    pairs: int = PAIRS,
) -> Cell:
    """Time both `pairs` times in turn, who goes first alternating, after one unrecorded pair.

    `amount` is what one call of each gets done (rows, say), so that a quick side may do more of it in a call.
    """
    for run in (ours, theirs):
        run()
    speeds: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for side in (0, 1) if pair % 2 == 0 else (1, 0):
            speeds[side].append(amount[side] / seconds((ours, theirs)[side]))
    ratios = [a / b for a, b in zip(*speeds, strict=True)]
    low, high = interval(ratios)
    return Cell(name, *labels, unit, median(speeds[0]), median(speeds[1]), median(ratios), low, high, goal, pairs)


def seconds(run: Run) -> float:
    """Wall-clock seconds of one call, without the garbage of the call before."""
    gc.collect()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def interval(values: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median, by percentiles of resamples under a fixed seed."""
    chance = random.Random(0)
    medians = sorted(median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]


def as_json(cell: Cell) -> dict[str, Any]:
    return {**vars(cell), "met": cell.met}


def in_fresh_processes(measure: Callable[..., Cell], arguments: list[tuple[Any, ...]]) -> list[Cell]:
    """A process of its own for each cell: what one leaves behind in the memory allocator makes the next quicker."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        return [processes.submit(measure, *given).result() for given in arguments]


def report(cells: list[Cell]) -> None:
    """One JSON object a line, the machine's first, then a table for people."""
    print(json.dumps({"machine": machine()}))
    for cell in cells:
        print(json.dumps(as_json(cell)))
    print("\n" + table([as_json(cell) for cell in cells]))


def table(cells: list[dict[str, Any]]) -> str:
    """A Markdown table of cells, as `as_json` gives them."""
    lines = ["| | ours | theirs | ratio (95 %) | goal | |", "|---|---|---|---|---|---|"]
    for cell in cells:
        goal = "" if cell["goal"] is None else f">= {cell['goal']:g}"
        met = {True: "met", False: "**missed**", None: ""}[cell["met"]]
        speeds = " | ".join(
            f"{cell[side]}: {shown(cell[f'{who}_speed'])}" for side, who in (("ours", "our"), ("theirs", "their"))
        )
        ratio = f"{cell['ratio']:.3g} ({cell['low']:.3g} - {cell['high']:.3g})"
        lines.append(f"| {cell['name']} | {speeds} {cell['unit']} | {ratio} | {goal} | {met} |")
    return "\n".join(lines)


def shown(speed: float) -> str:
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}"
