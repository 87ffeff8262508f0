"""Columns that Arrow has no plain type for: periods, intervals and extensions as times, numbers or labels."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mbgd.data.order import IntArray
from mbgd.errors import DataError

NO_ARROW = (pa.ArrowException, TypeError, ValueError, OverflowError)  # what Arrow says of values that it cannot hold
_WIDE_POLARS = {"Int128", "UInt128"}
_OF_PANDAS = {"Interval", "Period"}
_MISSING = {"NAType", "NaTType"}  # of pandas
_PLAIN = (str, bool, np.bool_, int, np.integer, float, np.floating, Decimal, date, time, timedelta)
_BITS_SHOWN = 256  # of a whole number; of a longer one its length says more


def odd_column(values: Any, *, name: str) -> pa.Array | None:
    """The column as Arrow can hold it, where Arrow alone would not; None of a column of any usual kind.

    A period of pandas is the time when it begins, and an interval its text, as '(0, 5]', also where they are the labels
    of categories; so are labels that have no one type otherwise. Raises DataError for values that are sparse, complex,
    or numbers wider than 64 bits.
    """
    _check_kind(getattr(values, "dtype", None), name=name)
    array = getattr(values, "array", values)  # what a Series or Index of pandas holds
    kind = type(getattr(values, "dtype", None)).__name__
    if kind == "PeriodDtype":
        return pa.array(np.asarray(array.to_timestamp()), from_pandas=True)
    if kind == "IntervalDtype":
        codes, labels = array.factorize()
        return _coded(codes, _texts(labels))
    if kind != "CategoricalDtype":
        return None
    labels = array.categories
    if type(labels.dtype).__name__ == "PeriodDtype":
        return _coded(array.codes, odd_column(labels, name=name))
    return None if _is_plain(labels) else _coded(array.codes, _texts(labels))


def plain_arrow(column: Any, *, name: str = "") -> Any:
    """An Arrow column without what only describes it: run ends spelt out, an extension type as what it stores, the periods
    and intervals of pandas as `odd_column` reads them; any other, and what stores bytes or nested values, as it is."""
    while True:
        kind = column.type
        if pa.types.is_run_end_encoded(kind):
            column = pc.run_end_decode(column)
        elif pa.types.is_dictionary(kind) and _name_of(kind.value_type):
            chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
            column = pa.chunked_array([chunk.dictionary_decode() for chunk in chunks], kind.value_type)
        elif _name_of(kind).startswith("pandas."):
            return odd_column(column.to_pandas(), name=name)
        elif isinstance(kind, pa.BaseExtensionType) and not _has_no_text(kind.storage_type):
            column = column.cast(kind.storage_type) if isinstance(column, pa.ChunkedArray) else column.storage
        else:
            return column


def _name_of(kind: pa.DataType) -> str:
    """Of an extension type; else nothing."""
    return str(getattr(kind, "extension_name", ""))


def _has_no_text(kind: pa.DataType) -> bool:
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return bool(binary or pa.types.is_nested(kind))


def odd_objects(values: Any, *, name: str) -> pa.Array | None:
    """Intervals and periods that come one by one, as a list or a column of objects, read as a column of them is; text,
    numbers, truth values and times beside each other as the text that a CSV file has of them."""
    first = next((value for value in values if type(value).__name__ in _OF_PANDAS), None)
    if first is None or type(first).__module__.split(".")[0] != "pandas":
        return _mixed(values)
    import pandas as pd

    return odd_column(pd.array(list(values)), name=name)


def _mixed(values: Any) -> pa.Array | None:
    """The text of values of several plain types; None where there is one type alone, or another one among them."""
    there = [value for value in values if value is not None and type(value).__name__ not in _MISSING]
    if len({type(value) for value in there}) < 2 or not all(isinstance(value, _PLAIN) for value in there):
        return None
    cells = (None if value is None or type(value).__name__ in _MISSING or value != value else value for value in values)  # noqa: PLR0124
    spelt = (repr(float(cell)) if isinstance(cell, float | np.floating) else cell for cell in cells)
    return pa.array([None if cell is None else str(cell) for cell in spelt], pa.large_string())


def not_arrow(values: Any, error: Exception, *, name: str) -> DataError:
    """What to say of values for which Arrow has raised an error."""
    if isinstance(error, OverflowError) and (wide := _too_wide(values)) is not None:
        shown = str(wide) if wide.bit_length() <= _BITS_SHOWN else f"one of {wide.bit_length()} bits"
        return DataError(
            f"column {name!r} must hold whole numbers of at most 64 bits, got {shown}; give them as floats, with "
            ".astype(float), or as labels, with .astype('category')"
        )
    said = (str(error) or type(error).__name__).splitlines()[0]
    return DataError(f"column {name!r} must hold values of one type that Arrow has ({said}); convert it, or drop it")


def _check_kind(dtype: Any, *, name: str) -> None:
    if type(dtype).__name__ == "SparseDtype":
        raise DataError(f"column {name!r} must be dense, got {dtype}; give its values with .sparse.to_dense()")
    if str(dtype) in _WIDE_POLARS:
        raise DataError(
            f"column {name!r} must hold numbers of at most 64 bits, got {dtype}; convert it with .cast(float)"
        )
    if not isinstance(dtype, np.dtype):
        return
    if dtype.kind == "c":
        raise DataError(f"column {name!r} must be real, got {dtype}; give its real and imaginary part")
    if dtype.kind == "f" and dtype.itemsize > 8:
        raise DataError(
            f"column {name!r} must hold numbers of at most 64 bits, got {dtype}; convert it with .astype(float)"
        )


def _too_wide(values: Any) -> int | None:
    return next((v for v in values if isinstance(v, int) and not -(1 << 63) <= v < 1 << 63), None)


def _is_plain(labels: Any) -> bool:
    """Whether Arrow has one type for all labels, and a text for each value of that type."""
    try:
        kind = pa.array(labels, from_pandas=True).type
    except UnicodeEncodeError:  # text, if not text that can be written: whoever reads it says so
        return True
    except NO_ARROW:
        return False
    return _has_text(kind)


def _has_text(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType))


def _coded(codes: IntArray, labels: pa.Array) -> pa.Array:
    codes = np.asarray(codes)
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32(), mask=codes < 0), labels)


def _texts(labels: Iterable[Any]) -> pa.Array:
    return pa.array([_text(label) for label in labels], pa.large_string())


def _text(label: Any) -> str:
    """As a label of its own type is spelt, '7' and 'true', so that a row read alone finds it; else as Python prints it."""
    try:
        scalar = pa.scalar(label)
        return str(scalar.cast(pa.large_string()).as_py() if _has_text(scalar.type) else label)
    except NO_ARROW:
        return str(label)
