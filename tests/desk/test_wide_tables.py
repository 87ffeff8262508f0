"""Columns are found in constant time: four times as many take four times the calls and looks at names, and not sixteen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mbgd
from mbgd.cli import run as command
from mbgd.data import table as tables
from mbgd.data.table import Table
from mbgd.data.table_file import Columns

SIZES = [(100, 400), pytest.param((500, 2_000), marks=pytest.mark.slow)]
AT_MOST = 4.6  # times as many calls for four times the columns: what is the same for both makes it less, sorting more


class Counted(tuple):  # type: ignore[type-arg]
    """Names that count how often one of them is looked at."""

    looks = 0

    def __contains__(self, name: object) -> bool:
        Counted.looks += len(self)
        return super().__contains__(name)

    def __iter__(self) -> Iterator[Any]:
        Counted.looks += len(self)
        return super().__iter__()

    def index(self, *of: Any) -> int:
        Counted.looks += len(self)
        return super().index(*of)


@pytest.fixture(autouse=True)
def counted_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of tables, and of the columns of files, are `Counted`."""
    whole = tables.columns_of

    def columns_of(file: Any) -> Columns:
        found = whole(file)
        return Columns(Counted(found.names), found.unused, found.notices, found.has_header)  # type: ignore[arg-type]

    monkeypatch.setattr(tables, "columns_of", columns_of)
    monkeypatch.setattr(Table, "names", property(lambda self: Counted(self.arrow.column_names)))


@contextmanager
def counting(counts: list[int]) -> Iterator[None]:
    """Calls of Python's functions and of C's, and looks at names."""
    calls, Counted.looks = 0, 0

    def count(frame: Any, event: str, of: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)
        counts += [calls, Counted.looks]


def wide(folder: Path, columns: int, rows: int = 40) -> Path:
    """A third each of numbers, labels, and whole numbers; the first is the target."""
    path = folder / f"{columns}.csv"
    if not path.exists():
        rng = np.random.default_rng(0)
        kinds = [rng.standard_normal(rows).round(3), rng.choice(["red", "green"], rows), rng.integers(0, 9, rows)]
        pd.DataFrame({f"c{i}": np.roll(kinds[i % 3], i) for i in range(columns)}).to_csv(path, index=False)
    return path


def grows_with_the_columns(few: int, many: int, do: Callable[[int], object]) -> None:
    counts: dict[int, list[int]] = {few: [], many: []}
    do(few)  # what is made once is made before
    for columns, into in counts.items():
        with counting(into):
            do(columns)
    for one, other in zip(*counts.values(), strict=True):
        assert other <= AT_MOST * one, counts


@pytest.mark.parametrize("n", SIZES)
def test_inspect(tmp_path: Path, capfd: pytest.CaptureFixture[str], n: tuple[int, int]) -> None:
    def inspect(columns: int) -> None:
        assert command(["inspect", str(wide(tmp_path, columns)), "--target", "c0"]) == 0

    grows_with_the_columns(*n, inspect)


@pytest.mark.parametrize("n", SIZES)
def test_train_predict_one_row_and_export(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], n: tuple[int, int]
) -> None:
    pytest.importorskip("onnx")
    runs = {columns: tmp_path / f"run-{columns}" for columns in n}
    words = ("--target", "c0", "--epochs", "1", "--quiet", "--hidden-layer-sizes", "4", "--force")

    def train(columns: int) -> None:
        assert command(["train", str(wide(tmp_path, columns)), *words, "--out", str(runs[columns])]) == 0

    def predict(columns: int) -> None:
        out = str(tmp_path / "p.csv")
        assert command(["predict", str(runs[columns]), str(wide(tmp_path, columns)), "--out", out, "--force"]) == 0

    def predict_one(columns: int) -> None:
        row = pd.read_csv(wide(tmp_path, columns)).iloc[0].to_dict()
        mbgd.load_light(runs[columns]).predict_one(row)

    def export(columns: int) -> None:
        assert command(["export", str(runs[columns]), str(tmp_path / "m.onnx"), "--force"]) == 0

    grows_with_the_columns(*n, train)
    train(n[1])
    for do in (predict, predict_one, export):
        grows_with_the_columns(*n, do)


def test_thousands_of_columns_that_are_left_out_or_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def inspect(columns: int) -> None:
        drop = [word for i in range(1, columns - 3, 2) for word in ("--drop", f"c{i}")]
        named = [word for i in range(2, columns, 6) for word in ("--categorical", f"c{i}")]
        assert command(["inspect", str(wide(tmp_path, columns)), "--target", "c0", *drop, *named]) == 0

    grows_with_the_columns(100, 400, inspect)
