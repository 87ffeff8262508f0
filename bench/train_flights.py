"""The flights job from the command to saved model and scores: `mbgd train` beside a scikit-learn pipeline, R2 and seconds.

    python bench/train_flights.py [PAIRS]

Each run is a whole process on one core with one thread, imports and all: each reads the same file, holds out a fifth of its
rows and saves a model: `mbgd train` with no option, the same with `--preset fast`, and the pipeline, which alternate. Each
round has a seed of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median

from timing import Cell, alone, interval, report

FOLDER = Path(__file__).parent
FILE = FOLDER.parent / "examples" / "flights.parquet"
PAIRS, GOAL_RATIO, GOAL_R2 = 3, 2.0, 0.89
COMMAND = "import sys; from mbgd.cli import main; sys.exit(main())"  # what the script `mbgd` does
Outcome = tuple[float, float]  # seconds, R2 on the test rows


def by_mbgd(folder: Path, seed: int, *more: str) -> Outcome:
    """With no option but the target, the seed, and where the run goes."""
    out = folder / "run"
    options = ["train", str(FILE), "--target", "arr_delay", "--out", str(out), "--seed", str(seed), "--json", *more]
    outcome = timed([sys.executable, "-c", COMMAND, *options])
    assert list(out.glob("*.safetensors")), "a model must be saved"
    return outcome


def by_mbgd_fast(folder: Path, seed: int) -> Outcome:
    return by_mbgd(folder, seed, "--preset", "fast")


def by_sklearn(folder: Path, seed: int) -> Outcome:
    saved = folder / "pipeline.joblib"
    outcome = timed([sys.executable, str(FOLDER / "flights_by_sklearn.py"), str(FILE), str(saved), str(seed)])
    assert saved.exists(), "a pipeline must be saved"
    return outcome


SIDES = {"mbgd train": by_mbgd, "mbgd train --preset fast": by_mbgd_fast, "scikit-learn": by_sklearn}


def timed(command: list[str]) -> Outcome:
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return seconds, json.loads(done.stdout)["scores"]["test"]["r2"]


def main() -> None:
    alone()
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    runs: dict[str, list[Outcome]] = {side: [] for side in SIDES}
    for seed in range(pairs):
        for side in list(SIDES)[:: 1 if seed % 2 else -1]:
            with tempfile.TemporaryDirectory() as folder:
                runs[side].append(SIDES[side](Path(folder), seed))
    cells = [_cell(name, runs[name], runs["scikit-learn"]) for name in list(SIDES)[:2]]
    r2 = {side: mean(score for _, score in found) for side, found in runs.items()}
    for name in list(SIDES)[:2]:
        print(json.dumps({"name": f"flights, {name}: R2", "goal": GOAL_R2, "r2": r2[name], "met": r2[name] >= GOAL_R2}))
    print(json.dumps({"name": "flights: runs", "runs": runs}))
    report(cells)
    print(f"\nR2, mean of {pairs} seeds, ours to be at least {GOAL_R2}, and median seconds:")
    for side, found in runs.items():
        print(f"- {side}: {r2[side]:.4f}, {median(seconds for seconds, _ in found):.1f} s")


def _cell(name: str, ours: list[Outcome], theirs: list[Outcome]) -> Cell:
    ratios = [b / a for (a, _), (b, _) in zip(ours, theirs, strict=True)]
    low, high = interval(ratios)
    return Cell(
        name="flights: from the command to saved model and scores",
        ours=name,
        theirs="scikit-learn pipeline, MLPRegressor",
        unit="runs an hour",
        our_speed=3600 / median(seconds for seconds, _ in ours),
        their_speed=3600 / median(seconds for seconds, _ in theirs),
        ratio=median(ratios),
        low=low,
        high=high,
        goal=GOAL_RATIO,
        pairs=len(ratios),
    )


if __name__ == "__main__":
    main()
