"""A finished run in, what the terminal shows of it out: scores in their sets, beside the dumb baselines."""

from __future__ import annotations

import json
import sys
from typing import Any

from mbgd.desk.result import Run
from mbgd.desk.several import ModelTrained
from mbgd.measure.calibrate import Calibration
from mbgd.store import finite

SHOWN = {"regression": ("r2", "rmse", "mae"), "classification": ("accuracy", "log_loss", "roc_auc")}
ROLES = {
    "validation": "used to stop",
    "out_of_fold": "each row by the model not trained on it; used to stop",
    "test": "never used",
}


def say(line: str) -> None:
    """A line for whoever reads along; stdout is for results."""
    print(line, file=sys.stderr, flush=True)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout; a number that is not finite becomes null."""
    print(json.dumps(finite(value), allow_nan=False))


def print_run(run: Run) -> None:
    """The scores with their roles, the baselines on the same rows, and where the model is."""
    names = SHOWN[run.resolved["task"]]
    several = f" in {len(run.models)} models" if run.models else ""
    print(
        f"{run.ending}: {run.steps_done:,} steps of {run.resolved['batch_size']} rows{several}, {run.seconds:.1f} s, "
        f"{run.engine}"
    )
    for rows, scores in run.scores.items():
        print(f"  {rows.replace('_', ' '):<11} {_scores(scores, names)}   ({ROLES.get(rows, '')})")
    if run.calibration is not None:
        print(f"  {'calibrated':<11} {_calibrated(run.calibration)}   (on the validation rows)")
    for name, scores in run.baselines.items():
        print(f"  {name:<11} {_scores(scores, names)}   (baseline on the same rows)")
    if run.folder is not None:
        print(f"saved {run.folder / 'model.safetensors'}")


def trained(done: ModelTrained) -> str:
    """One of several models, once it is trained, in a line."""
    names = [name for group in SHOWN.values() for name in group if done.scores.get(name) is not None]
    said = "  ".join(f"{name} {_shown(done.scores[name]).strip()}" for name in names)
    return f"model {done.number} of {done.of}: " + (f"validation {said}" if said else "trained")


def _calibrated(found: Calibration) -> str:
    before, after = _shown(found.log_loss_before), _shown(found.log_loss_after).strip()
    return f"log_loss {before} -> {after}  by temperature {found.temperature:.3f}"


def _scores(scores: dict[str, float], names: tuple[str, ...]) -> str:
    return "  ".join(f"{name} {_shown(scores[name])}" for name in names if name in scores)


def _shown(value: float) -> str:
    return f"{value:>8.4f}" if abs(value) < 1000 else f"{value:>8.4g}"
