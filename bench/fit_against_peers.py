"""Rows a second of `mbgd.fit` against those who train the same networks: JAX, scikit-learn, torch loops, the products alone.

python bench/fit_against_peers.py [--rounds N] [--seconds S] [--problem NAME] [--batch-size M] [--all]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from machine import machine
from peer_tables import table
from problems import PROBLEMS, arrays
from race import Lane, race
from suite import FIELDS, GOALS, NAMES, SECONDS, SHARE, Field
from timing import PAIRS, interval, own_kernels


def main() -> None:
    own_kernels()
    given = arguments()
    print(json.dumps({"machine": machine()}), flush=True)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    races = []
    for threads in sorted({1, len(cores)} if given.all else {1}):
        for field in FIELDS:
            if field.problem in (given.problem or PROBLEMS):
                races += one_field(field, given, threads=threads, cores=cores)
    for fact in [*races, *(goal for result in races for goal in verdicts(result))]:
        print(json.dumps(fact))
    print("\n" + table(races, [goal for result in races for goal in verdicts(result)]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=PAIRS, help="of all peers in turn (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a timed call (default: %(default)s)")
    parser.add_argument("--problem", action="append", choices=PROBLEMS, help="only this; may be repeated")
    parser.add_argument("--batch-size", action="append", type=int, metavar="M", help="only this; may be repeated")
    parser.add_argument("--all", action="store_true", help="more peers, and everything on every core as well")
    return parser.parse_args()


def one_field(field: Field, given: argparse.Namespace, *, threads: int, cores: list[int]) -> list[dict[str, Any]]:
    """Every batch size of a problem, over arrays that lie in files for the time."""
    peers = [*field.peers, *(field.more if given.all else ())]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        inputs, y = arrays(PROBLEMS[field.problem])
        for number, part in enumerate(inputs):
            np.save(Path(folder) / f"x{number}.npy", part)
        np.save(Path(folder) / "y.npy", y)
        for m in field.batch_sizes:
            if m in (given.batch_size or field.batch_sizes):
                print(f"{field.problem}, m = {m}, {threads} threads", file=sys.stderr, flush=True)
                task = {"problem": field.problem, "batch_size": m, "threads": threads, "folder": folder}
                task |= {"inputs": len(inputs), "seconds": {peer: given.seconds * SHARE.get(peer, 1) for peer in peers}}
                level = PROBLEMS[field.problem].loss_below
                lanes, losses = race(peers, task, rounds=given.rounds, cores=cores, loss_below=level)
                results.append(summary(task, lanes, losses=losses))
    return results


def summary(task: dict[str, Any], lanes: dict[str, Lane], *, losses: dict[str, float | None]) -> dict[str, Any]:
    """One race as JSON: each peer's speed, and the ratios to ours round by round."""
    found = {}
    speeds = {peer: [done["rows_done"] / done["seconds"] for done in lane.rounds] for peer, lane in lanes.items()}
    for peer, lane in lanes.items():
        ratios = [a / b for a, b in zip(speeds["fit"], speeds[peer], strict=True)]
        low, high = interval(ratios)
        m = lane.ready.get("batch_size", task["batch_size"])
        found[peer] = {
            **{name: value for name, value in lane.ready.items() if name != "ready"},
            "rows_per_second": median(speeds[peer]),
            "microseconds_per_step": 1e6 * m / median(speeds[peer]),
            "ratio": median(ratios),
            "low": low,
            "high": high,
            "loss": losses[peer],
            "speeds": speeds[peer],
        }
    kept = {name: task[name] for name in ("problem", "batch_size", "threads")}
    return {**kept, "rounds": len(speeds["fit"]), "loss_below": PROBLEMS[task["problem"]].loss_below, "peers": found}


def verdicts(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The goals of one race, met or not; that everybody learnt is one, told where it failed."""
    problem, m, told = result["problem"], result["batch_size"], []
    for peer, found in result["peers"].items():
        name = f"{problem}, m = {m}: `mbgd.fit` over {NAMES[peer]}"
        goal = GOALS.get((problem, m, peer)) if result["threads"] == 1 else None
        if goal is not None:
            numbers = {key: found[key] for key in ("ratio", "low", "high")}
            told.append({"name": name, "goal": goal, **numbers, "met": found["low"] >= goal})
        if found["loss"] is not None and not found["loss"] < result["loss_below"]:
            name = f"{problem}, m = {m}, {result['threads']} threads: {NAMES[peer]} learns"
            told.append({"name": name, "loss": found["loss"], "loss_below": result["loss_below"], "met": False})
    return told


if __name__ == "__main__":
    main()
