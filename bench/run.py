"""Every benchmark, one after the other, as Markdown: the machine first, then a table each.

python bench/run.py [--json FILE] [NAME ...]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from machine import machine
from timing import alone

FOLDER = Path(__file__).parent
BENCHMARKS = ["batches", "fit_against_slices", "import_time"]


def main() -> None:
    alone()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there, one JSON object a line")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"NAME must be one of {', '.join(BENCHMARKS)}, got {', '.join(sorted(unknown))}")
    facts = machine()
    print("\n".join(f"- {name}: {value}" for name, value in facts.items()))
    lines = [json.dumps({"machine": facts})]
    failed = []
    for name in given.names or BENCHMARKS:
        done = subprocess.run(
            [sys.executable, str(FOLDER / f"{name}.py")], stdout=subprocess.PIPE, text=True, check=False
        )
        objects = [line for line in done.stdout.splitlines() if line.startswith("{")]
        text = "\n".join(line for line in done.stdout.splitlines() if not line.startswith("{")).strip()
        print(f"\n## {name}\n\n{text or 'failed'}", flush=True)
        lines += objects
        failed += [name] if done.returncode else [json.loads(line)["name"] for line in objects if missed(line)]
    if given.json:
        given.json.write_text("\n".join(lines) + "\n")
    if failed:
        sys.exit(f"failed, or goal missed: {', '.join(failed)}")


def missed(line: str) -> bool:
    return json.loads(line)["met"] is False


if __name__ == "__main__":
    main()
