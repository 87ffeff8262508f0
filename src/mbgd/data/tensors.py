"""A dense tensor from an array, frame, column, list or tensor of numbers; memory is shared where it can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbgd.data.masked import refuse_gaps, unmasked
from mbgd.errors import DataError

COMPUTED_WITH = frozenset({
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
})  # fmt: skip
_CONVERT = "convert it, or give the table to fit_table, which encodes text and dates"


def as_tensor(value: Any, name: str) -> Tensor:
    """An array, frame, column, list or tensor as a dense tensor that shares memory where it can; errors name the argument."""
    tensor = _dense(value, name) if isinstance(value, Tensor) else _from_numpy(as_array(value, name), name)
    if tensor.ndim == 0:
        raise DataError(f"{name} must have one entry a row, got a single number")
    if tensor.is_complex():
        given, remedy = str(tensor.dtype).removeprefix("torch."), "pass its real and imaginary parts as two columns"
        raise DataError(f"{name} must hold real numbers, got {given}; {remedy}")
    return tensor


def weights(value: Any, name: str = "weight") -> Tensor:
    """Row weights, shape (n,), float: finite, none negative, not all zero."""
    w = as_tensor(value, name)
    if w.ndim != 1:
        raise DataError(f"{name} must have shape (n,), got {tuple(w.shape)}; give one number a row")
    w = w if w.is_floating_point() else w.to(torch.get_default_dtype())
    bad = ~torch.isfinite(w) | (w < 0)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        given = f"got {w[row].item():g} in row {row}"
        raise DataError(f"{name} must be finite and at least 0, {given}; a weight of 0 leaves a row out")
    if not bool((w > 0).any()):
        raise DataError(f"{name} must be positive in at least one row, got only zeros")
    return w


def is_frame(data: Any) -> bool:
    """Whether it has named columns: a frame of pandas or polars, a table or record batch of Arrow."""
    return (hasattr(data, "to_numpy") or _is_arrow_table(data)) and not callable(getattr(data, "columns", callable))


def is_array(part: Any) -> bool:
    """Whether it holds the rows of one input: an array, a tensor, a frame or a column of one."""
    return hasattr(part, "shape") or hasattr(part, "to_numpy") or is_frame(part)


def as_array(value: Any, name: str) -> NDArray[Any]:
    """The numbers of an array, frame, column or list; those of a frame column by column, as the type that holds all.

    Raises DataError for masked and missing entries, naming their rows, and for rows of several shapes.
    """
    if hasattr(value, "toarray"):
        raise DataError(f"{name} must be dense, got a sparse {type(value).__name__}; pass {name}.toarray()")
    if isinstance(value, list) and value and isinstance(value[0], Tensor):
        value = [_dense(part, name).cpu().float() if _only_of_torch(part) else part.detach().cpu() for part in value]
    if is_frame(value):
        return _of_frame(value, name)
    if hasattr(value, "to_numpy"):
        return _of_column(value, name)
    value = unmasked(value, name)
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # a list whose parts differ in length, or are no arrays
        raise DataError(
            f"{name} must have rows of one shape, got {type(value).__name__} of several ({error}); pad them, "
            "or give several inputs as a tuple"
        ) from None


def _of_frame(frame: Any, name: str) -> NDArray[Any]:
    dtypes = {str(dtype): dtype for dtype in getattr(frame, "dtypes", ())}
    if len(dtypes) == 1 and isinstance(next(iter(dtypes.values())), np.dtype) and "object" not in dtypes:
        return np.asarray(frame.to_numpy())  # a view where it can be
    columns = [
        _plain(_of_column(column, where), where)
        for column, where in ((column, f"{name}[{label!r}]") for label, column in _columns(frame))
    ]
    return np.column_stack(columns) if columns else np.empty((len(frame), 0))


def _columns(frame: Any) -> list[tuple[Any, Any]]:
    if hasattr(frame, "iloc"):  # pandas, where two columns may have one name
        return [(label, frame.iloc[:, place]) for place, label in enumerate(frame.columns)]
    if _is_arrow_table(frame):
        return list(zip(frame.schema.names, frame.columns, strict=True))
    return [(label, frame[label]) for label in frame.columns]


def _is_arrow_table(data: Any) -> bool:
    return hasattr(data, "to_pydict") and hasattr(data, "schema")


def _of_column(column: Any, name: str) -> NDArray[Any]:
    """A column of pandas, polars or Arrow, or whatever else makes an array of itself."""
    dtype = getattr(column, "dtype", None)
    if dtype is None and hasattr(column, "null_count"):
        return _of_arrow(column, name)
    if hasattr(column, "isna") and not isinstance(dtype, np.dtype):
        if type(dtype).__name__ == "SparseDtype":
            return np.asarray(column)
        refuse_gaps(np.asarray(column.isna()), name)
        if type(dtype).__name__ == "ArrowDtype":
            import pyarrow as pa

            return _of_arrow(pa.array(column.array), name)
    elif hasattr(column, "infer_objects") and str(dtype) == "object":
        column = column.infer_objects()
    elif hasattr(column, "null_count") and hasattr(column, "to_arrow"):  # of polars
        refuse_gaps(column.is_null().to_numpy(), name)
        found = np.asarray(column.to_numpy())
        return _of_arrow(column.to_arrow(), name) if found.dtype.kind == "O" else found
    return np.asarray(unmasked(column.to_numpy(), name))


def _of_arrow(column: Any, name: str) -> NDArray[Any]:
    import pyarrow as pa

    from mbgd.data.odd_columns import plain_arrow

    column = plain_arrow(column)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    ):
        raise DataError(f"{name} must hold numbers, got {kind}; {_CONVERT}")
    if column.null_count:
        refuse_gaps(np.asarray(column.is_null()), name)
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    whole = whole.cast(pa.float64()) if pa.types.is_decimal(kind) else whole
    return np.asarray(whole.to_numpy(zero_copy_only=False))


def _only_of_torch(tensor: Tensor) -> bool:
    """Whether it holds floats of a type that NumPy has not."""
    return tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64)


def _dense(tensor: Tensor, name: str) -> Tensor:
    if tensor.layout != torch.strided:
        raise DataError(f"{name} must be dense, got a tensor of layout {tensor.layout}; pass {name}.to_dense()")
    if tensor.is_nested or tensor.is_meta:
        held = "rows of several lengths; pad them" if tensor.is_nested else "no values, on device meta; load them"
        raise DataError(f"{name} must be a tensor with one value in each place, got one with {held}")
    if tensor.is_quantized:
        raise DataError(f"{name} must hold plain numbers, got {tensor.dtype}; pass {name}.dequantize()")
    if tensor.dtype in (torch.uint16, torch.uint32, torch.uint64):
        return _from_numpy(tensor.detach().cpu().numpy(), name).to(tensor.device)
    if str(tensor.dtype).startswith("torch.float8"):
        return tensor.detach().float()
    if tensor.dtype not in COMPUTED_WITH and not tensor.is_complex():
        raise DataError(f"{name} must hold numbers that torch computes with, got {tensor.dtype}; pass {name}.float()")
    return tensor.detach().contiguous()


def _from_numpy(array: NDArray[Any], name: str) -> Tensor:
    return torch.from_numpy(_plain(array, name))


def _plain(array: NDArray[Any], name: str) -> NDArray[Any]:
    """The same numbers as torch can hold and compute with: C order, this machine's bytes, a type that torch has."""
    if array.dtype.isbuiltin == 2:  # a type that a package brings to NumPy, as ml_dtypes does bfloat16
        array = array.astype(np.float32)
    if array.dtype.kind in "OUSmMVT":
        remedy = _CONVERT
        if array.dtype.names:
            remedy = "pass its fields as columns of one array, with numpy.lib.recfunctions.structured_to_unstructured"
        raise DataError(f"{name} must hold numbers, got dtype {array.dtype}; {remedy}")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        if array.size and array.max() > np.iinfo(np.int64).max:
            raise DataError(f"{name} must fit 64-bit signed numbers, got {array.max()}; give it as floats")
        array = array.astype(np.int64)
    array = np.asarray(array, order="C")
    turned = any(stride < 0 for stride in array.strides)  # along a dimension of 1, which NumPy calls contiguous
    return array if array.flags.writeable and not turned else array.copy()
