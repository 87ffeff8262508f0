"""The door for tables: a file or frame and a target in, a finished Run with honest scores out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from mbgd.data.order import IntArray
from mbgd.data.places import listed, original
from mbgd.desk.asked import rarer_class
from mbgd.desk.folder import (
    INIT,
    MANIFEST,
    MODEL,
    RESULT,
    Recorder,
    check_new,
    go_on,
    open_existing,
    open_new,
    write_plan,
)
from mbgd.desk.going import going
from mbgd.desk.knobs import TableKnobs
from mbgd.desk.machine import choose_device
from mbgd.desk.parts import Held, Parts
from mbgd.desk.plan import Plan, from_json
from mbgd.desk.predictor import Predictor, load, load_table
from mbgd.desk.quantile_baselines import quantile_baselines
from mbgd.desk.result import Run
from mbgd.desk.run import Fitting, finish
from mbgd.desk.settled import Settled, settle
from mbgd.desk.standing import Standing
from mbgd.desk.table import TableRows, by_size, facts_of, new_model, parts_of, read_rows
from mbgd.desk.table_plan import table_plan
from mbgd.desk.train import Trained
from mbgd.errors import DivergenceError, PlanError
from mbgd.loop.steps import diverged
from mbgd.measure.baselines import dumb, linear
from mbgd.measure.metrics import scorer
from mbgd.store import new_folder, read_json, write_json

REFIT = "refit"  # the folder of the second training, inside the run's own


def fit_table(
    data: Any,
    target: str | tuple[str, ...],
    *,
    out: str | os.PathLike[str] | None = None,
    init: str | os.PathLike[str] | None = None,
    **knobs: Unpack[TableKnobs],
) -> Run:
    """Train on a table: encoder, model, training and scores, with defaults that scale with the number of rows.

    data: a CSV, Parquet or Arrow file, a folder, glob or list of them, or a pandas, polars or pyarrow frame. Rows without
    a target are left out and counted; several targets, all of them numbers, get one network with an output each. A test
    set (20 %) is used for the last score alone, a validation set (10 % of the rest) picks the weights; encoder and scales
    see training rows only. `out` names a new run folder, `init` a finished run or model whose weights and encoder are
    taken over. Raises PlanError, DataError, DivergenceError.
    """
    plan = table_plan({"target": target, **knobs})
    return finish(table_fitting(data, plan=plan, out=out, init=init))


def taken_over(init: Any, plan: Plan) -> Predictor:
    """The finished run or model whose weights a new run of this plan starts from."""
    begun = load_table(init)
    assert begun.target is not None
    if begun.loss.levels != plan.quantiles:
        raise PlanError(
            f"init must be a model of the quantiles {plan.quantiles or 'none'}, got {init}, whose are "
            f"{begun.loss.levels or 'none'}; give those, or leave init out"
        )
    if begun.target.names != plan.targets:
        raise PlanError(
            f"init must be a model of the target {', '.join(plan.targets)!r}, got {init}, which predicts "
            f"{begun.target.name!r}; "
            "give that target, or leave init out"
        )
    return begun


def table_fitting(data: Any, *, plan: Plan, out: Any = None, init: Any = None, replace_out: bool = False) -> Fitting:
    """`fit_table`, look by look. All that can be wrong with rows and plan is said before anything is written."""
    path = None if out is None else Path(out)
    check_new(path, replace=replace_out)
    choose_device(plan.device)  # a wrong word is said before a large file is read
    begun = None if init is None else taken_over(init, plan)
    rows = read_rows(data, plan, init=begun)
    run = TableRun(rows, by_size(plan, rows), begun, path)
    parts = run.parts(rows.sets.training, rows.sets.validation)
    run = replace(run, plan=replace(run.plan, threads=parts.threads))  # their number is part of what is repeated
    with open_new(path, replace=replace_out) as folder:
        if folder is not None:
            if begun is not None:
                begun.save(folder / INIT)
            write_json(folder / MANIFEST, rows.manifest)
            resolved = {**facts_of(rows), **parts.resolved}
            write_plan(folder, command="fit_table", plan=run.plan, resolved=resolved, data=places(data))
        return (yield from _trained(run, parts, saved=None))


def table_resuming(folder: Path, *, data: Any = None) -> Fitting:
    """`resume` of a table's run, look by look. Raises DataError where the data is not what it was."""
    with open_existing(folder, command="fit_table") as saved:
        plan = from_json(saved["plan"])
        where = saved["data"] if data is None else data
        if where is None:
            raise PlanError(
                f"{folder} was trained on a frame in memory; give it again: resume({str(folder)!r}, data=frame)"
            )
        begun = load(folder / INIT) if (folder / INIT).exists() else None
        rows = read_rows(where, plan, init=begun, as_before=read_json(folder / MANIFEST))
        run = TableRun(rows, plan, begun, folder)
        return (yield from _trained(run, run.parts(rows.sets.training, rows.sets.validation), saved=saved))


def places(data: Any) -> Any:
    """The files as absolute paths, for plan.json; None for data in memory."""
    if isinstance(data, str | Path):
        return os.path.abspath(data)
    if isinstance(data, list | tuple) and all(isinstance(path, str | Path) for path in data):
        return [os.path.abspath(path) for path in data]
    return None


@dataclass(frozen=True)
class TableRun:
    """A table's run before it is trained."""

    rows: TableRows
    plan: Plan
    begun: Predictor | None
    folder: Path | None

    def parts(self, training: IntArray, validation: IntArray, *, stop_after: int | None = None) -> Parts:
        """Parts around a fresh model, or around a copy of the one whose weights are taken over."""
        model: Any = new_model(self.rows, self.plan) if self.begun is None else deepcopy(self.begun.model)
        return parts_of(
            self.rows, model, plan=self.plan, training=training, validation=validation, stop_after=stop_after
        )


def _trained(run: TableRun, parts: Parts, *, saved: Mapping[str, Any] | None) -> Fitting:
    """Train, train once more where asked, score the test rows, write it all."""
    folder = run.folder
    start, recorder, notices = _start(folder, parts, run.plan, saved)
    with _rows_named(run, parts):
        trained = yield from going(parts, run.plan, recorder=recorder, start=start)
    settled = settle(parts, run.plan, rarer=rarer_class(run.rows.y, run.rows.sets.training))
    scores = {} if parts.validation is None else {"validation": settled.scored(parts, parts.validation)}
    if run.plan.refit:
        run = replace(run, rows=_with_validation_range(run.rows))
        parts, again = yield from _refit(run, trained, saved)
        trained = replace(again, ending=trained.ending)
    finished = _result(run, parts, trained=trained, recorder=recorder, scores=scores, settled=settled, notices=notices)
    if folder is not None:
        finished.save(folder / MODEL)
        write_json(folder / RESULT, finished.summary())
    return finished


@contextmanager
def _rows_named(run: TableRun, parts: Parts) -> Iterator[None]:
    """A divergence is told with the rows of the files, and the model as it was before it is kept."""
    try:
        yield
    except DivergenceError as error:
        kept = ""
        if run.folder is not None:
            _predictor(run, parts).save(run.folder / MODEL)
            kept = f"; the last good model is {run.folder / MODEL}"
        tables = run.rows.places
        numbers, places = [original(tables, row) for row in error.rows], listed(tables, error.rows)
        raise diverged(step=error.step, epoch=error.epoch, rows=numbers, places=places, kept=kept) from None


def _start(
    folder: Path | None, parts: Parts, plan: Plan, saved: Mapping[str, Any] | None
) -> tuple[Standing, Recorder, tuple[str, ...]]:
    if folder is None or saved is None:
        return Standing(), Recorder(folder, checkpoint_every=plan.checkpoint_every), ()
    return go_on(folder, parts, plan, saved)


def _with_validation_range(rows: TableRows) -> TableRows:
    """Predictions may reach the targets of validation rows, too: those are trained on now."""
    if rows.target.classes:
        return rows
    return replace(rows, target=rows.target.widened(rows.y, rows.sets.validation))


def _refit(run: TableRun, first: Trained, saved: Mapping[str, Any] | None) -> Any:
    """Train a fresh model on training and validation rows, for as many passes as were best the first time."""
    sets = run.rows.sets
    best, done = first.standing.best, first.standing.progress.steps_done
    share = (best.steps_done or done) / len(sets.training)
    both = np.sort(np.concatenate([sets.training, sets.validation]))
    parts = run.parts(both, both[:0], stop_after=max(1, round(share * len(both))))
    folder = None if run.folder is None else run.folder / REFIT
    going_on = saved is not None and folder is not None and folder.exists()
    if folder is not None and not folder.exists():
        new_folder(folder)
    start, recorder, _ = _start(folder, parts, run.plan, saved if going_on else None)
    with _rows_named(run, parts):
        trained = yield from going(parts, run.plan, recorder=recorder, start=start)
    return parts, trained


def _result(
    run: TableRun,
    parts: Parts,
    *,
    trained: Trained,
    recorder: Recorder,
    scores: dict[str, dict[str, float]],
    settled: Settled,
    notices: tuple[str, ...],
) -> Run:
    rows, beside = run.rows, baselines
    if parts.loss.levels:
        beside = partial(quantile_baselines, levels=parts.loss.levels)
    if len(rows.sets.test):
        scores = {**scores, "test": settled.scored(parts, Held(parts.source, rows.sets.test))}
    shown = "test" if "test" in scores else "validation" if "validation" in scores else None
    return Run(
        predictor=_predictor(run, parts, scores=scores, settled=settled),
        plan=run.plan,
        history=recorder.lines,
        ending=trained.ending,
        scores=scores,
        baselines={} if shown is None else beside(rows, getattr(rows.sets, shown)),
        resolved={**facts_of(rows), **parts.resolved},
        seconds=trained.standing.seconds,
        calibration=settled.calibration,
        widening=settled.widening,
        threshold=settled.threshold,
        folder=run.folder,
        notices=(*rows.notices, *notices, *settled.notices),
    )


def _predictor(
    run: TableRun, parts: Parts, *, scores: Mapping[str, Any] | None = None, settled: Settled | None = None
) -> Predictor:
    settled = settled or Settled()
    return Predictor(
        parts.model,
        parts.loss,
        parts.output_shape,
        encoder=run.rows.encoder,
        target=run.rows.target,
        facts={"plan": run.plan.to_json(), "scores": scores},
        temperature=settled.temperature,
        widening=settled.widening,
        threshold=settled.threshold,
    )


def baselines(rows: TableRows, held: IntArray) -> dict[str, dict[str, float]]:
    """What two dumb models score on the same held-out rows: the mean or majority, and a linear model of the same encoding."""
    n_classes, encoder = len(rows.target.classes), rows.encoder
    kind = "regression" if not n_classes else "binary" if n_classes == 2 else "multiclass"
    training, classes = rows.sets.training, n_classes or None
    models = {
        "mean" if kind == "regression" else "majority": dumb(
            kind, rows.y, training_rows=training, w=rows.w, n_classes=classes
        ),
        "linear": linear(
            kind,
            rows.y,
            numbers=rows.encoded.numbers,
            codes=rows.encoded.codes,
            cardinalities=encoder.cardinalities,
            training_rows=training,
            w=rows.w,
            n_classes=classes,
        ),
    }
    found = {}
    for name, model in models.items():
        names = rows.target.names if len(rows.target.names) > 1 else ()
        scores = scorer(kind, max(2, n_classes), names=names)
        scores.add(model(held), rows.y[held], None if rows.w is None else rows.w[held])
        found[name] = scores.result()
    return found
