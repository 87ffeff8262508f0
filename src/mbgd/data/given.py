"""Whatever a user holds rows in, made a Source: arrays, tensors, frames of features, datasets, loaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
)

from mbgd.data.dataset import DatasetSource, length, split_target
from mbgd.data.source import ArraySource, Inputs, Rows, Source, WeightedSource
from mbgd.data.sparse import SparseSource, csr_tensor, is_sparse, pieces_of
from mbgd.errors import DataError


def as_source(data: Any, *, sample_weight: Any = None, workers: int = 0, need_target: bool = True) -> Source:
    """Whatever holds the rows as a `Source`.

    Takes (X, y), (X, y, weight), a TensorDataset or a Subset of one (taken apart rather than read row by row), a
    DataLoader (its dataset, collate_fn and workers), a map-style dataset, or a Source. X is an array, a tensor, or a
    tuple or dict of them, shapes (n, ...), or one of SciPy's sparse matrices, which stays sparse; a dict in place of
    (X, y) holds its target under "labels" or "label".
    `sample_weight`, shape (n,), takes the place of the data's own.
    """
    if isinstance(data, DataLoader):
        source = _of_loader(data, workers=workers, need_target=need_target)
    else:
        source = _as_source(data, workers=workers, need_target=need_target)
    if source.n_rows == 0:
        raise DataError("data must have at least 1 row, got 0; check the filter that made it")
    if sample_weight is None:
        return source
    weight = weights(sample_weight, "sample_weight")
    if len(weight) != source.n_rows:
        raise DataError(
            f"sample_weight must have one entry a row, got {len(weight)} for {source.n_rows} rows; give one number a row"
        )
    if isinstance(source, (ArraySource, SparseSource)):
        return _source_of(Rows(source.data.x, source.data.y, weight))
    return WeightedSource(source, weight)


def _as_source(data: Any, *, workers: int, need_target: bool) -> Source:
    tensors = _tensors(data)
    if tensors is not None:
        *x, y = tensors
        data = (x[0] if len(x) == 1 else tuple(x), y) if x else (y,)
    elif isinstance(data, Mapping) and not is_sparse(data):  # SciPy's DOK format is a dict
        inputs, target = split_target(dict(data))
        data = inputs if target is None else (inputs, target)
    if isinstance(data, (tuple, list)) and not isinstance(data, Dataset):
        return _source_of(_from_arrays(data, need_target=need_target))
    if isinstance(data, (Tensor, np.ndarray, Mapping)) or _is_frame(data) or is_sparse(data):
        if need_target:
            raise DataError(f"data must be (X, y), got one {type(data).__name__} without a target; pass (X, y)")
        return _source_of(_checked(Rows(_inputs(data), None, None)))
    if hasattr(data, "read") and hasattr(data, "n_rows"):
        return cast(Source, data)
    if hasattr(data, "__getitem__"):
        return DatasetSource(data, workers=workers)
    length(data)
    kinds = "(X, y), a TensorDataset, a map-style dataset or a DataLoader"
    raise DataError(f"data must be {kinds}, got {type(data).__name__}; a table with text or dates goes to fit_table")


def _tensors(data: Any) -> tuple[Tensor, ...] | None:
    """The tensors of a TensorDataset or of Subsets of one, None of anything else: a subclass may read rows its own way."""
    if isinstance(data, TensorDataset) and type(data).__getitem__ is TensorDataset.__getitem__:
        return data.tensors
    if isinstance(data, Subset) and type(data).__getitem__ is Subset.__getitem__:
        inner = _tensors(data.dataset)
        rows = torch.as_tensor(data.indices, dtype=torch.int64)
        return None if inner is None else tuple(tensor[rows.to(tensor.device)] for tensor in inner)
    return None


def _of_loader(loader: DataLoader[Any], *, workers: int, need_target: bool) -> Source:
    """The rows of a DataLoader. Its batches and order are ours to make; what would be lost in silence is refused."""
    sampler = loader.sampler
    plain = type(sampler) is SequentialSampler or (type(sampler) is RandomSampler and not sampler.replacement)
    if not isinstance(loader.dataset, IterableDataset) and not (plain and type(loader.batch_sampler) is BatchSampler):
        used = type(loader.batch_sampler if plain else sampler).__name__
        raise DataError(
            f"data must be a DataLoader with shuffle=True or False alone, got one with {used}, whose batches would be lost; "
            "pass its dataset, with sample_weight, a Subset or sampling instead"
        )
    if loader.collate_fn is default_collate:
        return _as_source(loader.dataset, workers=workers or loader.num_workers, need_target=need_target)
    length(loader.dataset)
    return DatasetSource(loader.dataset, workers=workers or loader.num_workers, collate=loader.collate_fn)


def _from_arrays(parts: Sequence[Any], *, need_target: bool) -> Rows:
    if len(parts) == 1 and not need_target:
        return _checked(Rows(_inputs(parts[0]), None, None))
    if len(parts) not in (2, 3):
        demand = "data must be (X, y) or (X, y, weight)"
        raise DataError(
            f"{demand}, got a {type(parts).__name__} of {len(parts)}; several inputs go in a tuple: ((a, b), y)"
        )
    weight = weights(parts[2]) if len(parts) == 3 else None
    return _checked(Rows(_inputs(parts[0]), as_tensor(parts[1], "y"), weight))


def _source_of(rows: Rows) -> Source:
    sparse = isinstance(rows.x, Tensor) and rows.x.layout == torch.sparse_csr
    return SparseSource(rows) if sparse else ArraySource(rows)


def _inputs(x: Any) -> Inputs:
    if is_sparse(x):
        return _sparse_tensor(x, "X")
    if isinstance(x, Mapping):
        return {str(name): as_tensor(part, f"X[{name!r}]") for name, part in x.items()}
    if isinstance(x, tuple) and len(x) and all(_is_array(part) for part in x):
        return tuple(as_tensor(part, f"X[{i}]") for i, part in enumerate(x))
    return as_tensor(x, "X")


def _is_array(part: Any) -> bool:
    return isinstance(part, (Tensor, np.ndarray)) or _is_frame(part) or is_sparse(part)


def _sparse_tensor(matrix: Any, name: str) -> Tensor:
    """One of SciPy's sparse matrices as a CSR tensor that shares memory where it can; counts and booleans as floats."""
    csr = pieces_of(matrix, name)
    values = as_tensor(csr.values, name)
    values = values if values.is_floating_point() else values.to(torch.float64)
    starts, columns = (_plain(piece, name) for piece in (csr.starts, csr.columns))
    return csr_tensor(starts, columns, values.numpy(), matrix.shape[1])


def _is_frame(data: Any) -> bool:
    return hasattr(data, "to_numpy") and hasattr(data, "columns")


def as_tensor(value: Any, name: str) -> Tensor:
    """An array, frame, list or tensor as a dense tensor that shares memory where it can; errors name the argument."""
    tensor = (
        _dense(value, name) if isinstance(value, Tensor) else torch.from_numpy(_plain(_as_array(value, name), name))
    )
    if tensor.ndim == 0:
        raise DataError(f"{name} must have one entry a row, got a single number")
    if tensor.is_complex():
        given, remedy = str(tensor.dtype).removeprefix("torch."), "pass its real and imaginary parts as two columns"
        raise DataError(f"{name} must hold real numbers, got {given}; {remedy}")
    return tensor


def _dense(tensor: Tensor, name: str) -> Tensor:
    if tensor.layout != torch.strided:
        raise DataError(f"{name} must be dense, got a tensor of layout {tensor.layout}; pass {name}.to_dense()")
    if tensor.dtype in (torch.uint16, torch.uint32, torch.uint64):
        return torch.from_numpy(_plain(tensor.detach().cpu().numpy(), name)).to(tensor.device)
    return tensor.detach().contiguous()


def _plain(array: NDArray[Any], name: str) -> NDArray[Any]:
    """The same numbers as torch can hold and compute with: C order, this machine's bytes, a type that torch has."""
    if array.dtype.kind in "OUSmMV":
        remedy = "convert it, or give the table to fit_table, which encodes text and dates"
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


def _as_array(value: Any, name: str) -> NDArray[Any]:
    if hasattr(value, "toarray"):
        raise DataError(f"{name} must be dense, got a sparse {type(value).__name__}; pass {name}.toarray()")
    if isinstance(value, list) and value and isinstance(value[0], Tensor):
        value = [part.detach().cpu().numpy() for part in value]
    try:
        return np.asarray(value.to_numpy() if hasattr(value, "to_numpy") else value)
    except ValueError as error:  # a list whose parts differ in length
        raise DataError(
            f"{name} must have rows of one shape, got {type(value).__name__} of several ({error}); pad them, "
            "or give several inputs as a tuple"
        ) from None


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


def _checked(rows: Rows) -> Rows:
    lengths = {len(t) for t in rows.leaves()}
    if len(lengths) > 1:
        shapes = ", ".join(str(tuple(t.shape)) for t in rows.leaves())
        demand = "X, y and weight must have the same number of rows"
        raise DataError(f"{demand}, got shapes {shapes}; their first dimensions must match")
    return rows
