"""Write a run's README.md: what the model predicts, from what, how well, and how to use and repeat it; facts alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mbgd.desk.ensemble import Ensemble, Predicting
from mbgd.desk.folder import read_plan
from mbgd.desk.markdown import escaped, listed, table
from mbgd.desk.plan import Plan
from mbgd.desk.result import Run
from mbgd.desk.run_files import CARD, INIT, MANIFEST
from mbgd.desk.shown import ROLES, shown_coverage
from mbgd.store import finite, read_sealed, write_bytes

SCORES = ("r2", "rmse", "mae", "accuracy", "log_loss", "roc_auc")
SCORES_ASKED_FOR = ("f1", "balanced_accuracy", "pinball", "coverage", "mean_width")
ALWAYS = ("loss", "optimizer", "learning_rate", "batch_size", "epochs", "schedule", "seed", "threads")
ELSEWHERE = ("target", "task", "split", "test", "validation", "hidden_layer_sizes")  # said by other lines
MOST_NAMES = 8


def write_card(run: Run) -> None:
    """Put README.md into the run's folder. No number in it but those of plan.json and result.json, no time: a run that was
    resumed has the same. Raises StorageError."""
    assert run.folder is not None
    text = "\n".join(_lines(run, read_plan(run.folder), finite(run.summary()))) + "\n"
    write_bytes(run.folder / CARD, text.encode(errors="backslashreplace"))


def _lines(run: Run, saved: Mapping[str, Any], result: Any) -> Iterator[str]:
    assert run.folder is not None
    of_table = run.predictor.encoder is not None
    plan, resolved = saved["plan"], saved["resolved"]
    yield from _head(run.predictor, plan, resolved, saved["versions"])
    yield from ("", "## Scores", "", *_scores(result, plan["target"]), *_behind(run, result))
    if of_table:
        yield from ("", "## Inputs", "", *_inputs(run.predictor))
    yield from ("", "## Data", "", *_data(run.folder, plan, resolved, of_table=of_table))
    if result["notices"]:
        yield from ("", "Noted:", "", *(f"- {escaped(notice)}" for notice in result["notices"]))
    yield from ("", "## Training", "", *_training(plan, result))
    yield from ("", "## Use", "", *_use(run.predictor), "", "## Limits", "", *_limits(run.predictor, plan, result))
    yield from ("", "## Repeat", "", *_repeat(run.folder, saved, of_table=of_table))


def _head(predictor: Predicting, plan: Mapping[str, Any], resolved: Mapping[str, Any], versions: Any) -> Iterator[str]:
    size = f"{resolved['parameters']:,} parameters"
    made = f"trained by MBGD {versions['mbgd']}, mini-batch gradient descent, with PyTorch {versions['torch']}."
    if predictor.target is None:
        name = escaped(f"{type(predictor.model).__module__}.{type(predictor.model).__qualname__}")
        yield from (f"# A module, {name}", "", f"A module of {size}, {made}")
        return
    target = predictor.target
    sizes = ", ".join(map(str, plan["hidden_layer_sizes"]))
    body = f"a network with hidden layers of {sizes} units" if sizes else "a linear model"
    if isinstance(predictor, Ensemble):
        body = f"the mean of {len(predictor.predictors)} models, each {body}"
    what = f"one of the classes {listed(target.classes, most=MOST_NAMES)}" if target.classes else "a number"
    what = what if len(target.names) == 1 else f"{len(target.names)} numbers"
    if plan["quantiles"]:
        what = f"a number, by its quantiles {listed(plan['quantiles'], most=MOST_NAMES)}"
    yield from (f"# A model of {escaped(target.name)}", "")
    yield f"Predicts {escaped(target.name)}, {what}, by {body}: {size}, {made}"


def _scores(result: Mapping[str, Any], target: Any) -> Iterator[str]:
    """The sets, each of several targets and the dumb baselines, a line each, as the command shows them."""
    targets = target if isinstance(target, list) else []
    mean = ", mean over targets" if targets else ""
    rows = [(name, scores, f"{ROLES.get(name, '')}{mean}") for name, scores in result["scores"].items()]
    names = _names([*result["scores"].values(), *result["baselines"].values()])
    for held in [held for held in ("test", "out_of_fold", "validation") if held in result["scores"]][:1]:
        of_all = result["scores"][held]
        for name in targets:
            own = {score: of_all.get(f"{score}_{name}") for score in names}
            rows.append((escaped(name), own, f"of the {held.replace('_', ' ')} rows"))
    rows += [(name, scores, f"baseline on the same rows{mean}") for name, scores in result["baselines"].items()]
    if not rows:
        yield "None: no rows were held out."
        return
    cells = ([name, *(_number(scores.get(of)) for of in names), role] for name, scores, role in rows)
    yield from table(["rows or model", *names, ""], cells)


def _names(each: list[Mapping[str, Any]]) -> list[str]:
    """Of the scores that are shown those that are there."""
    return [name for name in (*SCORES, *SCORES_ASKED_FOR) if any(name in scores for scores in each)] or ["loss"]


def _behind(run: Run, result: Mapping[str, Any]) -> Iterator[str]:
    """What intervals hold, and what was done to probabilities."""
    for pair in run.coverage:
        yield from ("", f"{pair.low:g} to {pair.high:g} {shown_coverage(pair, run.widening, models=len(run.models))}.")
    if (found := result["calibration"]) is not None:
        before, after = _number(found["log_loss_before"]), _number(found["log_loss_after"])
        by = f"temperature {_number(found['temperature'])}: log_loss {before} became {after}"
        yield from ("", f"Probabilities are calibrated on the validation rows by {by}.")
    own = [one["calibration"]["temperature"] for one in result.get("models", ()) if one["calibration"] is not None]
    if own:
        ends = f"from {_number(min(own))} to {_number(max(own))}"
        yield from (
            "",
            f"Probabilities of each model are calibrated on its validation rows by its own temperature, {ends}.",
        )


def _inputs(predictor: Predicting) -> Iterator[str]:
    facts = () if predictor.encoder is None else predictor.encoder.facts  # of several models the first one's
    inputs = predictor.columns
    kinds = {fact.name: fact.kind for fact in facts} | inputs
    used = ([escaped(fact.name), escaped(fact.type), kinds[fact.name]] for fact in facts if fact.name in inputs)
    yield from table(["column", "type", "read as"], used)
    if unused := [name for name in kinds if name not in inputs]:
        yield from ("", f"Left out: {listed(unused, most=MOST_NAMES)}.")


def _data(folder: Path, plan: Mapping[str, Any], resolved: Mapping[str, Any], *, of_table: bool) -> Iterator[str]:
    if of_table:
        said = read_sealed(folder / MANIFEST)
        files = listed((file["name"] for file in said["files"]), most=MOST_NAMES)
        yield f"Files: {files}; manifest.json has their checksums." if files else "A frame in memory."
        yield ""
    roles = {
        "training": "taught the weights, and how columns are read" if of_table else "taught the weights",
        "validation": "looked at in training, to stop it and to pick the weights",
        "test": "scored it at the end, and nothing else",
    }
    if plan.get("folds") is not None:
        roles["training"] = "taught the first model; each learns from all folds but its own"
        roles["validation"] = "the fold of the first model: looked at in training, to stop it and to pick the weights"
    if plan["refit"]:
        roles["validation"] += ", then taught them once more"
    counts = {name: resolved.get(f"{name}_rows") for name in roles}
    yield from table(["rows", "", ""], ([name, f"{n:,}", roles[name]] for name, n in counts.items() if n))
    if of_table:
        shares = "; ".join(f"{name}: {_share(plan[name])}" for name in ("test", "validation"))
        yield from ("", f"Split: {escaped(plan['split'])}; {shares}.")


def _share(given: Any) -> str:
    if given is None or given == "none":
        return "none"
    return f"a share of {given}" if isinstance(given, float) else escaped(Path(str(given)).name)


def _training(plan: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[str]:
    """How it ended, and the knobs that were not left as they are."""
    why = escaped(result["why"])
    length = f"{result['steps']:,} steps, {result['epochs']:g} epochs"
    yield f"{why[:1].upper()}{why[1:]}: {length}, by the {result['engine']} engine."
    usual = Plan().to_json()
    shown = [n for n in plan if n in ALWAYS or (n not in ELSEWHERE and plan[n] != usual.get(n))]
    yield from ("", *table(["knob", "value"], ([name, _value(plan[name])] for name in shown if plan[name] is not None)))


def _value(given: Any) -> str:
    if isinstance(given, list):
        return listed(given, most=MOST_NAMES)
    if isinstance(given, dict):  # what JSON cannot hold is named
        return escaped(given.get("object", "an object"))
    if isinstance(given, float):
        return f"{given:.6g}"
    return escaped({True: "yes", False: "no"}[given] if isinstance(given, bool) else given)


def _use(predictor: Predicting) -> Iterator[str]:
    if predictor.encoder is None:
        yield from ("RUN is this folder, model an instance of the module.", "", "```python", "import mbgd", "")
        yield from ('predictor = mbgd.load("RUN", model)', "predictor.predict(X)", "```")
        return
    yield from ("RUN is this folder. Columns are found by name, in any order.", "", "```")
    yield from ("mbgd predict RUN new.csv --out predictions.csv", "mbgd evaluate RUN new.csv")
    if predictor.target is not None and len(predictor.target.names) == 1:  # which explain takes alone
        yield "mbgd explain RUN new.csv"
    yield from (
        "```",
        "",
        "```python",
        "import mbgd",
        "",
        'mbgd.load("RUN").predict("new.csv")  # a file or a frame',
        "```",
    )


def _limits(predictor: Predicting, plan: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[str]:
    if predictor.encoder is None or predictor.target is None:
        yield "- Weights alone are saved: the module's code has to be kept."
        yield "- What the rows were is not known here: scores hold for rows like those of the validation."
        return
    kinds = set(predictor.columns.values())
    how = "of the last rows by time" if plan["split"].startswith("time:") else "of rows held out of the same data"
    yield f"- Scores are {how}; they hold for rows like those." if result["scores"] else "- It was never scored."
    if "number" in kinds:
        yield "- A number beyond those of the training rows is taken for the nearest of them."
    if "category" in kinds:
        yield "- A category that the training rows lack has a code of its own, the one of a missing value."
    if "date" in kinds:
        yield "- Of a date the hour, the weekday and the day of the year are read: it knows of no years and no trend."
    if predictor.target.classes:
        yield "- Classes that the training rows lack are never predicted."
        if predictor.temperature == 1 and result["calibration"] is None:
            yield "- Probabilities are not calibrated."
    elif np.isfinite(predictor.target.low).all():
        yield "- No prediction lies beyond the targets that it was trained on."


def _repeat(folder: Path, saved: Mapping[str, Any], *, of_table: bool) -> Iterator[str]:
    begun = " --init RUN/init.safetensors" if (folder / INIT).exists() else ""
    if of_table and saved["data"] is not None:
        yield from ("```", f"mbgd train DATA --plan RUN{begun} --out NEW", "```", "")
    else:
        door = "fit_table" if of_table else "fit"
        yield from (f"`mbgd.{door}` with the same rows and the knobs of plan.json, which go by the same names.", "")
    seed = saved["plan"]["seed"]
    yield f"With the same rows, versions and processor the weights have the same bits: all chance depends on seed {seed}."
    yield from ("", *table(["version", ""], ([name, escaped(of)] for name, of in sorted(saved["versions"].items()))))


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"
