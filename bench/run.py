"""Every benchmark, one after the other, as Markdown: the machine first, then a table each.

python bench/run.py [--json FILE] [NAME ...]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import machine
from timing import alone

FOLDER = Path(__file__).parent
BENCHMARKS = ["batches", "fit_against_slices", "import_time", "read_flights"]


def main() -> None:
    alone()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there, one JSON object a line")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"NAME must be one of {', '.join(BENCHMARKS)}, got {', '.join(sorted(unknown))}")
    print("\n".join(f"- {name}: {value}" for name, value in machine().items()), flush=True)
    numbers, failed = [], []
    for name in given.names or BENCHMARKS:
        objects, text, good = run(name)
        print(f"\n## {name}\n\n{text}", flush=True)
        numbers += objects
        failed += [fact["name"] for fact in objects if fact.get("met") is False] + ([] if good else [name])
    if given.json:
        given.json.write_text("".join(json.dumps(fact) + "\n" for fact in numbers))
    if failed:
        sys.exit(f"\nfailed, or goal missed: {'; '.join(failed)}")


def run(name: str) -> tuple[list[dict[str, Any]], str, bool]:
    """What one benchmark measured, what it has to say, and whether it came through. Its errors go to the terminal."""
    command = [sys.executable, str(FOLDER / f"{name}.py")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines()
    objects = [json.loads(line) for line in lines if line.startswith("{")]
    text = "\n".join(line for line in lines if not line.startswith("{")).strip()
    shown = text or "\n".join(f"    {json.dumps(fact)}" for fact in objects) or "nothing was measured"
    return objects, shown, done.returncode == 0


if __name__ == "__main__":
    main()
