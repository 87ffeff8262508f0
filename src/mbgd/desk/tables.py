"""Train on a table: `fit_table` takes a file or frame and a target, and returns a finished Run with honest scores."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from mbgd.desk.callback import Callback, check_callback
from mbgd.desk.ensemble import Ensemble
from mbgd.desk.folder import open_existing, write_plan
from mbgd.desk.knobs import TableKnobs
from mbgd.desk.load import load_table
from mbgd.desk.machine import choose_device
from mbgd.desk.new_folder import check_new, open_new
from mbgd.desk.opened import Opened, open_rows
from mbgd.desk.output import check_not_inside, files_read
from mbgd.desk.parts import EACH_EPOCH, Parts
from mbgd.desk.plan import Plan
from mbgd.desk.planned import check_same_objects, from_json
from mbgd.desk.predictor import Predictor
from mbgd.desk.progress import watch
from mbgd.desk.result import Run
from mbgd.desk.run_files import INIT, MANIFEST
from mbgd.desk.several import ModelTrained, how_many, train_several
from mbgd.desk.signatures import shows_knobs
from mbgd.desk.table import by_size, facts_of, first_rows
from mbgd.desk.table_plan import TABLE_DEFAULTS, table_plan
from mbgd.desk.table_run import TableRun, train_one
from mbgd.desk.train import Look
from mbgd.errors import PlanError
from mbgd.forks import after_fork
from mbgd.record.loggers import check_logger
from mbgd.store import read_sealed, write_sealed

TableFitting = Generator[Look | ModelTrained, bool | None, Run]


@after_fork()
@shows_knobs(TableKnobs, TABLE_DEFAULTS)
def fit_table(
    data: Any,
    target: str | tuple[str, ...],
    *,
    out: str | os.PathLike[str] | None = None,
    init: str | os.PathLike[str] | None = None,
    progress: bool = False,
    callback: Callback | None = None,
    **knobs: Unpack[TableKnobs],
) -> Run:
    """Train on a table: encoder, model, training and scores, with defaults that scale with the number of rows.

    data: a CSV, Parquet or Arrow file, a folder, glob or list of them, or a pandas, polars or pyarrow frame. Rows without
    a target are left out and counted; several targets, all of them numbers, get one network with an output each. A test
    set (20 %) is used for the last score alone, a validation set (10 % of the rest) picks the weights; encoder and scales
    see training rows only. `folds` or `members` train several models whose
    mean predicts, with an encoder for each fold; `run.out_of_fold` has each row as the models not trained on it predict it.
    `preset` ("fast", "default", "best") gives values to what is not given. `out` names a new run folder, `init` a finished
    run or model whose weights and encoder are taken over; `progress` shows how it goes; `callback` is that of `fit`, called
    for the epochs of each model and of a second training in turn, whose end it may ask for. Raises PlanError, DataError,
    DivergenceError.
    """
    plan = table_plan({"target": target, **knobs})
    check_callback(callback)
    begun = table_fitting(data, plan=plan, out=out, init=init, each_epoch=callback is not None)
    return watch(begun, models=how_many(plan), quiet=not progress, callback=callback)


def taken_over(init: Any, plan: Plan) -> Predictor:
    """The finished run or model whose weights a new run of this plan starts from."""
    begun = load_table(init)
    if isinstance(begun, Ensemble):
        raise PlanError(
            f"init must be one model, got {init}, the mean of {len(begun.predictors)}; give one of them: RUN/models/1"
        )
    assert begun.target is not None
    if begun.loss.levels != plan.quantiles:
        raise PlanError(
            f"init must be a model of the quantiles {plan.quantiles or 'none'}, got {init}, whose are "
            f"{begun.loss.levels or 'none'}; give those, or leave init out"
        )
    if begun.target.names != plan.targets:
        raise PlanError(
            f"init must be a model of the target {', '.join(plan.targets)!r}, got {init}, which predicts "
            f"{begun.target.name!r}; give that target, or leave init out"
        )
    return begun


def table_fitting(
    data: Any,
    *,
    plan: Plan,
    out: Any = None,
    init: Any = None,
    replace_out: bool = False,
    each_epoch: bool = False,
) -> TableFitting:
    """`fit_table`, look by look. All that can be wrong with rows and plan is said before anything is written."""
    path = None if out is None else Path(out)
    replaced = check_new(path, replace=replace_out)
    if path is not None and replaced is not None:
        check_not_inside(path, _read_by(data, plan, init))
    check_logger(plan.log, path)
    choose_device(plan.device)  # a wrong word is said before a large file is read
    begun = None if init is None else taken_over(init, plan)
    if begun is not None and how_many(plan) > 1:
        raise PlanError(f"init gives its weights to one model, got it with {how_many(plan)} of them; leave init out")
    opened = open_rows(data, plan, init=begun)
    rows = first_rows(opened, plan, init=begun)
    run = TableRun(rows, by_size(plan, rows), begun, path, each_epoch=each_epoch)
    parts = run.parts(rows.sets.training, rows.sets.validation)
    run = replace(run, plan=replace(run.plan, threads=parts.threads))  # their number is part of what is repeated
    with open_new(path, replaced=replaced) as folder:
        if folder is not None:
            if begun is not None:
                begun.save(folder / INIT)
            write_sealed(folder / MANIFEST, rows.manifest)
            resolved = {**facts_of(rows), **parts.resolved}
            write_plan(folder, command="fit_table", plan=run.plan, resolved=resolved, data=places(data))
        if how_many(plan) > 1:
            return (yield from train_several(opened, run, parts, saved=None))
        return (yield from train_one(run, parts, saved=None))


def _read_by(data: Any, plan: Plan, init: Any) -> Iterator[Path]:
    """The files that a training is made from."""
    others = [given for given in (plan.validation, plan.test) if isinstance(given, str) and given != "none"]
    for files in (data, *others):
        yield from files_read(None, files)
    if isinstance(init, str | os.PathLike):
        yield Path(init)


def table_resuming(
    folder: Path, *, data: Any = None, again: Mapping[str, Any] | None = None, each_epoch: bool = False
) -> TableFitting:
    """`resume` of a table's run, look by look. Raises DataError where the data is not what it was."""
    with open_existing(folder, command="fit_table") as saved:
        opened, run, parts = begun_again(folder, saved, data=data, again=again, each_epoch=each_epoch)
        if how_many(run.plan) > 1:
            return (yield from train_several(opened, run, parts, saved=saved))
        return (yield from train_one(run, parts, saved=saved))


def begun_again(
    folder: Path,
    saved: Mapping[str, Any],
    *,
    data: Any = None,
    again: Mapping[str, Any] | None = None,
    each_epoch: bool = False,
) -> tuple[Opened, TableRun, Parts]:
    """Rows, run and parts of an existing table's run, as they were when it was begun. Raises DataError where data changed."""
    plan = from_json(saved["plan"], **(again or {}))
    check_logger(plan.log, folder)
    where = saved["data"] if data is None else data
    if where is None:
        raise PlanError(
            f"{folder} was trained on a frame in memory; give it again: resume({str(folder)!r}, data=frame)"
        )
    begun = taken_over(folder / INIT, plan) if (folder / INIT).exists() else None
    opened = open_rows(where, plan, init=begun, as_before=read_sealed(folder / MANIFEST))
    rows = first_rows(opened, plan, init=begun)
    run = TableRun(rows, plan, begun, folder, each_epoch=each_epoch or bool(saved["resolved"].get(EACH_EPOCH)))
    parts = run.parts(rows.sets.training, rows.sets.validation)
    check_same_objects(parts.resolved, saved["resolved"])
    return opened, run, parts


def places(data: Any) -> Any:
    """The files as absolute paths, for plan.json; None for data in memory."""
    if isinstance(data, str | Path):
        return os.path.abspath(data)
    if isinstance(data, list | tuple) and all(isinstance(path, str | Path) for path in data):
        return [os.path.abspath(path) for path in data]
    return None
