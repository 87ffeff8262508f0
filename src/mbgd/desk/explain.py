"""Explain a trained model of a table: what its columns are worth, what they do, and what they add to each row."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.data.encode.target import Target, has_target
from mbgd.data.files import Dialect
from mbgd.data.order import IntArray
from mbgd.data.powers import powers, scaled
from mbgd.data.table import Table, open_table
from mbgd.desk.asked import Asked
from mbgd.desk.bounds import Names, Whole, check
from mbgd.desk.ensemble import Ensemble, Predicting
from mbgd.desk.explanation import Dependence, Explanation, Importance, RowContributions
from mbgd.desk.folder import read_plan
from mbgd.desk.load import load_table
from mbgd.desk.opened import left_out
from mbgd.desk.predictor import Predictor
from mbgd.desk.result import Run
from mbgd.desk.run_files import PLAN
from mbgd.desk.tables import places
from mbgd.errors import PlanError, did_you_mean, listed, plain
from mbgd.forks import after_fork
from mbgd.measure.contributions import contributions
from mbgd.measure.dependence import dependence, rows_at_quantiles, rows_of_labels
from mbgd.measure.exchange import Inputs
from mbgd.measure.importance import Interval, circles, interval, rises
from mbgd.measure.metrics import scorer
from mbgd.measure.together import pairs_together
from mbgd.seeds import Purpose, hash_rows

MOST_ROWS, LEAST_ROWS = 20_000, 1_000  # that importance is measured on, where there are so many
MOST_PREDICTIONS = (
    4_000_000  # rows x columns x repeats x models: a wide table takes fewer rows, and seconds all the same
)
DEPENDENCE_ROWS, BACKGROUND_ROWS = 2_000, 200
MOST_COLUMNS = 5  # whose dependence is found, where none is named
MOST_VALUES = 20  # of a column, that its dependence is found at
TOGETHER = 0.9  # correlation of ranks from which two columns share what they know
MOST_PAIRS, MOST_COMPARED = 3, 500  # pairs that are named, columns that are compared


@after_fork()
def explain(
    model: Run | Predicting | str | os.PathLike[str],
    data: Any,
    *,
    columns: Sequence[str] = (),
    rows: int = 10,
    repeats: int = 5,
    seed: int = 0,
    delimiter: str | None = None,
    header: bool | None = None,
    comment: str | None = None,
) -> Explanation:
    """What each column is worth to a model of a table, what it does, and what it adds to the prediction of single rows.

    model: a run, a predictor, a run folder or a model file, of one number, classes or quantiles, which are explained by what
    `predict` makes of them: the median. data: rows that it can predict, best ones it has not seen.
    `importance`: by how much the loss rises when a column is shuffled among the rows, `repeats` times, with 95 %
    intervals; where the data has no target, how far the predictions move. `dependence`: mean predictions with a column
    set to each of some values, of the five most important columns; of `columns`, if given, which alone are measured then.
    `contributions`: of the first `rows` rows, Shapley values against background rows of the same data. All chance is a
    function of `seed`. `delimiter`, `header` and `comment` say how a CSV file is written, as in `fit_table`, where it is not as
    in training. Raises PlanError, DataError, SavedFileError.
    """
    rows, repeats, seed = (
        int(check(Whole(least), name, value, hint=f"{usual} is usual"))
        for name, value, least, usual in (("rows", rows, 0, 10), ("repeats", repeats, 1, 5), ("seed", seed, 0, 0))
    )
    predictor = _predictor(model)
    chosen = _chosen(columns, predictor)
    dialect = predictor.dialect.but(delimiter=delimiter, header=header, comment=comment)
    asked = Asked(predictor, _opened(predictor, data, dialect=dialect))
    asked.check()
    sample, y, notices = _sample(asked, columns=len(chosen or asked.columns), repeats=repeats, seed=seed)
    inputs = asked.inputs(sample)
    names = chosen or list(asked.columns)
    importance, scores = _importance(asked, inputs, y, columns=names, repeats=repeats, seed=seed)
    said_most = chosen or [found.column for found in importance[:MOST_COLUMNS]]
    few, background = (inputs.take(np.arange(min(n, len(inputs)))) for n in (DEPENDENCE_ROWS, BACKGROUND_ROWS))
    return Explanation(
        target=asked.target.name,
        explained=asked.explained,
        classes=asked.target.classes,
        rows=asked.table.n_rows,
        measured_rows=len(inputs),
        dependence_rows=len(few),
        background_rows=len(background),
        repeats=repeats,
        against="predictions" if y is None else "target",
        scores=scores,
        importance=importance,
        dependence=tuple(_dependence(asked, sample, inputs, few=few, column=name) for name in said_most),
        contributions=_contributions(asked, background, rows=min(rows, asked.table.n_rows), seed=seed),
        notices=tuple(
            map(
                plain,
                (*notices, *_of_quantiles(asked), *_trained_on(model, data), *_together(asked, sample[: len(few)])),
            )
        ),
    )


def _opened(predictor: Predicting, data: Any, *, dialect: Dialect) -> Table:
    return open_table(data, dialect=dialect, schema_like=predictor.schema, cells=predictor.cells)


def _predictor(model: Any) -> Predicting:
    predictor: Any = model.predictor if isinstance(model, Run) else model
    if isinstance(model, str | os.PathLike):
        predictor = load_table(model)
    if not isinstance(predictor, Predictor | Ensemble):
        given = type(model).__name__
        raise PlanError(f"model must be a run, a predictor or the path of one, got {given}; fit_table makes one")
    if predictor.encoder is None:
        raise PlanError("model must be one of a table, got one whose inputs have no names; fit_table makes one")
    if not isinstance(predictor.target, Target):
        raise PlanError(
            "model must predict one number or classes to be explained, got one of several targets; train one for it"
        )
    return predictor


def _chosen(columns: Sequence[str], predictor: Predicting) -> list[str]:
    known = list(predictor.columns)
    chosen = list(dict.fromkeys(check(Names(many=True), "columns", columns, hint="leave it out for all")))
    for name in chosen:
        if name not in known:
            near = did_you_mean(name, known) or f"; it has {listed(known)}"
            raise PlanError(f"column must be an input of the model, got {name!r}{near}")
    return chosen


def _sample(
    asked: Asked, *, columns: int, repeats: int, seed: int
) -> tuple[IntArray, NDArray[Any] | None, tuple[str, ...]]:
    """(rows in an order of chance, their targets, notices); without targets in the data any rows, and None."""
    target, table = asked.target, asked.table
    there = has_target(table, target.name) if target.name in table.names else np.zeros(table.n_rows, dtype=bool)
    notices = []
    with_target = int(there.sum()) >= 2
    if not with_target:
        there = np.ones_like(there)
        notices.append(f"the data has no {target.name}: importance is how far predictions move, not what scores lose")
    elif not there.all():
        notices.append(f"{left_out(int((~there).sum()), target.names)}, but for contributions")
    possible = np.flatnonzero(there).astype(np.int64)
    rows = possible[np.argsort(hash_rows(possible, seed=seed, purpose=Purpose.SAMPLE), kind="stable")]
    most = min(MOST_ROWS, max(LEAST_ROWS, MOST_PREDICTIONS // (columns * repeats * len(asked.models))))
    if len(rows) > most:
        notices.append(f"importance is measured on {most:,} of {len(rows):,} rows, drawn by the seed")
    rows = rows[:most]
    return rows, target.encode(table.take(rows)) if with_target else None, tuple(notices)


def _importance(
    asked: Asked, inputs: Inputs, y: NDArray[Any] | None, *, columns: list[str], repeats: int, seed: int
) -> tuple[tuple[Importance, ...], dict[str, float]]:
    """(importance of columns, the greatest first, scores of the rows as they are)."""
    outputs_NK = asked.outputs(inputs)
    wanted = outputs_NK[:, 0] if y is None else y
    power = np.zeros((), np.int64) if asked.target.classes else powers(wanted - wanted.mean())
    loss_of = asked.losses(y, inputs, power=power)
    losses_N = loss_of(inputs)
    unit_N = None if asked.target.classes else np.square(scaled(wanted - wanted.mean(), -power))
    donors_RN = circles(len(inputs), repeats=repeats, seed=seed)
    found = []
    places = {name: place for place, name in enumerate(inputs.names)}
    for name in columns:
        place = places[name]
        rises_RN = rises(loss_of, inputs, column=place, donors_RN=donors_RN, losses_N=losses_N)
        r2 = None if unit_N is None else interval(rises_RN, donors_RN, unit_N=unit_N)
        rise = interval(rises_RN, donors_RN)
        loss = Interval(*scaled(astuple(rise), 2 * power).tolist())
        found.append((rise.estimate, Importance(name, asked.columns[name], loss, r2)))
    ordered = tuple(one for _, one in sorted(found, key=lambda each: -each[0]))
    if y is None:
        return ordered, {}
    kind = "regression" if asked.of_quantiles else asked.predictor.loss.kind
    scores = scorer(kind, max(2, len(asked.target.classes)))
    scores.add(outputs_NK, y)
    return ordered, scores.result()


def _dependence(asked: Asked, sample: IntArray, inputs: Inputs, *, few: Inputs, column: str) -> Dependence:
    """Mean predictions of few rows with a column set to each of some values that rows of the sample have."""
    place, kind = inputs.names.index(column), asked.columns[column]
    if kind == "category":
        donors = rows_of_labels(asked.codes(column, sample), most=MOST_VALUES)
    else:
        order = asked.order(column, sample)
        missing = np.flatnonzero(np.isnan(order))[:1]  # one stands for all
        donors = np.concatenate([rows_at_quantiles(order, most=MOST_VALUES), missing])
    means_GK = dependence(asked.outputs, few, column=place, donors=inputs.take(donors))
    means = means_GK[:, 0] if means_GK.shape[1] == 1 else means_GK
    return Dependence(column, kind, asked.values(column, sample[donors]), means)


def _contributions(asked: Asked, background: Inputs, *, rows: int, seed: int) -> RowContributions:
    """Of the first rows of the data; where there are more than two classes, to the probability of each row's own."""
    inputs = asked.inputs(np.arange(rows, dtype=np.int64))
    found = contributions(asked.outputs, inputs, background, seed=seed)
    own = found.predictions.argmax(axis=1)
    each, classes = np.arange(rows), asked.target.classes
    return RowContributions(
        rows=tuple(asked.table.places.of(row)[1] for row in range(rows)),
        base=found.base[own],
        predictions=found.predictions[each, own],
        columns={name: found.columns[each, place, own] for place, name in enumerate(inputs.names)},
        found=tuple(classes[k] for k in own.tolist()) if len(classes) > 2 else (),
    )


def _of_quantiles(asked: Asked) -> Iterator[str]:
    if asked.of_quantiles:
        yield f"of the quantiles the {asked.middle_quantile} is explained, as predict says it"


def _trained_on(model: Any, data: Any) -> Iterator[str]:
    """A sentence where the rows are those that the model was trained on, as far as its folder says."""
    folder = model.folder if isinstance(model, Run) else Path(model) if isinstance(model, str | os.PathLike) else None
    if folder is None or not (folder / PLAN).exists():
        return
    then = read_plan(folder)["data"]
    if then is not None and then == places(data):
        yield "most of these rows trained the model: columns may be worth less on rows that it has not seen"


def _together(asked: Asked, rows: IntArray) -> Iterator[str]:
    """A sentence for each pair of columns that rise and fall together: shuffling one of them is half a truth."""
    ordered = [name for name, kind in asked.columns.items() if kind != "category"][:MOST_COMPARED]
    values_ND = np.stack([asked.order(name, rows) for name in ordered], axis=1) if ordered else np.empty((len(rows), 0))
    pairs = pairs_together(values_ND, at_least=TOGETHER)
    for first, second, correlation in pairs[:MOST_PAIRS]:
        yield (
            f"{ordered[first]} and {ordered[second]} move together (rank correlation {correlation:.2f}): with one "
            "shuffled, the other still tells, so that either may be worth more than it seems"
        )
    if len(pairs) > MOST_PAIRS:
        yield f"{len(pairs) - MOST_PAIRS} more pairs of columns move together"
