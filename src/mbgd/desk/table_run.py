"""The door for tables: a file or frame and a target in, a finished Run with honest scores out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from mbgd.data import manifest
from mbgd.data.order import IntArray
from mbgd.desk.folder import INIT, MANIFEST, MODEL, RESULT, Recorder, go_on, open_existing, open_new, write_plan
from mbgd.desk.going import going
from mbgd.desk.knobs import TableKnobs
from mbgd.desk.parts import Held, Parts
from mbgd.desk.plan import Plan, from_json, make_plan
from mbgd.desk.predictor import Predictor, load
from mbgd.desk.result import Run
from mbgd.desk.run import Fitting, finish
from mbgd.desk.standing import Standing
from mbgd.desk.table import TableRows, by_size, facts_of, new_model, parts_of, read_rows
from mbgd.desk.train import Trained, scored
from mbgd.errors import PlanError
from mbgd.measure.baselines import dumb, linear
from mbgd.measure.metrics import scorer
from mbgd.store import new_folder, read_json, write_json

TABLE_DEFAULTS: Mapping[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": "auto",
    "batch_size": "auto",
    "epochs": "auto",
    "schedule": "one_cycle",
    "validation": 0.1,
}
PLAIN: Mapping[str, Any] = {  # the textbook: nothing but w := w - eta * gradient
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "batch_size": 32,
    "epochs": 10.0,
    "schedule": "constant",
    "validation": 0.1,
}
REFIT = "refit"  # the folder of the second training, inside the run's own


def fit_table(
    data: Any,
    target: str,
    *,
    out: str | os.PathLike[str] | None = None,
    init: str | os.PathLike[str] | None = None,
    **knobs: Unpack[TableKnobs],
) -> Run:
    """Train on a table: encoder, model, training and scores, with defaults that scale with the number of rows.

    data: a CSV, Parquet or Arrow file, a folder, glob or list of them, or a pandas, polars or pyarrow frame. Rows without
    a target are left out and counted. A test set (20 %) is used for the last score alone, a validation set (10 % of the
    rest) picks the weights; encoder and scales see training rows only. `out` names a new run folder, `init` a finished
    run or model whose weights and encoder are taken over. Raises PlanError, DataError, DivergenceError.
    """
    plan = table_plan({"target": target, **knobs})
    return finish(table_fitting(data, plan=plan, out=out, init=init))


def table_plan(words: Mapping[str, Any], *, plain: bool = False) -> Plan:
    """A checked plan with the defaults of tables; `steps` alone ends a run where it is given without `epochs`."""
    defaults = dict(PLAIN if plain else TABLE_DEFAULTS)
    if words.get("steps") is not None and words.get("epochs") is None:
        defaults["epochs"] = None
    if words.get("optimizer") == "sgd" and not plain:
        defaults["learning_rate"] = 0.05
    return make_plan(words, defaults=defaults)


def table_fitting(data: Any, *, plan: Plan, out: Any = None, init: Any = None) -> Fitting:
    """`fit_table`, look by look."""
    begun = None if init is None else load(init)
    rows = read_rows(data, plan, init=begun)
    plan = by_size(plan, rows)
    with open_new(None if out is None else Path(out)) as folder:
        run = TableRun(rows, plan, begun, folder)
        if folder is not None:
            if begun is not None:
                begun.save(folder / INIT)
            write_json(folder / MANIFEST, rows.manifest)
            resolved = dict(facts_of(rows))
            write_plan(folder, command="fit_table", plan=plan, resolved=resolved, data=places(data))
        return (yield from _trained(run, saved=None))


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
        rows = read_rows(where, plan, init=begun)
        manifest.check(read_json(folder / MANIFEST), rows.manifest)
        return (yield from _trained(TableRun(rows, plan, begun, folder), saved=saved))


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
        """Parts around a fresh model, or around the weights that are taken over."""
        if self.begun is None:
            model: Any = new_model(self.rows, self.plan)
        else:
            model = load(self.folder / INIT).model if self.folder is not None else self.begun.model
        return parts_of(
            self.rows, model, plan=self.plan, training=training, validation=validation, stop_after=stop_after
        )


def _trained(run: TableRun, *, saved: Mapping[str, Any] | None) -> Fitting:
    """Train, train once more where asked, score the test rows, write it all."""
    sets, folder = run.rows.sets, run.folder
    parts = run.parts(sets.training, sets.validation)
    start, recorder, notices = _start(folder, parts, run.plan, saved)
    trained = yield from going(parts, run.plan, recorder=recorder, start=start)
    scores = {} if parts.validation is None else {"validation": scored(parts, parts.validation)}
    if run.plan.refit:
        parts, again = yield from _refit(run, trained, saved)
        trained = replace(again, ending=trained.ending)
    finished = _result(run, parts, trained=trained, recorder=recorder, scores=scores, notices=notices)
    if folder is not None:
        finished.save(folder / MODEL)
        write_json(folder / RESULT, finished.summary())
    return finished


def _start(
    folder: Path | None, parts: Parts, plan: Plan, saved: Mapping[str, Any] | None
) -> tuple[Standing, Recorder, tuple[str, ...]]:
    if folder is None or saved is None:
        return Standing(), Recorder(folder, checkpoint_every=plan.checkpoint_every), ()
    return go_on(folder, parts, plan, saved)


def _refit(run: TableRun, first: Trained, saved: Mapping[str, Any] | None) -> Any:
    """Train a fresh model on training and validation rows, for as many passes as were best the first time."""
    sets = run.rows.sets
    if not len(sets.validation):
        raise PlanError("refit needs validation rows to take in, got none; give validation=0.1, or leave refit out")
    best, done = first.standing.best, first.standing.progress.steps_done
    share = (best.steps_done or done) / len(sets.training)
    both = np.sort(np.concatenate([sets.training, sets.validation]))
    parts = run.parts(both, both[:0], stop_after=max(1, round(share * len(both))))
    folder = None if run.folder is None else run.folder / REFIT
    going_on = saved is not None and folder is not None and folder.exists()
    if folder is not None and not folder.exists():
        new_folder(folder)
    start, recorder, _ = _start(folder, parts, run.plan, saved if going_on else None)
    trained = yield from going(parts, run.plan, recorder=recorder, start=start)
    return parts, trained


def _result(
    run: TableRun,
    parts: Parts,
    *,
    trained: Trained,
    recorder: Recorder,
    scores: dict[str, dict[str, float]],
    notices: tuple[str, ...],
) -> Run:
    rows = run.rows
    if len(rows.sets.test):
        scores = {**scores, "test": scored(parts, Held(parts.source, rows.sets.test))}
    shown = "test" if "test" in scores else "validation" if "validation" in scores else None
    predictor = Predictor(parts.model, parts.loss, parts.output_shape, encoder=rows.encoder, target=rows.target)
    return Run(
        predictor=replace(predictor, facts={"plan": run.plan.to_json(), "scores": scores}),
        plan=run.plan,
        history=recorder.lines,
        ending=trained.ending,
        scores=scores,
        baselines={} if shown is None else baselines(rows, getattr(rows.sets, shown)),
        resolved={**facts_of(rows), **parts.resolved},
        seconds=trained.standing.seconds,
        folder=run.folder,
        notices=(*rows.notices, *notices),
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
        scores = scorer(kind, max(2, n_classes))
        scores.add(model(held), rows.y[held], None if rows.w is None else rows.w[held])
        found[name] = scores.result()
    return found
