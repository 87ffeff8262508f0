"""Microseconds of one prediction for one row, and the seconds until a fresh process has made its first; peers beside it.

The peer is a scikit-learn pipeline (scaler, one-hot, a multilayer perceptron of the same sizes) that predicts a table of one
row. Whether a process that only serves has imported torch is printed as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

import mbgd
from machine import machine
from timing import alone

ROUNDS, AT_ONCE, GOAL_MICROSECONDS = 40, 10, 200.0
SIZES, TARGET = (256, 256), "arr_delay"
FLIGHTS = Path(__file__).parent.parent / "examples" / "flights.parquet"
SERVE = """
import json, sys, time
start = time.perf_counter()
import mbgd
model = mbgd.load_light(sys.argv[1])
model.predict_one(json.loads(sys.argv[2]))
print(json.dumps({"seconds": time.perf_counter() - start, "torch": "torch" in sys.modules}))
"""


def main() -> None:
    rounds = arguments()
    alone()
    data = pd.read_parquet(FLIGHTS).dropna(subset=[TARGET]).head(20_000)
    data["time_hour"] = data["time_hour"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")  # as JSON has it
    run = mbgd.fit_table(data, TARGET, epochs=1, hidden_layer_sizes=SIZES)
    row = {name: value.item() if hasattr(value, "item") else value for name, value in data.iloc[0].items()}
    del row[TARGET]
    with tempfile.TemporaryDirectory() as folder:
        path = run.save(Path(folder) / "model.safetensors")
        light = mbgd.load_light(path)
        served = fresh(path, row)
    pipeline, frame = by_sklearn(data), pd.DataFrame([row])
    sides: dict[str, Callable[[], object]] = {
        "predict_one": lambda: light.predict_one(row),
        "predict of a table of one row": lambda: run.predict({name: [value] for name, value in row.items()}),
        "scikit-learn pipeline, one row": lambda: pipeline.predict(frame),
    }
    found = microseconds(sides, rounds)
    print(json.dumps({"machine": machine()}))
    print(json.dumps({"name": "predict_one", "microseconds": found, "rounds": rounds, "columns": len(row), **served}))
    print(
        f"\n| {len(row)} columns, network {'-'.join(map(str, SIZES))} | microseconds, median of {rounds * AT_ONCE:,} |\n|---|---|"
    )
    for name, value in found.items():
        print(f"| {name} | {value:,.0f} |")
    met = "met" if found["predict_one"] < GOAL_MICROSECONDS else "**missed**"
    print(f"\nGoal: under {GOAL_MICROSECONDS:.0f} microseconds, {met}.")
    imported = "imported" if served["torch"] else "not imported"
    print(f"A fresh process: {served['seconds']:.2f} s to the first prediction, torch {imported}.")


def arguments() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, metavar="N", help="of all sides in turn (default: %(default)s)"
    )
    rounds: int = parser.parse_args().rounds
    return rounds


def microseconds(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median of each side, in turn, several predictions one behind the other, as a server makes them: the first of them
    finds the caches full of what ran before, and is given by itself."""
    took: dict[str, list[float]] = {name: [] for name in sides}
    for call in sides.values():
        call()
    for _ in range(rounds):
        for name, call in sides.items():
            for _ in range(AT_ONCE):
                start = time.perf_counter()
                call()
                took[name].append((time.perf_counter() - start) * 1e6)
    first = {f"{name}, the first of {AT_ONCE}": each[::AT_ONCE] for name, each in took.items()}
    return {name: round(median(each), 1) for name, each in (took | first).items()}


def fresh(path: Path, row: dict[str, Any]) -> dict[str, Any]:
    """What a process of its own says after its first prediction."""
    code = [sys.executable, "-c", SERVE, str(path), json.dumps(row)]
    done = subprocess.run(code, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def by_sklearn(data: pd.DataFrame) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    X = data.drop(columns=TARGET)
    numbers = list(X.select_dtypes("number"))
    words = [name for name in X if name not in (*numbers, "time_hour")]
    encoder = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False, min_frequency=20), words),
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one pass is not enough to converge, and need not be
        return make_pipeline(encoder, MLPRegressor(hidden_layer_sizes=SIZES, max_iter=1)).fit(X, data[TARGET])


if __name__ == "__main__":
    main()
