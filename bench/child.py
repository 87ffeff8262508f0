"""One peer in a process of its own: a task on the command line, "go" a line on stdin, seconds and loss a line on stdout."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

TASK = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
if TASK.get("core") is not None and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {TASK["core"]})  # before any library counts the cores and starts its threads

import numpy as np  # noqa: E402

from amount import amount  # noqa: E402
from peer import Job, Peer  # noqa: E402
from problems import PROBLEMS, ROWS_SCORED, loss_of  # noqa: E402


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the terminal
    job = job_of(TASK)
    peer: Peer = import_module(f"peer.{TASK['peer']}").make(job)
    wanted = TASK["seconds"][TASK["peer"]]
    rows, epochs = amount(peer.train, n=len(job.y), m=job.batch_size, threads=job.threads, wanted=wanted)
    peer.train(rows, epochs)
    say(answers, ready=True, rows=rows, epochs=epochs, **peer.facts(), blas=blas())
    for line in sys.stdin:
        assert line.strip() == "go", f"a line must say go, got {line!r}"
        gc.collect()
        start = time.perf_counter()
        done = peer.train(rows, epochs)
        seconds = time.perf_counter() - start
        say(answers, seconds=seconds, rows_done=done, loss=loss(job, peer, rows))


def job_of(task: dict[str, Any]) -> Job:
    folder = Path(task["folder"])
    inputs = [np.load(folder / f"x{number}.npy") for number in range(task["inputs"])]
    return Job(PROBLEMS[task["problem"]], task["batch_size"], task["threads"], inputs, np.load(folder / "y.npy"))


def loss(job: Job, peer: Peer, rows: int) -> float | None:
    """Of rows that it trains on."""
    few = min(rows, ROWS_SCORED)
    outputs = peer.outputs([part[:few] for part in job.inputs])
    return None if outputs is None else loss_of(job.problem, outputs, job.y[:few])


def blas() -> list[str]:
    """Every BLAS loaded, with its kernels and threads."""
    from threadpoolctl import threadpool_info

    pools = (pool for pool in threadpool_info() if pool["user_api"] == "blas")
    return sorted({f"{p['internal_api']} {p.get('architecture', '')} x{p['num_threads']}" for p in pools})


def say(answers: Any, **facts: Any) -> None:
    print(json.dumps(facts), file=answers, flush=True)


if __name__ == "__main__":
    main()
