"""Arrays of every make are their numbers, column by column, or one sentence; what is masked or missing is never a number.

The expected numbers are lists written out by hand, beside whatever holds them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from torch import nn

import mbgd
from mbgd import DataError
from mbgd.data.table import open_table
from mbgd.data.tensors import as_tensor

A, B, WHOLE = [1.5, 2.0, 3.0, 4.0], [True, False, True, True], [1, 2, 1, 2]
N = len(A)
RUNS = pa.RunEndEncodedArray.from_arrays(pa.array([2, 4]), pa.array([1.5, 2.0]))
CODED = pa.array(WHOLE).dictionary_encode()
BITS = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, 1, 1], pa.int8()))


def arrow_backed(values: pa.Array) -> pd.Series:
    return pd.Series(pd.arrays.ArrowExtensionArray(values))


COLUMNS: dict[str, tuple[Any, list[Any]]] = {  # one column, however it is held -> its numbers
    "masked, nothing is": (np.ma.array(A, mask=False), A),
    "a list of masked": ([np.ma.array(value) for value in A], A),
    "bfloat16": (torch.tensor(A).bfloat16(), A),
    "float8": (torch.tensor(A).to(torch.float8_e5m2), A),
    "run ends": (RUNS, [1.5, 1.5, 2.0, 2.0]),
    "chunks of run ends": (pa.chunked_array([RUNS]), [1.5, 1.5, 2.0, 2.0]),
    "a dictionary of numbers": (CODED, WHOLE),
    "an extension": (BITS, B),
    "decimals of Arrow": (pa.array(WHOLE).cast(pa.decimal128(25, 1)), WHOLE),
    "decimals of polars": (pl.Series(WHOLE).cast(pl.Decimal(10, 2)), WHOLE),
    "Int64": (pd.Series(WHOLE, dtype="Int64"), WHOLE),
    "Float64": (pd.Series(A, dtype="Float64"), A),
    "boolean": (pd.Series(B, dtype="boolean"), B),
    "pandas by Arrow": (pd.Series(A, dtype="double[pyarrow]"), A),
    "pandas by Arrow, a dictionary": (arrow_backed(CODED), WHOLE),
    "pandas by Arrow, run ends": (arrow_backed(RUNS), [1.5, 1.5, 2.0, 2.0]),
    "categories that are numbers": (pd.Series(WHOLE).astype("category"), WHOLE),
    "numbers in objects": (pd.Series(A, dtype=object), A),
    "polars": (pl.Series(B), B),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_any_make_is_its_numbers_in_arrays_and_tables(name: str) -> None:
    held, wanted = COLUMNS[name]
    assert as_tensor(held, "X").tolist() == wanted
    table = open_table({"c": held}).column("c").to_pylist()
    assert [float(value) for value in table] == [float(value) for value in wanted]


FRAMES: dict[str, tuple[Any, list[list[float]]]] = {
    "truth beside floats": (pd.DataFrame({"a": A, "b": B}), [[1.5, 1], [2, 0], [3, 1], [4, 1]]),
    "whole beside floats": (pd.DataFrame({"a": A, "b": WHOLE}), [[1.5, 1], [2, 2], [3, 1], [4, 2]]),
    "nullable": (pd.DataFrame({"a": A, "b": B}).convert_dtypes(), [[1.5, 1], [2, 0], [3, 1], [4, 1]]),
    "Int64 beside a float": (
        pd.DataFrame({"a": pd.Series(WHOLE, dtype="Int64"), "b": A}),
        [[1, 1.5], [2, 2], [1, 3], [2, 4]],
    ),
    "polars": (pl.DataFrame({"a": A, "b": B}), [[1.5, 1], [2, 0], [3, 1], [4, 1]]),
    "Arrow": (pa.table({"a": RUNS, "b": CODED, "c": BITS}), [[1.5, 1, 1], [1.5, 2, 0], [2, 1, 1], [2, 2, 1]]),
    "a record batch": (pa.RecordBatch.from_pydict({"a": A, "b": B}), [[1.5, 1], [2, 0], [3, 1], [4, 1]]),
    "one name twice": (pd.DataFrame(np.ones((N, 2)), columns=["a", "a"]), [[1, 1]] * N),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_of_numbers_is_one_array_by_every_door(name: str) -> None:
    frame, wanted = FRAMES[name]
    tensor = as_tensor(frame, "X")
    assert tensor.tolist() == wanted
    model = nn.Linear(tensor.shape[1], 1)
    run = mbgd.fit(model, (frame, pd.Series(A)), loss="squared_error", learning_rate=0.1, epochs=1)
    np.testing.assert_array_equal(run.predict(frame), run.predict(np.array(wanted, np.float32)))
    (batch,) = (x for x, _ in mbgd.batches((frame, A), batch_size=9, sampling="natural"))
    assert batch.tolist() == wanted


def test_a_frame_of_one_type_shares_its_memory() -> None:
    held = np.zeros((N, 2))
    assert as_tensor(held, "X").data_ptr() == held.ctypes.data
    assert as_tensor(pl.DataFrame({"a": WHOLE, "b": WHOLE}), "X").dtype == torch.int64


MASK = [False, True, False, True]
GAPS: dict[str, Any] = {
    "masked": np.ma.array(A, mask=MASK),
    "masked whole numbers": np.ma.array(WHOLE, mask=MASK),
    "a list with masked": [1.5, np.ma.masked, 3.0, np.ma.masked],
    "Int64": pd.Series([1, None, 1, None], dtype="Int64"),
    "boolean": pd.Series([True, None, True, None], dtype="boolean"),
    "pandas by Arrow": pd.Series([1, None, 1, None], dtype="int64[pyarrow]"),
    "categories": pd.Series([1, None, 1, None]).astype("category"),
    "polars": pl.Series([1, None, 1, None]),
    "Arrow": pa.array([1, None, 1, None]),
    "a dictionary": pa.array([1, None, 1, None]).dictionary_encode(),
}


@pytest.mark.parametrize("name", GAPS)
def test_gaps_are_missing_in_tables_and_refused_by_row_in_arrays(name: str) -> None:
    held, rows = GAPS[name], np.zeros((N, 1), np.float32)
    assert [value is None for value in open_table({"c": held}).column("c").to_pylist()] == MASK
    column = np.ma.array(held)[:, None] if isinstance(held, np.ma.MaskedArray) else held
    said = r"must have a value in every row, got (none|masked ones) in rows 1, 3 \(2 of 4\); fill them, or leave"
    words: Any = {"loss": "squared_error", "learning_rate": 0.1, "epochs": 1}
    doors: dict[str, Callable[[], Any]] = {
        "X": lambda: mbgd.fit(nn.Linear(1, 1), (column, A), **words),
        "y": lambda: mbgd.fit(nn.Linear(1, 1), (rows, held), **words),
        "weight": lambda: mbgd.fit(nn.Linear(1, 1), (rows, A, held), **words),
        "sample_weight": lambda: mbgd.fit(nn.Linear(1, 1), (rows, A), sample_weight=held, **words),
        "X of batches": lambda: mbgd.batches((held, A)),
    }
    for door, call in doors.items():
        with pytest.raises(DataError, match=rf"^{door.split()[0]} {said}") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_what_lies_under_a_mask_is_never_predicted_for() -> None:
    run = mbgd.fit(nn.Linear(1, 1), (np.ones((N, 1)), A), loss="squared_error", learning_rate=0.1, epochs=1)
    with pytest.raises(DataError, match=r"^X must have a value in every row, got masked ones in row 2 \(1 of 4\)"):
        run.predict(np.ma.array(np.ones((N, 1)), mask=[[False], [False], [True], [False]]))
    frame = pd.DataFrame({"a": pd.Series([1, None, 1, 2], dtype="Int64"), "b": A})
    with pytest.raises(DataError, match=r"^X\['a'\] must have a value in every row, got none in row 1 \(1 of 4\)"):
        mbgd.batches(frame)


def test_records_are_columns_of_a_table_and_refused_as_one_array() -> None:
    records = np.array([(1, 2.0)] * N, [("a", "i4"), ("b", "f4")])
    with pytest.raises(DataError, match=r"^X must hold numbers, got dtype .*; pass its fields as columns"):
        as_tensor(records, "X")
    assert open_table(records).column("b").to_pylist() == [2.0] * N
    half = np.ma.array(records, mask=[(False, True)] * N)
    assert open_table(half).column("b").to_pylist() == [None] * N
    assert open_table(half).column("a").to_pylist() == [1] * N
    with pytest.raises(DataError, match=r"^X must have a value in every row, got masked ones in rows 0, 1, 2, 3"):
        as_tensor(half, "X")


@pytest.mark.parametrize("gap", [None, np.nan])
def test_texts_of_numpy_are_texts_of_a_table(gap: Any) -> None:
    texts = np.array(["a", gap, "b", "a"], dtype=np.dtypes.StringDType(na_object=gap))
    assert open_table({"c": texts}).column("c").to_pylist() == ["a", None, "b", "a"]
    assert open_table({"c": texts[::2].astype(np.dtypes.StringDType())}).column("c").to_pylist() == ["a", "b"]
    for data in ((texts, A), (A, texts)):
        with pytest.raises(DataError, match=r"must hold numbers, got dtype StringDType"):
            mbgd.batches(data)


def quantised() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is about to give them up
        return torch.quantize_per_tensor(torch.tensor(A), 0.1, 0, torch.qint8)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "quantised": (quantised, r"X must hold plain numbers, got torch.qint8; pass X.dequantize\(\)"),
    "meta": (lambda: torch.ones(N, device="meta"), "X must be a tensor with one value in each place, got one with no"),
    "bits": (
        lambda: torch.ones(N, dtype=torch.uint8).view(torch.bits8),
        "X must hold numbers that torch computes with",
    ),
    "text of Arrow": (lambda: pa.array(["a"] * N), "X must hold numbers, got string; convert it"),
    "lists of Arrow": (lambda: pa.array([[1]] * N), "X must hold numbers, got list"),
    "objects": (lambda: pd.Series([object()] * N), "X must hold numbers, got dtype object; convert it"),
    "tensors of several lengths": (
        lambda: [torch.ones(1), torch.ones(2)],
        "X must have rows of one shape, got list of",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_numbers_is_one_sentence(name: str) -> None:
    make, said = REFUSED[name]
    with pytest.raises(DataError, match=f"^{said}") as caught:
        as_tensor(make(), "X")
    assert "\n" not in str(caught.value)
    if isinstance(make(), torch.Tensor):
        with pytest.raises(DataError, match=r"^column 'c' must be a dense tensor of plain numbers, got "):
            open_table({"c": make()})


def test_periods_and_intervals_that_arrow_holds_are_those_of_pandas() -> None:
    frame = pd.DataFrame({"p": pd.period_range("2024-01", periods=N, freq="M"), "i": pd.cut(A, 2), "a": A})
    ours, theirs = open_table(pa.Table.from_pandas(frame)), open_table(frame)
    for name in "pia":
        assert ours.column(name).to_pylist() == theirs.column(name).to_pylist()
