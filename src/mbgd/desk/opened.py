"""A table's rows with their targets and the sets they belong to, before anything is learned from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbgd.data import manifest
from mbgd.data.cells import Cells, missing_words
from mbgd.data.concat import plain_type
from mbgd.data.encode.target import Target, task_said
from mbgd.data.encode.targets import Targets, have_targets, learn_targets
from mbgd.data.table import Table, open_table
from mbgd.data.text import is_text
from mbgd.desk.dialects import dialect_of
from mbgd.desk.plan import Plan
from mbgd.desk.predictor import Predictor
from mbgd.desk.sets import Sets, folded, split
from mbgd.desk.suits import check_asked, check_words
from mbgd.errors import DataError, PlanError, argument, option

OFTEN = 0.05  # share of a column's cells from which a word for missing is asked about


@dataclass(frozen=True)
class Opened:
    """A table, the validation and the test file, where there are such, one behind the other; rows without a target have left.

    `sets` are those of the one model, or of each fold's.
    """

    parts: tuple[Table, ...]
    y: tuple[NDArray[Any], ...]
    target: Target | Targets
    sets: tuple[Sets, ...]
    notices: tuple[str, ...]
    manifest: dict[str, Any]


def open_rows(
    data: Any, plan: Plan, *, init: Predictor | None = None, as_before: Mapping[str, Any] | None = None
) -> Opened:
    """Open, check and split. `init` is the model whose weights are taken over: its target is kept."""
    if plan.target is None:
        raise PlanError(f"target must name the column to predict, got none; give {option('target', 'COLUMN')}")
    check_words(plan)
    cells = cells_of(plan)
    table = open_table(data, dialect=dialect_of(plan), numeric=plan.numeric, categorical=plan.categorical, cells=cells)
    said = manifest.describe(table, as_before=as_before)
    others = {name: _other(name, plan, like=table) for name in ("validation", "test")}
    _check_once({"data": table, **{name: other for name, other in others.items() if other is not None}})
    before = {name: as_before.get(name) if isinstance(as_before, Mapping) else None for name in others}
    said |= {
        name: manifest.describe(other, as_before=before[name]) for name, other in others.items() if other is not None
    }
    if as_before is not None:
        manifest.check(as_before, said)
    free = plan.loss is None and not plan.quantiles  # else floats are the numbers that these are about
    gaps = [name for name in plan.targets if free and not have_targets(table, (name,)).all()]
    questions = tuple(_questions(table, plan))
    table, notices = _with_target(table, plan.targets)
    files = [None if other is None else _with_target(other, plan.targets)[0] for other in others.values()]
    parts = (table, *(file for file in files if file is not None))
    target = (None if init is None else init.target) or learn_targets(table, plan.targets, task=plan.task, gaps=gaps)
    check_asked(plan, target)
    each = target.each if isinstance(target, Targets) else (target,)
    notices = (*(task_said(table, one, asked=plan.task is not None) for one in each), *notices, *questions)
    y: tuple[NDArray[Any], ...] = tuple(target.encode(part) for part in parts)
    labels = y[0] if target.classes else None
    sets = _with_files(split(table, plan, labels=labels), table, files)
    if plan.refit and not len(sets.validation):
        raise PlanError("refit needs validation rows to take in, got none; give validation=0.1, or leave refit out")
    notices = (*table.notices, *notices)
    return Opened(parts, y, target, folded(table, plan, sets, labels=labels), notices, said)


def cells_of(plan: Plan) -> Cells:
    """How the plan reads text: of a target of classes as it stands."""
    missing = missing_words(plan.na_values, keep_default_na=plan.keep_default_na)
    return Cells(missing, targets=plan.targets, labels=plan.targets if plan.task == "classification" else ())


def _questions(table: Table, plan: Plan) -> Iterator[str]:
    """A sentence for each column of text, and the target, in which many cells hold a word that may be a label, or missing."""
    for name, words in table.words.items():
        labels = name in plan.targets or is_text(plain_type(table.column(name).type))
        for word, rows in words.items():
            if labels and rows >= OFTEN * table.n_rows and name not in plan.drop:
                yield (
                    f"{word!r} stands in {rows:,} of {table.n_rows:,} rows of {name} and is read as missing; if it is "
                    f"a label, {argument('keep_default_na', 'False')} keeps it"
                )


def _check_once(tables: Mapping[str, Table]) -> None:
    """Test rows choose nothing, so no file may be in two of the sets, or twice in one."""
    seen: dict[Path, str] = {}
    for name, path in ((name, path) for name, table in tables.items() for path in table.files):
        if (before := seen.get(path.resolve())) is not None:
            where = f"twice in {name}" if before == name else f"as {before} and as {name}"
            raise DataError(f"{path}: the file is named {where}, and its rows may be in one set alone; name it once")
        seen[path.resolve()] = name


def _with_target(table: Table, targets: tuple[str, ...]) -> tuple[Table, tuple[str, ...]]:
    there = have_targets(table, targets)
    missing = int((~there).sum())
    if not missing:
        return table, ()
    return table.take(np.flatnonzero(there)), (left_out(missing, targets),)


def left_out(rows: int, targets: tuple[str, ...]) -> str:
    """A sentence on rows that have no target."""
    without = f"without {' or '.join(targets)}"
    return f"1 row {without} is left out" if rows == 1 else f"{rows:,} rows {without} are left out"


def _other(name: str, plan: Plan, *, like: Table) -> Table | None:
    """The rows of a validation or test file, its CSV columns typed as the table's, or None where there is no file."""
    given = getattr(plan, name)
    if given is None or isinstance(given, float):
        return None
    if not isinstance(given, str):
        raise PlanError(
            f"{name} must be a share or a file with fit_table, got {type(given).__name__}; write it to a file, "
            "or mark its rows in a column: split='column:COLUMN'"
        )
    if given == "none":
        return None
    forced = {"numeric": plan.numeric, "categorical": plan.categorical, "schema_like": like.kinds(besides=plan.targets)}
    return open_table(given, dialect=dialect_of(plan), cells=like.cells, **forced)


def _with_files(sets: Sets, table: Table, files: list[Table | None]) -> Sets:
    """Rows of a validation file come behind those of the table, rows of a test file behind both."""
    at = table.n_rows
    for name, other in zip(("validation", "test"), files, strict=True):
        if other is not None:
            sets = replace(sets, **{name: np.arange(at, at + other.n_rows, dtype=np.int64)})
            at += other.n_rows
    return sets
