"""Read the text of a cell: the words that mean missing, numbers and truth values; and what a message offers instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from mbgd.errors import PlanError, is_utf8, option

BLANKS = " \t\n\r\v\f\u00a0\u2007\u202f\ufeff"
"""What may stand around the text of a cell, and is no part of it."""
NA_WORDS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "?", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
QUESTIONABLE = frozenset({"N/A", "NA", "NULL", "None", "n/a", "null"})  # of these, words that are labels in some tables
MOST_CHARACTERS = 30_000  # of all words for missing: as many nodes as Arrow's tree of them may have, or fewer
TRUTH = {"true": 1, "false": 0}
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"\+?(-?[0-9]+)(\.0*)?")
_EXACT = 18  # digits of a whole number that is read as one
Door = Literal["training", "model", "estimator"]


@dataclass(frozen=True)
class Cells:
    """How the cells of a table are read: `missing` are the words for a missing value, an empty cell always being one.

    `door` is who asks, for the remedies that exist there: a training, a trained model, or an estimator. `targets` are the
    columns to predict, and `labels` those whose text is kept as it stands, whatever it looks like; columns that are
    `carried` along are not read at all.
    """

    missing: tuple[str, ...] = NA_WORDS
    door: Door = "training"
    targets: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises PlanError for words that are no text, or too long together: Arrow's tree of them ends the process then."""
        if wrong := [word for word in self.missing if not is_utf8(word)]:
            raise PlanError(
                f"na_values must be words that a file can hold, got {wrong[0]!r}, which is no Unicode; leave it out"
            )
        size = sum(map(len, self.missing))
        if size > MOST_CHARACTERS:
            raise PlanError(
                f"na_values must have at most {MOST_CHARACTERS:,} characters in all, got {size:,}; empty such cells in the file"
            )

    @cached_property
    def missing_numbers(self) -> frozenset[float]:
        """Those of the words that are numbers, by their value: a column of numbers may hold them in any spelling."""
        return frozenset(float(word) for word in self.missing if _NUMBER.fullmatch(word))

    def instead(self, name: str) -> str:
        """What to do where a cell of the column is not what it has to be."""
        if self.door == "model":
            return "correct the cell, or leave it empty: the model knows the column by what it was in training"
        if self.door == "estimator":
            return f"correct the cell, or make labels of the column: X.astype({{{name!r}: 'category'}})"
        if name in self.targets:
            return f"correct the cell, or predict labels: {option('task', 'classification')}"
        return f"correct the cell, or read the column as text: {option('categorical', name)}"


def missing_words(na_values: Iterable[str] = (), *, keep_default_na: bool = True) -> tuple[str, ...]:
    """The words that mean missing, as pandas' arguments of these names choose them; an empty cell is always among them."""
    return tuple(
        dict.fromkeys(["", *(NA_WORDS if keep_default_na else ()), *(word.strip(BLANKS) for word in na_values)])
    )


def saved_words(saved: Sequence[str] | None, labels: Iterable[str]) -> tuple[str, ...]:
    """The words of a saved encoder; of one from before they were saved the usual ones, but those that it has as labels."""
    known = {*labels}
    return tuple(saved) if saved is not None else tuple(word for word in NA_WORDS if word not in known)


def number(text: str) -> float | int | None:
    """The number that a text without blanks around it is, or None; whole numbers of many digits stay exact."""
    if _NUMBER.fullmatch(text) is None:
        return None
    whole = _WHOLE.fullmatch(text)
    return int(whole[1]) if whole is not None and len(whole[1]) <= _EXACT + 1 else float(text)


def without_point(text: str) -> str:
    """'3' for '3.0' and '3.', as a whole number is written in a column of such; any other text as it is."""
    whole = _WHOLE.fullmatch(text)
    return text if whole is None else whole[1]
