"""One fit in a process of its own: a task as JSON on the command line, its error and seconds as a line of JSON out.

python bench/accuracy/fit_one.py '{"table": "SLID", "peer": "mbgd", "split": 0, "threads": 2, "side": "ours", "options": {}}'
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from typing import Any

START = time.perf_counter()
TASK = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
if TASK and hasattr(os, "sched_setaffinity"):  # before any library counts the cores and starts its threads
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-TASK["threads"] :])

import scores  # noqa: E402
import splits  # noqa: E402
from sides import Job, targets  # noqa: E402
from tables import ALL, classes_of, load  # noqa: E402


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    print(json.dumps(outcome(TASK)), file=answers, flush=True)


def outcome(task: dict[str, Any]) -> dict[str, Any]:
    """`seconds`: of the fit, from the rows in memory to a model, libraries loaded; `seconds_predicting` the test rows;
    `seconds_process`: from the start of the process, its imports, reading and predicting included."""
    spec = ALL[task["table"]]
    frame = load(spec)
    classes = classes_of(frame, spec)
    if spec.by_time:
        training, test = splits.latest(frame[spec.by_time].astype("int64").to_numpy())
    else:
        training, test = splits.at_random(len(frame), task["split"])
    job = Job(
        train=frame.iloc[training].reset_index(drop=True),
        target=spec.target,
        classes=classes,
        by_time=spec.by_time,
        seed=task["split"],
        threads=task["threads"],
        options=task["options"],
    )
    held = frame.iloc[test].reset_index(drop=True)
    fit = import_module(f"sides.{task['side']}").fit
    start = time.perf_counter()
    predict = fit(job)
    fitted = time.perf_counter()
    predicted = predict(held.drop(columns=spec.target))
    done = time.perf_counter()
    score = scores.of_classes if classes else scores.of_numbers
    return {
        **score(predicted, targets(held[spec.target], classes)),
        "metric": "log loss" if classes else "RMSE",
        "seconds": round(fitted - start, 4),
        "seconds_predicting": round(done - fitted, 4),
        "seconds_process": round(done - START, 4),
        "rows": len(training),
        "columns": frame.shape[1] - 1,
        "test_rows": len(test),
        "test": splits.fingerprint(test),
    }


if __name__ == "__main__":
    main()
