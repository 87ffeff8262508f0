"""An Arrow table made from a frame of pandas, polars or pyarrow, or from a mapping of columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mbgd.data.masked import as_masked
from mbgd.data.odd_columns import NO_ARROW, not_arrow, odd_column, odd_objects, plain_arrow
from mbgd.errors import DataError

FRAME = "the data frame"


def frame_to_arrow(frame: Any) -> pa.Table:
    """The rows of any eager or lazy frame that narwhals knows, without an index; NaN is a missing value.

    Raises DataError for what is no frame, for two columns of one name and for a column of mixed types.
    """
    if isinstance(frame, pa.RecordBatch):
        frame = pa.Table.from_batches([frame])
    if isinstance(frame, np.ndarray) and frame.dtype.names:
        frame = {name: frame[name] for name in frame.dtype.names}
    if isinstance(frame, Mapping):
        return _from_mapping(frame)
    if not isinstance(frame, pa.Table):
        return _from_narwhals(frame)
    _check_names(frame.column_names)
    return _plain(frame)


def _plain(table: pa.Table) -> pa.Table:
    """The table without run-end encoded columns and extension types."""
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if (found := plain_arrow(column, name=field.name)) is not column:
            table = table.set_column(place, field.name, found)
    return table


def _from_narwhals(frame: Any) -> pa.Table:
    import narwhals as nw

    try:
        known = nw.from_native(frame)
    except nw.exceptions.DuplicateError:
        _check_names([str(name) for name in frame.columns])
        raise
    except TypeError:
        raise DataError(
            "data must be a file, a folder, a glob, a pandas, polars or pyarrow frame or a mapping of columns, "
            f"got {type(frame).__module__}.{type(frame).__name__}"
        ) from None
    if isinstance(known, nw.LazyFrame):
        known = known.collect()
    names = [str(name) for name in known.columns]
    _check_names(names)
    arrays = [_series(series, name=name) for name, series in zip(names, known.iter_columns(), strict=True)]
    return _plain(pa.table(arrays, names=names))


def _series(series: Any, *, name: str) -> pa.Array | pa.ChunkedArray:
    values = series.to_native()
    found = odd_column(values, name=name)
    return _read(series.to_arrow, values, name=name) if found is None else found


def _from_mapping(columns: Mapping[Any, Any]) -> pa.Table:
    if not columns:
        raise DataError("data must hold at least one column, got an empty mapping; give name -> values")
    _check_names([str(name) for name in columns])
    arrays = {str(name): _column(values, name=str(name)) for name, values in columns.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    first = next(iter(lengths))
    for name, length in lengths.items():
        if length != lengths[first]:
            raise DataError(
                f"columns must have one length, got {lengths[first]:,} values in {first!r} and {length:,} in {name!r}"
            )
    return pa.table(arrays)


def _column(values: Any, *, name: str) -> pa.Array:
    if isinstance(values, str | bytes) or not hasattr(values, "__iter__"):
        raise DataError(
            f"column {name!r} must hold a value for each row, got one {type(values).__name__}; give a list of values, or to a "
            "model one row by predict_one"
        )
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return plain_arrow(values, name=name)
    if hasattr(values, "detach"):  # a tensor, wherever it lives
        values = _of_tensor(values, name=name)
    if type(getattr(values, "dtype", None)).__name__ == "ArrowDtype":  # a column of pandas that Arrow holds
        return plain_arrow(pa.array(values.array), name=name)
    values = as_masked(values)
    if (found := odd_column(values, name=name)) is not None:
        return found
    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    if hasattr(values, "__array__") or isinstance(values, np.ndarray):
        array = np.asarray(values)
        if array.ndim != 1:
            raise DataError(f"column {name!r} must have one dimension, got shape {array.shape}; give a column each")
        values = _known(array)
    found = _read(partial(pa.array, values, from_pandas=True, mask=mask), values, name=name)
    return plain_arrow(found, name=name)


def _known(array: NDArray[Any]) -> NDArray[Any]:
    """The same values in this machine's bytes, of a type that Arrow has."""
    if array.dtype.kind == "T":  # NumPy's StringDType, which has bytes of its own
        return array.astype(object)
    if array.dtype.isbuiltin == 2:  # a type that a package brings to NumPy, as ml_dtypes does bfloat16
        return array.astype(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _of_tensor(tensor: Any, *, name: str) -> NDArray[Any]:
    """A tensor's numbers; floats of a type that NumPy has not, as bfloat16, widened."""
    kind = str(tensor.dtype).removeprefix("torch.")
    narrow = tensor.is_floating_point() and kind not in {"float16", "float32", "float64"}
    try:
        found: NDArray[Any] = (tensor.detach().float() if narrow else tensor.detach()).cpu().numpy()
    except (TypeError, RuntimeError, NotImplementedError):  # sparse, quantised, without values, of bits
        given = f"{kind} of layout {tensor.layout} on {tensor.device}"
        raise DataError(
            f"column {name!r} must be a dense tensor of plain numbers, got {given}; convert it first"
        ) from None
    return found


def _read(read: Callable[[], Any], values: Any, *, name: str) -> Any:
    """What `read` makes of the values, or one sentence on why it makes nothing of them."""
    try:
        return read()
    except UnicodeEncodeError as error:
        raise _half(name, error) from None
    except NO_ARROW as error:
        if (found := odd_objects(values, name=name)) is not None:
            return found
        raise not_arrow(values, error, name=name) from None


def _half(name: str, error: UnicodeEncodeError) -> DataError:
    """Half of a character that UTF-16 writes as two, as `errors="surrogateescape"` leaves it."""
    what = ascii(error.object[error.start : error.end])
    return DataError(
        f"column {name!r} must hold text that UTF-8 can write, got {what}; read it with its own encoding, or with errors='replace'"
    )


def _check_names(names: list[str]) -> None:
    if double := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"the column {double[0]!r} stands twice in {FRAME}; rename one of them")
