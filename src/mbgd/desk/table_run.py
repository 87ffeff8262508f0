"""Train one model of a table's rows and score it on rows that it never saw."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mbgd.data.order import IntArray
from mbgd.data.places import listed, original
from mbgd.desk.card import write_card
from mbgd.desk.ended import write_result
from mbgd.desk.folder import go_on, new_recorder
from mbgd.desk.going import going
from mbgd.desk.parts import Parts
from mbgd.desk.plan import Plan
from mbgd.desk.predictor import Predictor
from mbgd.desk.quantile_baselines import quantile_baselines
from mbgd.desk.recorder import Recorder
from mbgd.desk.recover import recovered
from mbgd.desk.result import Run
from mbgd.desk.run import Fitting
from mbgd.desk.run_files import FIRST, MODEL, PLAN, REFIT, sweep_training
from mbgd.desk.settled import Settled, settle
from mbgd.desk.standing import Standing
from mbgd.desk.suits import rarer_class
from mbgd.desk.table import TableRows, facts_of, held_of, new_model, parts_of
from mbgd.desk.train import Look, Trained
from mbgd.errors import DivergenceError, taken_at_its_word
from mbgd.loop.steps import diverged
from mbgd.measure.baselines import Predictor as Baseline
from mbgd.measure.baselines import dumb, linear
from mbgd.measure.metrics import Scorer, scorer
from mbgd.store import Digest, file_digest, new_folder


@dataclass(frozen=True)
class TableRun:
    """A table's run before it is trained."""

    rows: TableRows
    plan: Plan
    begun: Predictor | None
    folder: Path | None
    alone: bool = True  # False for one of several: test rows and baselines are for their mean
    each_epoch: bool = False  # whether a callback wants to look at each epoch's end

    def parts(self, training: IntArray, validation: IntArray, *, stop_after: int | None = None) -> Parts:
        """Parts around a fresh model, or around a copy of the one whose weights are taken over."""
        model: Any = new_model(self.rows, self.plan) if self.begun is None else deepcopy(self.begun.model)
        parts = parts_of(
            self.rows, model, plan=self.plan, training=training, validation=validation, stop_after=stop_after
        )
        return parts.looked_at_each_epoch() if self.each_epoch else parts


def train_one(run: TableRun, parts: Parts, *, saved: Mapping[str, Any] | None) -> Fitting:
    """Train, train once more where asked, score the test rows, write it all."""
    folder = run.folder
    start, recorder, notices = _start(folder, parts, run.plan, saved)
    with _rows_named(run, parts):
        trained = yield from going(parts, run.plan, recorder=recorder, start=start)
    files = recorder.written
    settled = settle(parts, run.plan, rarer=rarer_class(run.rows.y, run.rows.sets.training))
    scores = {} if parts.validation is None else {"validation": settled.scored(parts, parts.validation)}
    first = None
    if run.plan.refit:
        first = _predictor(run, parts, scores=scores, settled=settled) if not run.alone else None
        run, parts = refit_parts(run, trained.standing)
        again, more, said = yield from _refit(run, parts, saved)
        notices = tuple(dict.fromkeys((*notices, *said)))
        trained = replace(again, ending=trained.ending)
        files |= {f"{REFIT}/{name}": written for name, written in more.items()}
    finished = _result(run, parts, trained=trained, recorder=recorder, scores=scores, settled=settled, notices=notices)
    finished = replace(finished, first=first)
    if folder is not None:
        with recorder.last_step_named():
            finished.save(folder / MODEL)
            if first is not None:
                files[FIRST] = file_digest(first.save(folder / FIRST))
            if run.alone:
                with taken_at_its_word(folder / PLAN):
                    write_card(finished)
            write_result(folder, finished.summary(), files=files)
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
        raise diverged(
            step=error.step, epoch=error.epoch, rows=numbers, places=places, kept=kept, tried=error.tried
        ) from None


def _start(
    folder: Path | None, parts: Parts, plan: Plan, saved: Mapping[str, Any] | None
) -> tuple[Standing, Recorder, tuple[str, ...]]:
    if folder is None or saved is None:
        return Standing(), new_recorder(folder, plan), ()
    return go_on(folder, parts, plan, saved)


def _with_validation_range(rows: TableRows) -> TableRows:
    """Predictions may reach the targets of validation rows, too: those are trained on now."""
    if rows.target.classes:
        return rows
    return replace(rows, target=rows.target.widened(rows.y, rows.sets.validation))


def refit_parts(run: TableRun, first: Standing) -> tuple[TableRun, Parts]:
    """A fresh model for training and validation rows together, for as many passes as were best the first time."""
    run = replace(run, rows=_with_validation_range(run.rows))
    sets = run.rows.sets
    share = (first.best.steps_done or first.progress.steps_done) / len(sets.training)
    both = np.sort(np.concatenate([sets.training, sets.validation]))
    return run, run.parts(both, both[:0], stop_after=max(1, round(share * len(both))))


def _refit(
    run: TableRun, parts: Parts, saved: Mapping[str, Any] | None
) -> Generator[Look, bool | None, tuple[Trained, dict[str, Digest], tuple[str, ...]]]:
    """Train once more; what the history of that must be, and what is to be said of it."""
    folder = None if run.folder is None else run.folder / REFIT
    going_on = saved is not None and folder is not None and folder.exists()
    if folder is not None and going_on:
        sweep_training(folder)
    elif folder is not None:
        new_folder(folder)
    start, recorder, notices = _start(folder, parts, run.plan, saved if going_on else None)
    with _rows_named(run, parts):
        trained = yield from going(parts, run.plan, recorder=recorder, start=start)
    return trained, recorder.written, (*notices, *recorder.notices)


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
    rows, levels = run.rows, parts.loss.levels
    if run.alone and len(rows.sets.test):
        scores = {**scores, "test": settled.scored(parts, held_of(rows, parts.source, rows.sets.test))}
    shown = "test" if "test" in scores else "validation" if "validation" in scores else None
    return Run(
        predictor=_predictor(run, parts, scores=scores, settled=settled),
        plan=run.plan,
        history=recorder.lines,
        ending=trained.ending,
        scores=scores,
        baselines=baselines([(rows, getattr(rows.sets, shown))], levels) if run.alone and shown is not None else {},
        resolved={**facts_of(rows), **parts.resolved},
        seconds=trained.standing.seconds,
        calibration=settled.calibration,
        widening=settled.widening,
        threshold=settled.threshold,
        folder=run.folder,
        notices=(*rows.notices, *notices, *recovered(trained.standing), *recorder.notices, *settled.notices),
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
        facts={"plan": run.plan.to_json(), "scores": scores, "file_columns": list(run.rows.file_columns)},
        temperature=settled.temperature,
        widening=settled.widening,
        threshold=settled.threshold,
    )


def baselines(
    each: Iterable[tuple[TableRows, IntArray]], levels: tuple[float, ...] = ()
) -> dict[str, dict[str, float]]:
    """What two dumb models score on the same held-out rows: the mean or majority, and a linear model of the same encoding;
    of quantiles of such `levels` the two of `quantile_baselines`.

    Of several pairs of rows and held-out ones, each is predicted by dumb models of its own training rows.
    """
    if levels:
        return quantile_baselines(each, levels=levels)
    found: dict[str, Scorer] = {}
    for rows, held in each:
        kind, classes, names = _kind(rows), len(rows.target.classes), rows.target.names
        for name, model in _dumb(rows, kind).items():
            scores = found.setdefault(name, scorer(kind, max(2, classes), names=names if len(names) > 1 else ()))
            scores.add(model(held), rows.y[held], None if rows.w is None else rows.w[held])
    return {name: scores.result() for name, scores in found.items()}


def _kind(rows: TableRows) -> str:
    n_classes = len(rows.target.classes)
    return "regression" if not n_classes else "binary" if n_classes == 2 else "multiclass"


def _dumb(rows: TableRows, kind: str) -> dict[str, Baseline]:
    training, classes = rows.sets.training, len(rows.target.classes) or None
    return {
        "mean" if kind == "regression" else "majority": dumb(
            kind, rows.y, training_rows=training, w=rows.w, n_classes=classes
        ),
        "linear": linear(
            kind,
            rows.y,
            numbers=rows.encoded.numbers,
            codes=rows.encoded.codes,
            cardinalities=rows.encoder.cardinalities,
            training_rows=training,
            w=rows.w,
            n_classes=classes,
        ),
    }
