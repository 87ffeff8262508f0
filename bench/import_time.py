"""Seconds until `mbgd --help` has printed, and whether torch stayed out of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from statistics import median

from timing import alone

RUNS = 10
GOAL_SECONDS = 0.5
COMMAND = (
    "import sys; from mbgd.cli import main; sys.argv = ['mbgd', '--help']; sys.exit(main())"  # what the script does
)


def main() -> None:
    alone()
    run_help()  # once unrecorded, so that byte code and pages are there
    seconds = [time_help() for _ in range(RUNS)]
    loaded = modules_loaded()
    met = median(seconds) < GOAL_SECONDS and "torch" not in loaded
    facts = {"best_seconds": min(seconds), "median_seconds": median(seconds), "goal_seconds": GOAL_SECONDS}
    print(json.dumps({"name": "mbgd --help", **facts, "runs": RUNS, "imports_torch": "torch" in loaded, "met": met}))
    print("\n| | best | median | goal | imports torch | |\n|---|---|---|---|---|---|")
    torch_is, verdict = "yes" if "torch" in loaded else "no", "met" if met else "**missed**"
    speeds = f"{min(seconds):.2f} s | {median(seconds):.2f} s of {RUNS} | < {GOAL_SECONDS} s"
    print(f"| mbgd --help | {speeds} | {torch_is} | {verdict} |")


def time_help() -> float:
    start = time.perf_counter()
    run_help()
    return time.perf_counter() - start


def run_help(*options: str) -> str:
    """What one `mbgd --help` in a process of its own writes on stderr."""
    done = subprocess.run([sys.executable, *options, "-c", COMMAND], capture_output=True, text=True, check=True)
    assert "train" in done.stdout, f"help must name the commands, got: {done.stdout[:200]}"
    return done.stderr


def modules_loaded() -> set[str]:
    """Every module that Python imports on the way, from its own account."""
    lines = run_help("-X", "importtime").splitlines()
    return {line.rsplit("|", 1)[1].strip() for line in lines if line.startswith("import time:")}


if __name__ == "__main__":
    main()
