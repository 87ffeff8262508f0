"""Every benchmark, one after the other, as Markdown: the machine first, then a section each.

python bench/run.py [--all] [--quick] [--json FILE] [--markdown FILE] [NAME ...]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import machine
from timing import own_kernels

FOLDER = Path(__file__).parent
BENCHMARKS = {  # name -> its options with --quick, and with --all
    "fit_against_peers": (["--rounds", "2", "--seconds", "0.1"], ["--all"]),
    "train_flights": (["1"], []),
    "batches": (["--pairs", "2"], []),
    "fit_against_slices": (["--pairs", "2"], []),
    "estimators": (["--quick"], []),
    "sparse": (["--pairs", "2", "--rows", "20000"], []),
    "import_time": ([], []),
    "start_time": (["--pairs", "2"], []),
    "read_flights": (["1"], []),
}


def main() -> None:
    own_kernels()
    given = arguments()
    start = time.monotonic()
    facts = machine()
    written = ["# Results", "\n".join(f"- {name}: {value}" for name, value in facts.items())]
    print("\n\n".join(written), flush=True)
    numbers, failed = [{"machine": facts}], []
    for name in given.names or BENCHMARKS:
        quick, everything = BENCHMARKS[name]
        objects, text, good = run(name, [*(quick if given.quick else []), *(everything if given.all else [])])
        written.append(f"## {name}\n\n{text}")
        print(f"\n{written[-1]}", flush=True)
        numbers += [{"benchmark": name, **fact} for fact in objects if "machine" not in fact]
        failed += [fact["name"] for fact in objects if fact.get("met") is False] + ([] if good else [name])
    written.append(f"{time.monotonic() - start:,.0f} seconds in all. Missed: {'; '.join(failed) or 'nothing'}.")
    if given.json:
        given.json.write_text("".join(json.dumps(fact) + "\n" for fact in numbers))
    if given.markdown:
        given.markdown.write_text("\n\n".join(written) + "\n")
    if failed:
        sys.exit(f"\nfailed, or goal missed: {'; '.join(failed)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there, one JSON object a line")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write there what is printed")
    parser.add_argument("--quick", action="store_true", help="a few rounds: to see that it runs, not to quote")
    parser.add_argument("--all", action="store_true", help="slower peers and every core as well")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"NAME must be one of {', '.join(BENCHMARKS)}, got {', '.join(sorted(unknown))}")
    return given


def run(name: str, options: list[str]) -> tuple[list[dict[str, Any]], str, bool]:
    """What one benchmark measured, what it has to say, and whether it came through. Its errors go to the terminal."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines()
    objects = [json.loads(line) for line in lines if line.startswith("{")]
    text = "\n".join(line for line in lines if not line.startswith("{")).strip()
    shown = text or "\n".join(f"    {json.dumps(fact)}" for fact in objects) or "nothing was measured"
    return objects, shown, done.returncode == 0


if __name__ == "__main__":
    main()
