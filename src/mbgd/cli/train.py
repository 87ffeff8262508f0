"""`mbgd train` and `mbgd resume`: train by the options of the command, and show the scores."""

from __future__ import annotations

import glob
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mbgd import signals
from mbgd.cli.info import show_plan
from mbgd.cli.interrupted_run import left_in, what_is_left
from mbgd.cli.show import print_ended, print_json, print_run
from mbgd.cli.stopped import Stopped
from mbgd.compiled.news import told_of_compiling
from mbgd.data.files import Dialect
from mbgd.data.table import column_names
from mbgd.desk.ended import read_result
from mbgd.desk.folder import read_plan
from mbgd.desk.new_folder import ExistsError, free_name
from mbgd.desk.output import check_not_inside
from mbgd.desk.plan import Plan, make_plan
from mbgd.desk.progress import watch
from mbgd.desk.result import Run
from mbgd.desk.run_files import MODELS, RESULT
from mbgd.desk.several import how_many
from mbgd.desk.stderr import say
from mbgd.desk.table_plan import table_plan
from mbgd.desk.tables import table_fitting, table_resuming
from mbgd.errors import PlanError, SavedFileError, as_options
from mbgd.store import InUseError, check_name, opened, read_json


def train_table(
    data: Any,
    words: dict[str, Any],
    *,
    out: Path | None,
    init: Path | None,
    plan_file: Path | None,
    plain: bool,
    dry_run: bool,
    json: bool,
    quiet: bool,
    force: bool,
) -> None:
    """Train on a table and show the scores."""
    plan = _plan(words, data=data, plan_file=plan_file, plain=plain)
    if dry_run:
        return show_plan(data, plan, init=init, json=json)
    if plan_file is not None and out is not None and force and out.is_dir():
        check_not_inside(out, [plan_file])
    while True:
        folder = out if out is not None else free_name(_stem(data))
        fitting = table_fitting(data, plan=plan, out=folder, init=init, replace_out=force and out is not None)
        try:
            return _finish(fitting, plan, left=left_in(folder), json=json, quiet=quiet or json)
        except (InUseError, ExistsError):
            if out is not None:
                raise  # else another training took the name first: the next one is free


def inspect_table(data: Any, words: dict[str, Any], *, json: bool) -> None:
    """Show what a training would read and do."""
    show_plan(data, _plan(words, data=data, plan_file=None, plain=False), json=json)


def resume_table(folder: Path, *, data: Any, json: bool, quiet: bool) -> None:
    """Go on with a run; one that has ended is shown again."""
    saved = read_plan(folder)
    if saved["command"] != "fit_table":
        raise PlanError(
            f"{folder} trained a module of your own; mbgd.resume(run, model, data) in Python goes on with it"
        )
    for word, value in saved["plan"].items():
        if isinstance(value, dict) and "object" in value and not (folder / RESULT).exists():
            raise PlanError(
                f"{word} was {value['object']}, which plan.json cannot hold and no option gives; in Python "
                f"mbgd.resume({str(folder)!r}, {word}=...) goes on with it"
            )
    plan = make_plan({name: saved["plan"].get(name) for name in ("folds", "members")})
    if (folder / RESULT).exists():
        begun = folder if how_many(plan) == 1 else folder / MODELS / "1"
        result = read_result(folder)
        say(f"{folder} has ended already; train --init {begun} starts a new run from its weights")
        return print_json(result) if json else print_ended(result)
    fitting = table_resuming(folder, data=data)
    return _finish(fitting, plan, left=lambda: what_is_left(folder), json=json, quiet=quiet or json)


def _unsaid(number: str) -> None:
    """Of compiling, where --quiet was asked for."""


def _finish(fitting: Any, plan: Plan, *, left: Callable[[], str], json: bool, quiet: bool) -> None:
    """Train to the end and show the scores; `left` says what there is of the run where a signal comes before that."""
    signals.set_last_line(left)
    try:
        with told_of_compiling(_unsaid) if quiet else nullcontext():
            run: Run = watch(fitting, models=how_many(plan), quiet=quiet)
    except KeyboardInterrupt:
        raise Stopped(left()) from None
    if not quiet:
        for notice in run.notices:
            say(f"note: {as_options(notice)}")
    if json:
        print_json({"run": str(run.folder), **run.summary()})
    else:
        print_run(run)


def _plan(words: dict[str, Any], *, data: Any, plan_file: Path | None, plain: bool) -> Plan:
    """The plan of the options, or of a file that they change."""
    if plan_file is not None and plain:
        raise PlanError("plain and plan exclude each other, got both; a plan names every knob, leave --plain out")
    like = None if plan_file is None else _plan_file(plan_file)["plan"]
    if "," in words.get("target", ""):
        words = {
            **words,
            "target": _targets(words["target"], data, dialect=_dialect({**(like or {}), **words})),
        }
    plan = table_plan(words, plain=plain, like=like)
    if plan.target is None:
        raise PlanError("target must name the column to predict, got none; give --target COLUMN")
    return plan


def _dialect(words: dict[str, Any]) -> Dialect:
    named = {word: words[word] for word in ("delimiter", "header", "columns", "comment") if words.get(word) is not None}
    return Dialect().but(**named)


def _targets(text: str, data: Any, *, dialect: Dialect) -> Any:
    """The columns between the commas of a text, or the one column whose name it is."""
    if text in column_names(data, dialect=dialect):
        return text
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _plan_file(path: Path) -> dict[str, Any]:
    check_name(path, "plan")
    if path.is_dir():
        return read_plan(path)
    if not path.exists():
        raise SavedFileError(f"plan must be an existing plan.json or run folder, got {path}; a run folder holds one")
    saved, whole = opened(read_json(path))
    if not isinstance(saved, dict) or not isinstance(saved.get("plan"), dict):
        raise SavedFileError(f"{path} must be the plan.json of a run, got something else; a run folder holds one")
    if whole is False:
        say(f"note: {path} was changed since a run wrote it; what it says now is taken")
    return saved


def _stem(data: Any) -> str:
    first = data[0] if isinstance(data, list) else data
    found = sorted(glob.glob(first)) or [first]
    return Path(found[0]).name.split(".")[0] or "run"
