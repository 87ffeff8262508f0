"""Show a finished run on the terminal: the scores of each set beside those of simple baselines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mbgd.cli.streams import tell
from mbgd.desk.result import Run
from mbgd.desk.shown import ROLES, SHOWN, shown_coverage, shown_names, shown_score
from mbgd.measure.calibrate import Calibration
from mbgd.measure.threshold import Threshold
from mbgd.store import finite


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout; a number that is not finite becomes null."""
    print(json.dumps(finite(value), allow_nan=False))


def print_run(run: Run) -> None:
    """The scores with their roles, the baselines on the same rows, and where the model is."""
    names, targets = shown_names(run.predictor), run.plan.targets if len(run.plan.targets) > 1 else ()
    mean = ", mean over targets" if targets else ""
    several = f" in {len(run.models)} models" if run.models else ""
    tell(
        f"{run.ending}: {run.steps_done:,} steps of {run.resolved['batch_size']} rows{several}, {run.seconds:.1f} s, "
        f"{run.engine}"
    )
    for rows, scores in run.scores.items():
        _tell_scores(rows, scores, names, mean=mean)
    if run.calibration is not None:
        tell(f"  {'calibrated':<11} {_calibrated(run.calibration)}   (on the validation rows)")
    if run.threshold is not None:
        tell(f"  {'threshold':<11} {_threshold(run, run.threshold)}")
    for pair in run.coverage:
        tell(f"  {f'{pair.low:g}-{pair.high:g}':<11} {shown_coverage(pair, run.widening, models=len(run.models))}")
    for name in targets:
        for rows in [rows for rows in ("test", "out_of_fold", "validation") if rows in run.scores][:1]:
            of_one = {score: run.scores[rows][f"{score}_{name}"] for score in names}
            tell(f"  {name:<11} {_scores(of_one, names)}   (of the {rows.replace('_', ' ')} rows)")
    for name, scores in run.baselines.items():
        _tell_baseline(name, scores, names)
    if run.folder is not None:
        tell(f"saved {run.folder / 'model.safetensors'}")


def print_ended(result: Mapping[str, Any]) -> None:
    """The scores of a run that ended before, by its result alone."""
    said = (result.get("why", ""), f"{result['steps']:,} steps" if "steps" in result else "")
    tell(": ".join(filter(None, said)) or "no more is known of it")
    names = tuple(name for group in SHOWN.values() for name in group)
    scored = result.get("scores", {})
    for rows in (name for name in dict.fromkeys((*ROLES, *scored)) if name in scored):
        _tell_scores(rows, scored[rows], names)
    for name, scores in result.get("baselines", {}).items():
        _tell_baseline(name, scores, names)


def _tell_scores(rows: str, scores: Mapping[str, Any], names: tuple[str, ...], *, mean: str = "") -> None:
    role = f"{ROLES.get(rows, '')}{mean}"
    tell(f"  {rows.replace('_', ' '):<11} {_scores(scores, names)}" + (f"   ({role})" if role else ""))


def _tell_baseline(name: str, scores: Mapping[str, Any], names: tuple[str, ...]) -> None:
    tell(f"  {name:<11} {_scores(scores, names)}   (baseline on the same rows)")


def _calibrated(found: Calibration) -> str:
    before, after = shown_score(found.log_loss_before), shown_score(found.log_loss_after).strip()
    return f"log_loss {before} -> {after}  by temperature {found.temperature:.3f}"


def _threshold(run: Run, found: Threshold) -> str:
    before, after = shown_score(found.before), shown_score(found.after).strip()
    test = run.scores.get("test", {}).get(found.metric)
    held = "" if test is None else f", {shown_score(test).strip()} on test"
    label, by = run.predictor.classes[found.positive], "out of fold" if "out_of_fold" in run.scores else "on validation"
    return (
        f"{found.metric} {before} -> {after} {by} (used to choose){held}  "
        f"by {label!r} from probability {found.probability:.4f} on"
    )


def _scores(scores: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """Of a score that is none, which JSON has as null, nothing."""
    return "  ".join(f"{name} {shown_score(scores[name])}" for name in names if scores.get(name) is not None)
