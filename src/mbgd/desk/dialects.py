"""The CSV dialect of a plan's files, and that of the files a trained model is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mbgd.data.files import Dialect


def dialect_of(plan: Any) -> Dialect:
    """How the CSV files of a plan are written. Raises PlanError where they cannot be written so."""
    return Dialect(plan.delimiter, plan.header, plan.columns, plan.comment)


def dialect_of_model(facts: Mapping[str, Any], targets: tuple[str, ...]) -> Dialect:
    """Of files for a model: without a header their cells have the names of training, with or without the targets."""
    plan, columns = facts.get("plan") or {}, tuple(facts.get("file_columns") or ())
    known = (columns, tuple(name for name in columns if name not in targets)) if columns else ()
    header, usual = plan.get("header", True), Dialect(plan.get("delimiter")).separator or None
    return Dialect(header=header, comment=plan.get("comment"), known=known, usual=usual)
