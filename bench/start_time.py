"""Seconds that a process which fits a small network takes beyond one that imports torch, in pairs one behind the other.

Kernels are on disk by then: the first fit on a machine, which compiles them, is not timed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median

from machine import machine
from timing import alone, interval

PAIRS = 15
GOAL_SECONDS = 0.5
TORCH = "import torch"
FIT = """
import torch
import mbgd
x = torch.linspace(-1, 1, 256).reshape(64, 4)
net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
run = mbgd.fit(net, (x, x[:, 0]), loss="squared_error", momentum=0.9, epochs=1)
assert run.engine == "fused", run.engine_reason
"""
PARTS = (  # what a fit loads, one after the other in one process: name, the code that loads it
    ("mbgd.fit", "import mbgd; mbgd.fit"),
    ("numba", "import numba"),
    ("scipy's BLAS", "from mbgd.step.fused.scipy_blas import cython_blas; cython_blas()"),
    ("the engine's modules", "import mbgd.step.fused.step"),
    ("kernels and the fit", FIT),
    ("the same fit again", FIT),
)


def main() -> None:
    pairs = arguments()
    alone()
    process(FIT)  # compiles what is not on disk, and brings byte code and pages into memory
    process(TORCH)
    extra, bare = [], []
    for pair in range(pairs):
        sides = {code: process(code) for code in ((TORCH, FIT) if pair % 2 == 0 else (FIT, TORCH))}
        extra.append(sides[FIT] - sides[TORCH])
        bare.append(sides[TORCH])
    low, high = interval(extra)
    met = high <= GOAL_SECONDS
    facts = {"extra_seconds": median(extra), "low": low, "high": high, "torch_seconds": median(bare)}
    each = parts()
    print(json.dumps({"machine": machine()}))
    found = {"name": "fit in a later process", **facts, "goal_seconds": GOAL_SECONDS, "pairs": pairs, "met": met}
    print(json.dumps({**found, "parts": each}))
    print("\n| | `import torch` | more than that (95 %) | goal | |\n|---|---|---|---|---|")
    more = f"{median(extra):.2f} s ({low:.2f} - {high:.2f}) of {pairs}"
    verdict = "met" if met else "**missed**"
    print(f"| a small fit in a later process | {median(bare):.2f} s | {more} | <= {GOAL_SECONDS} s | {verdict} |")
    print("\nOf one such process: " + ", ".join(f"{name} {seconds:.3f} s" for name, seconds in each.items()) + ".")


def arguments() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--pairs", type=int, default=PAIRS, metavar="N", help="pairs of processes (default: %(default)s)"
    )
    pairs: int = parser.parse_args().pairs
    return pairs


def process(code: str) -> float:
    """Seconds of a process of its own, from its start to its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
    return time.perf_counter() - start


def parts() -> dict[str, float]:
    """Seconds of each part, from one process in which each is loaded in turn."""
    code = ["import json, time, torch", "took, last = {}, time.perf_counter()"]
    for name, load in PARTS:
        code += [load, f"took[{name!r}] = time.perf_counter() - last", "last = time.perf_counter()"]
    code.append("print(json.dumps(took))")
    done = subprocess.run([sys.executable, "-c", "\n".join(code)], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
