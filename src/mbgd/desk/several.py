"""Train several models of a table (folds, members), and score their mean."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.data.encode.encoder import Encoded
from mbgd.data.order import IntArray
from mbgd.desk.card import write_card
from mbgd.desk.ended import check_file, files_of_result, read_result, write_result
from mbgd.desk.ensemble import Ensemble, Predicting
from mbgd.desk.load import load_table
from mbgd.desk.opened import Opened
from mbgd.desk.out_of_fold import out_of_fold, write_out_of_fold
from mbgd.desk.parts import Parts
from mbgd.desk.plan import Plan
from mbgd.desk.predictor import Predictor
from mbgd.desk.result import Run
from mbgd.desk.run_files import FIRST, HISTORY, MODEL, MODELS, OUT_OF_FOLD, RESULT, sweep_training
from mbgd.desk.settled import NONE_TO_CHOOSE_BY, chosen
from mbgd.desk.suits import rarer_class
from mbgd.desk.table import TableRows, encode_rows, facts_of
from mbgd.desk.table_run import TableRun, baselines, train_one
from mbgd.desk.train import Look
from mbgd.errors import SavedFileError
from mbgd.loop.stop import Ending, StopReason
from mbgd.measure.metrics import scorer
from mbgd.measure.own_metric import OwnMetric
from mbgd.measure.own_scores import OwnScorer
from mbgd.measure.threshold import Threshold
from mbgd.record.history import History, read_history
from mbgd.seeds import member_seed
from mbgd.store import file_digest, finite, new_folder


@dataclass(frozen=True)
class ModelTrained:
    """One of several models is trained; `number` counts from 1, `scores` are of its validation rows."""

    number: int
    of: int
    scores: dict[str, float]


@dataclass(frozen=True)
class One:
    """A trained model of several, and what result.json says of it. `first` has not been trained on the validation rows."""

    predictor: Predictor
    first: Predictor
    said: dict[str, Any]
    history: History
    notices: tuple[str, ...] = ()


Turns = Generator[Look | ModelTrained, bool | None, Run]


def how_many(plan: Plan) -> int:
    """The models whose mean a plan asks for."""
    return (plan.folds or 1) * plan.members


def train_several(opened: Opened, run: TableRun, parts: Parts, *, saved: Mapping[str, Any] | None) -> Turns:
    """Train the models of each fold one after the other; those that are done are read. `parts` are of the first."""
    models: list[One] = []
    means: NDArray[np.float64] | None = None
    for of_one in each_model(opened, run):
        rows = of_one.rows
        one = yield from _one(of_one, parts if not models else None, saved=saved)
        models.append(one)
        for predictor, held in ((one.first, rows.sets.validation), (one.predictor, rows.sets.test)):
            found = predictor.means(Encoded(rows.encoded.numbers[held], rows.encoded.codes[held]))
            means = np.zeros((len(rows.y), *found.shape[1:])) if means is None else means
            means[held] += found
        yield ModelTrained(len(models), how_many(run.plan), one.said["scores"].get("validation", {}))
    assert means is not None
    means[run.rows.sets.test] /= len(models)
    means[np.concatenate([sets.validation for sets in opened.sets])] /= run.plan.members
    return _finished(opened, run, models, means=means, resolved=parts.resolved)


def each_model(opened: Opened, run: TableRun) -> Iterator[TableRun]:
    """The run of each model, the members of a fold one after the other; a fold's rows are encoded when it is come to."""
    number = 0
    for fold, sets in enumerate(opened.sets):
        rows = run.rows if fold == 0 else encode_rows(opened, run.plan, sets=sets)
        for _ in range(run.plan.members):
            yield _numbered(run, rows, number)
            number += 1


def _numbered(run: TableRun, rows: TableRows, number: int) -> TableRun:
    """One of the models, counted from 0: its rows, its seed, its share of the time and its folder."""
    plan, limit = run.plan, run.plan.time_limit
    plan = replace(
        plan,
        seed=member_seed(plan.seed, number),
        threshold_for=None,  # chosen once, for the mean
        time_limit=None if limit is None else limit / how_many(plan),
    )
    folder = None if run.folder is None else run.folder / MODELS / str(number + 1)
    return TableRun(rows, plan, None, folder, alone=False, each_epoch=run.each_epoch)


def _one(run: TableRun, parts: Parts | None, *, saved: Mapping[str, Any] | None) -> Generator[Look, bool | None, One]:
    """Train one of the models, go on with it, or read it where it is done: result.json is written last."""
    folder, rows = run.folder, run.rows
    if folder is not None and (folder / RESULT).exists():
        return _done(folder, rows)
    begun = folder is not None and folder.exists()
    if folder is not None and begun:
        sweep_training(folder)
    elif folder is not None:
        new_folder(folder)
    parts = parts or run.parts(rows.sets.training, rows.sets.validation)
    done = yield from train_one(run, parts, saved=saved if begun else None)
    summary = finite(done.summary())
    assert isinstance(summary, dict)
    last, first = _lone(done.predictor), _lone(done.first or done.predictor)
    return One(last, first, summary, done.history, _own(summary, rows))


def _done(folder: Path, rows: TableRows) -> One:
    said, written = read_result(folder), files_of_result(folder)
    for name, digest in written.items():
        check_file(folder / name, digest)
    last = _of_these_rows(folder / MODEL, rows)
    first = _of_these_rows(folder / FIRST, rows) if FIRST in written else last
    history = read_history(folder / HISTORY)
    needed = ("steps", "epochs", "seconds", "scores", "calibration", "notices")
    if (
        any(name not in said for name in needed)
        or type(history["rows_seen"][-1] if "rows_seen" in history else None) is not int
    ):
        raise SavedFileError(
            f"{folder} must hold a result and a history of training; remove {folder / RESULT}: it is trained on"
        )
    return One(last, first, said, history, _own(said, rows))


def _of_these_rows(path: Path, rows: TableRows) -> Predictor:
    """A model that a run has trained on the rows as they are encoded now. Raises SavedFileError for any other."""
    found = load_table(path)
    if isinstance(found, Predictor) and found.encoder is not None and found.target is not None:
        ours, theirs = rows.encoder, found.encoder
        sizes = [(one.columns, one.number_names, one.cardinalities) for one in (ours, theirs)]
        targets = [(one.names, one.classes) for one in (rows.target, found.target)]
        if sizes[0] == sizes[1] and targets[0] == targets[1]:
            return replace(found, encoder=ours)
    raise SavedFileError(
        f"{path} must be a model of the run's rows and target, got one of others; restore it from a copy"
    )


def _lone(predictor: Predicting) -> Predictor:
    assert isinstance(predictor, Predictor)
    return predictor


def _own(said: Mapping[str, Any], rows: TableRows) -> tuple[str, ...]:
    """Notices of a model that are none of its rows."""
    return tuple(notice for notice in said["notices"] if notice not in rows.notices)


def _finished(
    opened: Opened, run: TableRun, models: list[One], *, means: NDArray[np.float64], resolved: Mapping[str, Any]
) -> Run:
    """The mean with its scores, written down: the model before the result, which says that the run has ended."""
    rows, of_folds = run.rows, run.plan.folds is not None
    sets = rows.sets
    held = {"out_of_fold": np.concatenate([s.validation for s in opened.sets])} if of_folds else {}
    held |= {} if of_folds else {"validation": sets.validation}
    held = {name: np.sort(which) for name, which in {**held, "test": sets.test}.items() if len(which)}
    threshold, said = _cut(run, held, means)
    predictor = Ensemble(tuple(one.predictor for one in models), threshold=threshold)
    scores = {name: _scores(rows, predictor, which, means[which], own=run.plan.metric) for name, which in held.items()}
    facts = {"plan": run.plan.to_json(), "scores": scores, "file_columns": list(rows.file_columns)}
    columns = out_of_fold(rows, opened.sets, means, predictor) if of_folds else None
    finished = Run(
        predictor=replace(predictor, facts=facts),
        plan=run.plan,
        history=History({"model": k, **record} for k, one in enumerate(models, 1) for record in one.history),
        ending=Ending(StopReason.MODELS, {"models": len(models)}),
        scores=scores,
        baselines=baselines(_rows_of_baselines(opened, run, held), predictor.loss.levels),
        resolved={**facts_of(rows), **resolved, **_together(models)},
        seconds=sum(one.said["seconds"] for one in models),
        widening=predictor.widening,
        threshold=threshold,
        models=tuple(one.said for one in models),
        out_of_fold=columns,
        folder=run.folder,
        notices=tuple(dict.fromkeys([*rows.notices, *(notice for one in models for notice in one.notices), *said])),
    )
    if run.folder is not None:
        files = {}
        if columns is not None:
            write_out_of_fold(run.folder / OUT_OF_FOLD, columns)
            files = {OUT_OF_FOLD: file_digest(run.folder / OUT_OF_FOLD)}
        finished.save(run.folder / MODEL)
        write_card(finished)
        write_result(run.folder, finished.summary(), files=files)
    return finished


def _cut(
    run: TableRun, held: Mapping[str, IntArray], means: NDArray[np.float64]
) -> tuple[Threshold | None, tuple[str, ...]]:
    """The threshold of the mean, by what each row out of fold, or else each validation row, is predicted to be."""
    rows, sets, metric = run.rows, run.rows.sets, run.plan.threshold_for
    if metric is None:
        return None, ()
    by = held.get("out_of_fold", held.get("validation"))
    if by is None:
        return None, (NONE_TO_CHOOSE_BY,)
    rarer = rarer_class(rows.y, by if "out_of_fold" in held else sets.training)
    return chosen(metric, means[by], rows.y[by], None if rows.w is None else rows.w[by], rarer=rarer)


def _scores(
    rows: TableRows, predictor: Ensemble, held: IntArray, means: NDArray[np.float64], *, own: Any
) -> dict[str, float]:
    loss, names = predictor.loss, rows.target.names if len(rows.target.names) > 1 else ()
    how: dict[str, Any] = {"levels": loss.levels, "threshold": predictor.threshold, "names": names}
    scores = scorer(loss.kind, max(2, len(rows.target.classes)), **how)
    scores.add(means, rows.y[held], None if rows.w is None else rows.w[held])
    found = scores.result()
    if not isinstance(own, OwnMetric):
        return found
    owned = OwnScorer(own, kind=loss.kind, classes=rows.target.classes, threshold=predictor.threshold)
    owned.add(means, rows.y[held], None if rows.w is None else rows.w[held])
    return found | owned.result()


def _rows_of_baselines(
    opened: Opened, run: TableRun, held: Mapping[str, IntArray]
) -> Iterator[tuple[TableRows, IntArray]]:
    """Rows to learn a dumb model from and those to score it on: each row, as the mean does, by a model not trained on it."""
    rows, sets = run.rows, run.rows.sets
    if "test" in held:
        known = np.sort(np.concatenate([sets.training, sets.validation])) if run.plan.folds else sets.training
        yield replace(rows, sets=replace(sets, training=known)), sets.test
    elif "out_of_fold" in held:
        for fold in opened.sets:
            yield encode_rows(opened, run.plan, sets=fold), fold.validation
    elif "validation" in held:
        yield rows, sets.validation


def _together(models: list[One]) -> dict[str, Any]:
    """Updates, rows and passes of all models."""
    return {
        "models": len(models),
        "steps_done": sum(one.said["steps"] for one in models),
        "rows_seen": sum(one.history["rows_seen"][-1] for one in models),
        "epochs_done": round(sum(one.said["epochs"] for one in models), 6),
        "best_step": None,
    }
