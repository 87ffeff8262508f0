"""The accuracy benchmark: every peer on every table and split that has no outcome yet, each fit a process of its own.

python bench/accuracy/run.py [--table NAME] [--peer NAME] [--splits N] [--threads N] [--again PEER] [--report FILE.md]
python bench/accuracy/run.py --mbgd-options '{"dropout": 0.1}' --label dropout
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from page import OF_HELD_OUT, OF_TRIED, RESULTS, page
from peers import PEERS, Peer, variant
from results import Key, Result, append, latest, read
from tables import ALL, HELD_OUT, TABLES, TRIED

sys.path.append(str(Path(__file__).parents[1]))  # the machine's facts are told by all benchmarks alike

from machine import machine
from timing import FORCED, ONE_THREAD

FIT_ONE = Path(__file__).with_name("fit_one.py")
SPLITS, LIMIT = 5, 4 * 3600
Wanted = tuple[str, str, Peer, int]  # table, peer's name, peer, split


def main() -> None:
    given = arguments()
    peers = chosen(given)
    if unknown := set(given.again) - set(peers):
        sys.exit(f"--again must name one of {', '.join(PEERS)}, or the variant whose options are given, got {unknown}")
    if not given.report_only:
        done = latest(read(given.results)[0])
        todo = [w for w in wanted(given, peers) if w[1] in given.again or key(w, given.threads) not in done]
        run_all(todo, given)
    results, machines = read(given.results)
    text = page(results, machines, threads=given.threads)
    if given.report:
        given.report.write_text(text, encoding="utf-8")
    else:
        print(text)


def run_all(todo: list[Wanted], given: argparse.Namespace) -> None:
    """Each outcome is on the disk before the next fit begins, so that this may be interrupted and started again."""
    if todo:
        append(given.results, {"machine": machine()})
    for number, one in enumerate(todo, start=1):
        table, name, _, split = one
        outcome = fit(one, threads=given.threads, limit=given.limit)
        append(given.results, outcome)
        said = outcome.failed or f"{outcome.facts['metric']} {outcome.error:.5g} in {outcome.seconds:.1f} s"
        print(f"{number} of {len(todo)}: {table}, {name}, split {split}: {said}", file=sys.stderr, flush=True)


def wanted(given: argparse.Namespace, peers: Mapping[str, Peer]) -> Iterator[Wanted]:
    """Split by split, so that what is there early covers all tables."""
    for split in range(given.splits):
        for table in given.table or (HELD_OUT if given.held_out else TRIED if given.tried else TABLES):
            for name, peer in peers.items():
                if table in peer.tables:
                    yield table, name, peer, split


def chosen(given: argparse.Namespace) -> dict[str, Peer]:
    """Whoever is named, for a first time or --again, and a variant of MBGD where its options are given; else all."""
    named = {name: PEERS[name] for name in PEERS if name in {*given.peer, *given.again}}
    if given.mbgd_options is None:
        return named or dict(PEERS)
    return {**named, **variant(given.label, given.mbgd_options)}


def key(one: Wanted, threads: int) -> Key:
    table, name, _, split = one
    return table, name, split, threads


def fit(one: Wanted, *, threads: int, limit: float) -> Result:
    table, name, peer, split = one
    task = {"table": table, "split": split, "threads": threads, "side": peer.side, "options": dict(peer.options)}
    noted = {"options": dict(peer.options), "load": round(os.getloadavg()[0], 2)}
    try:
        with tempfile.TemporaryDirectory() as folder:  # where libraries leave their logs
            done = subprocess.run(
                [sys.executable, str(FIT_ONE), json.dumps(task)],
                capture_output=True,
                text=True,
                check=False,
                timeout=limit,
                cwd=folder,
                env=environment(threads),
            )
    except subprocess.TimeoutExpired:
        return Result(table, name, split, threads, failed=f"not done after {limit:,.0f} seconds", facts=noted)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        return Result(table, name, split, threads, failed=last, facts=noted)
    facts = {**json.loads(done.stdout), **noted}
    return Result(table, name, split, threads, facts.pop("error"), facts.pop("seconds"), facts=facts)


def environment(threads: int) -> dict[str, str]:
    """So many threads for whoever asks the environment, and the kernels that BLAS picks itself."""
    kept = {name: value for name, value in os.environ.items() if name not in FORCED}
    return kept | dict.fromkeys(ONE_THREAD, str(threads))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--table", action="append", default=[], choices=ALL, metavar="NAME", help="this table (may be repeated)")
    add("--held-out", action="store_true", help=f"the tables that nothing was tuned on; kept in {OF_HELD_OUT.name}")
    add("--tried", action="store_true", help=f"other tables that the default was chosen on; kept in {OF_TRIED.name}")
    add("--peer", action="append", default=[], choices=PEERS, metavar="NAME", help=f"some of {', '.join(PEERS)}")
    add("--splits", type=int, default=SPLITS, metavar="N", help=f"the first N splits (default: {SPLITS})")
    add("--threads", type=int, default=cores(), metavar="N", help="of each fit (default: all cores)")
    add("--again", action="append", default=[], metavar="PEER", help="run PEER alone, even where its outcome is there")
    add("--limit", type=float, default=LIMIT, metavar="SECONDS", help="a fit that takes longer has no outcome")
    add("--mbgd-options", type=json.loads, metavar="JSON", help="keywords of fit_table; run as mbgd:LABEL")
    add("--label", metavar="LABEL", help="what a variant of MBGD is called")
    add("--results", type=Path, metavar="FILE", help=f"lines of JSON (default: {RESULTS.name} here)")
    add("--report", type=Path, metavar="FILE.md", help="write the page there instead of printing it")
    add("--report-only", action="store_true", help="no fits: the page of what is there")
    given = parser.parse_args()
    if (given.mbgd_options is None) != (given.label is None):
        parser.error("--mbgd-options and --label belong together: options without a name could not be told apart")
    given.results = given.results or (OF_HELD_OUT if given.held_out else OF_TRIED if given.tried else RESULTS)
    return given


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    main()
