"""Tables drawn at random, each with its cells as values and as text, and every door by which a user may hand them over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
from hypothesis import strategies as st

N = 48
WORDS = ("red", "green", "Bergen, Norway", 'a "b"', "Ærø", "x y", "NAN", "no", "1st")
MISSING = ("", " ", "NA", "NaN", "null", "N/A", "None", "<NA>")


@dataclass(frozen=True, repr=False)
class Column:
    """One column of N rows, None where a cell is missing; `texts` are the same cells as a person may have typed them."""

    name: str
    kind: str  # what a model must take it for: number, category or date
    values: tuple[Any, ...]
    texts: tuple[str, ...]
    labels: bool = False  # whole numbers that are named as categories

    def __repr__(self) -> str:  # what a failing test prints: the forms in use, not 48 cells
        return f"{self.name}: {self.kind}{' as labels' * self.labels}, {self.gaps} gaps, {sorted(set(self.texts))[:6]}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # how Hypothesis prints
        printer.text(repr(self))

    @property
    def gaps(self) -> int:
        return sum(value is None for value in self.values)


@dataclass(frozen=True)
class DrawnTable:
    """Input columns and a target, which depends on all of them."""

    columns: tuple[Column, ...]
    target: Column

    @property
    def categorical(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.labels)

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a row, of values."""
        return [{column.name: column.values[row] for column in self.columns} for row in range(N)]

    def rows_of_text(self) -> list[dict[str, str]]:
        return [{column.name: column.texts[row] for column in self.columns} for row in range(N)]


# --- how cells are written ----------------------------------------------------------------------------------------------

NUMBERS: dict[str, Callable[[float], str]] = {
    "shortest": lambda v: repr(v).removesuffix(".0"),
    "with a point": lambda v: repr(float(v)),
    "with blanks": lambda v: f"  {v!r} ",
    "with an exponent": lambda v: f"{v:.17e}",
    "with a plus": lambda v: f"{v:+.17g}",
}
TRUTH: dict[str, tuple[str, str]] = {
    "capital": ("False", "True"),
    "small": ("false", "true"),
    "shouted": ("FALSE", "TRUE"),
}
TIMES: dict[str, Callable[[datetime], str]] = {
    "a blank": lambda t: t.isoformat(sep=" "),
    "a T": lambda t: t.isoformat(),
    "milliseconds": lambda t: t.isoformat(sep=" ", timespec="milliseconds"),
    "nanoseconds": lambda t: t.isoformat(sep=" ") + ".000000000",
}


def pick(chance: np.random.Generator, among: Sequence[Any]) -> Any:
    """One of them, each as likely: Hypothesis would mostly draw the first."""
    return among[int(chance.integers(len(among)))]


def column(name: str, chance: np.random.Generator) -> Column:
    """A column of one of the types that tables have, with its cells written in one of the ways that people write them."""
    what = pick(chance, ["fraction", "whole", "large", "label", "truth", "day", "time", "coded"])
    if what == "fraction":
        values = [float(v) for v in chance.normal(size=N).round(3)]
    elif what == "whole":
        values = [int(v) for v in chance.integers(-50, 50, N)]
    elif what == "large":
        values = [float(v) for v in (chance.normal(size=N) * 10.0 ** chance.integers(-8, 12)).astype(np.float64)]
    elif what == "label":
        words = chance.permutation(WORDS)[: chance.integers(2, 5)]
        values = [str(words[k]) for k in chance.integers(0, len(words), N)]
    elif what == "truth":
        values = [bool(v) for v in chance.random(N) > 0.4]
    elif what == "coded":
        values = [int(v) for v in chance.integers(1, 5, N)]
    else:
        step = timedelta(days=1) if what == "day" else timedelta(hours=7, minutes=13, seconds=1)
        values = [datetime(2021, 3, 1) + int(k) * step for k in chance.integers(0, 400, N)]
    texts = _written(chance, what, values)
    kind = {"label": "category", "truth": "category", "coded": "category", "day": "date", "time": "date"}.get(what)
    gaps = chance.random(N) < pick(chance, [0, 0, 0.15])
    word = pick(chance, MISSING)
    return Column(
        name,
        kind or "number",
        tuple(None if gap else value for gap, value in zip(gaps, values, strict=True)),
        tuple(word if gap else text for gap, text in zip(gaps, texts, strict=True)),
        labels=what == "coded",
    )


def _written(chance: np.random.Generator, what: str, values: list[Any]) -> list[str]:
    if what in ("fraction", "whole", "large", "coded"):
        spell = NUMBERS[pick(chance, [*NUMBERS] if what != "coded" else ["shortest", "with a point"])]
        return [spell(value) for value in values]
    if what == "truth":
        words = TRUTH[pick(chance, [*TRUTH])]
        return [words[value] for value in values]
    if what == "label":
        blanks = pick(chance, ["", " "])
        return [f"{blanks}{value}{blanks}" for value in values]
    if what == "day":
        return [value.date().isoformat() for value in values]
    write = TIMES[pick(chance, [*TIMES])]
    return [write(value) for value in values]


@st.composite
def tables(draw: Callable[[Any], Any]) -> DrawnTable:
    """One to four input columns, a fraction first so that there is something to learn, and a target of numbers or labels."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    noise = tuple(float(v) for v in chance.normal(size=N).round(3))
    inputs = [Column("first", "number", noise, tuple(map(repr, noise)))]
    inputs += [column(f"c{k}", chance) for k in range(draw(st.integers(1, 3)))]
    signal = np.array(noise)
    for one in inputs[1:]:
        ranks = {value: rank for rank, value in enumerate(sorted({v for v in one.values if v is not None}))}
        signal = signal + [ranks.get(v, -1) / max(1, len(ranks)) for v in one.values]
    if chance.random() < 0.5:
        values: tuple[Any, ...] = tuple(float(v) for v in signal.round(4))
        return DrawnTable(tuple(inputs), Column("y", "regression", values, tuple(map(repr, values))))
    names = pick(chance, [("no", "yes"), ("low", "high"), (0, 1), (False, True)])
    values = tuple(names[int(v)] for v in signal > np.median(signal))
    return DrawnTable(tuple(inputs), Column("y", "classification", values, tuple(map(str, values))))


# --- doors: a table as it is handed over --------------------------------------------------------------------------------


def pandas_of_values(columns: list[Column]) -> pd.DataFrame:
    """As a person builds it: a column with gaps is of floats, of objects, or NaT."""
    return pd.DataFrame({column.name: _series(column) for column in columns})


def _series(column: Column) -> pd.Series:
    there = [v for v in column.values if v is not None]
    if there and isinstance(there[0], datetime):
        return pd.Series(pd.to_datetime(pd.Series(column.values, dtype=object)))
    if there and type(there[0]) in (int, float) and column.gaps:
        return pd.Series([np.nan if v is None else float(v) for v in column.values])
    return pd.Series(list(column.values))


def _arrow_of_values(columns: list[Column]) -> pa.Table:
    return pa.table({column.name: pa.array(list(column.values)) for column in columns})


def _texts(columns: list[Column]) -> dict[str, list[str]]:
    return {column.name: list(column.texts) for column in columns}


def _csv_of_texts(columns: list[Column], path: Path) -> Path:
    """Quoted where it must be, as any program writes it."""
    lines = [",".join(column.name for column in columns)]
    for row in range(N):
        lines.append(",".join(_cell(column.texts[row]) for column in columns))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text


def _arrays(columns: list[Column]) -> dict[str, Any]:
    """A dict of NumPy arrays, of objects where there are gaps that no other type holds."""
    found: dict[str, Any] = {}
    for column in columns:
        series = _series(column)
        found[column.name] = series.to_numpy()
    return found


def _written_file(write: Callable[[list[Column], Path], Any], suffix: str) -> Callable[[list[Column], Path], Path]:
    def door(columns: list[Column], folder: Path) -> Path:
        path = folder / f"door{len(list(folder.iterdir()))}{suffix}"
        write(columns, path)
        return path

    return door


Door = Callable[[list[Column], Path], Any]
DOORS: Mapping[str, Door] = {
    "CSV": _written_file(_csv_of_texts, ".csv"),
    "CSV by pandas": _written_file(lambda c, path: pandas_of_values(c).to_csv(path, index=False), ".csv"),
    "CSV by polars": _written_file(lambda c, path: pl.from_arrow(_arrow_of_values(c)).write_csv(path), ".csv"),
    "Parquet": _written_file(lambda c, path: pq.write_table(_arrow_of_values(c), path), ".parquet"),
    "Parquet by pandas": _written_file(lambda c, path: pandas_of_values(c).to_parquet(path), ".parquet"),
    "Parquet of text": _written_file(lambda c, path: pq.write_table(pa.table(_texts(c)), path), ".parquet"),
    "Arrow file": _written_file(lambda c, path: pa.feather.write_feather(_arrow_of_values(c), str(path)), ".arrow"),
    "pyarrow": lambda c, folder: _arrow_of_values(c),
    "pandas": lambda c, folder: pandas_of_values(c),
    "pandas nullable": lambda c, folder: pandas_of_values(c).convert_dtypes(),
    "pandas of Arrow": lambda c, folder: pandas_of_values(c).convert_dtypes(dtype_backend="pyarrow"),
    "pandas of text": lambda c, folder: pd.DataFrame(_texts(c)),
    "pandas of objects": lambda c, folder: pd.DataFrame(_texts(c)).astype(object),
    "polars": lambda c, folder: pl.from_arrow(_arrow_of_values(c)),
    "polars of text": lambda c, folder: pl.DataFrame(_texts(c)),
    "arrays": lambda c, folder: _arrays(c),
    "lists": lambda c, folder: {column.name: list(column.values) for column in c},
    "lists of text": lambda c, folder: _texts(c),
}  # fmt: skip
