"""Rows as users hold them, made a Source: arrays, tensors, frames, datasets and DataLoaders.

docs/data.md says of each kind what it stands for at which door; what could be meant in two ways is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from mbgd.data.dataset import DatasetSource, length
from mbgd.data.items import split_target
from mbgd.data.loader import loading, makes_its_own, streams
from mbgd.data.source import ArraySource, CountedSource, Inputs, Rows, Source, Targets, WeightedSource
from mbgd.data.sparse import SparseSource, csr_tensor, is_sparse, pieces_of
from mbgd.data.tensors import as_tensor, is_array, is_frame, weights
from mbgd.errors import DataError


def as_source(data: Any, *, sample_weight: Any = None, workers: int = 0, need_target: bool = True) -> Source:
    """Whatever holds the rows as a `Source`.

    Takes a tuple (X, y) or (X, y, weight), a TensorDataset or a Subset of one (taken apart rather than read row by row),
    a DataLoader (its dataset, collate_fn and workers), a map-style dataset, which a list of items is, too, or a Source. X is
    an array, a tensor, or a tuple or dict of them, shapes (n, ...), or one of SciPy's sparse matrices, which stays sparse;
    a dict in place of (X, y) holds its target under "labels" or "label".
    `sample_weight`, shape (n,), takes the place of the data's own.
    """
    if isinstance(data, DataLoader):
        source = _of_loader(data, workers=workers, need_target=need_target)
    else:
        source = _as_source(data, workers=workers, need_target=need_target)
    _check_rows(source)
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


def as_inputs(data: Any) -> Source:
    """The rows of inputs to predict for. A list is rows, a tuple the inputs of the model and a dict its named inputs: none of
    them is ever taken for (X, y). The items of datasets and loaders are what they are in training; their targets are left out.
    """
    if isinstance(data, DataLoader) and not streams(data.dataset) and (own := loading(data).own) is not None:
        raise DataError(
            f"data must be rows in their order to predict for, got a DataLoader with {type(own).__name__}, which draws some of "
            "them; give its dataset, or a Subset of it"
        )
    of_dicts = isinstance(data, list) and all(isinstance(item, Mapping) for item in data)
    if isinstance(data, DataLoader) or (of_dicts and data) or not (holds_inputs(data) or isinstance(data, list)):
        return as_source(data, need_target=False)
    source = _source_of(checked(Rows(_inputs(data), None, None)))
    _check_rows(source)
    return source


def _check_rows(source: Source) -> None:
    if source.n_rows == 0:
        raise DataError("data must have at least 1 row, got 0; check the filter that made it")


def holds_inputs(data: Any) -> bool:
    """Whether it holds the rows of one or more inputs as they are, and nothing that must be read."""
    if isinstance(data, Dataset):
        return False
    held = isinstance(data, (Tensor, np.ndarray, Mapping, tuple)) or is_frame(data) or is_sparse(data)
    return held or hasattr(data, "to_numpy")


def _as_source(data: Any, *, workers: int, need_target: bool) -> Source:
    tensors = tensors_of(data)
    if tensors is not None:
        *x, y = tensors
        data = (x[0] if len(x) == 1 else tuple(x), y) if x else (y,)
    elif isinstance(data, Mapping) and not is_sparse(data):  # SciPy's DOK format is a dict
        inputs, target = split_target(dict(data))
        data = inputs if target is None else (inputs, target)
    if isinstance(data, tuple) and not isinstance(data, Dataset):
        return _source_of(_from_arrays(data, need_target=need_target))
    if holds_inputs(data):
        if need_target:
            raise DataError(f"data must be (X, y), got one {type(data).__name__} without a target; pass (X, y)")
        return _source_of(checked(Rows(_inputs(data), None, None)))
    if hasattr(data, "read") and hasattr(data, "n_rows"):
        own = isinstance(data, (ArraySource, SparseSource, DatasetSource))
        return cast(Source, data) if own else CountedSource(data)
    if isinstance(data, str | bytes):
        raise DataError(
            f"data must be rows in memory, got {type(data).__name__} {data[:60]!r}; a file goes to fit_table"
        )
    if hasattr(data, "__getitem__"):
        check_items(data)
        return DatasetSource(data, workers=workers)
    length(data)
    kinds = "(X, y), a TensorDataset, a map-style dataset or a DataLoader"
    raise DataError(f"data must be {kinds}, got {type(data).__name__}; a table with text or dates goes to fit_table")


def check_items(data: Any) -> None:
    """A list is a dataset of its items. Raises DataError for a few arrays in one, which may be rows, or X and y."""
    if isinstance(data, list) and 2 <= len(data) <= 3 and all(is_array(part) and np.ndim(part) for part in data):
        raise DataError(
            f"data must say what its parts are, got a list of {len(data)} arrays, which may be rows or X and y; "
            "give X and y as a tuple, (X, y), and rows as one array, np.stack(rows)"
        )


def tensors_of(data: Any) -> tuple[Tensor, ...] | None:
    """The tensors of a TensorDataset or of Subsets of one, None of anything else: a subclass may read rows its own way."""
    if isinstance(data, TensorDataset) and type(data).__getitem__ is TensorDataset.__getitem__:
        return data.tensors
    if isinstance(data, Subset) and type(data).__getitem__ is Subset.__getitem__:
        inner = tensors_of(data.dataset)
        rows = torch.as_tensor(data.indices, dtype=torch.int64)
        return None if inner is None else tuple(tensor[rows.to(tensor.device)] for tensor in inner)
    return None


def _of_loader(loader: DataLoader[Any], *, workers: int, need_target: bool) -> Source:
    """The rows of a DataLoader, whose batches and order are ours to make."""
    dataset, workers = loader.dataset, workers or loader.num_workers
    length(dataset)
    given = loading(loader)
    if makes_its_own(loader):
        at_once = given.words.get("batch_size", 1)
        return DatasetSource(
            dataset, workers=workers, collate=loader.collate_fn, batch_rows=at_once, **given.of_workers
        )
    if tensors_of(dataset) is not None or not isinstance(dataset, (list, tuple, Mapping, Dataset)):
        return _as_source(dataset, workers=workers, need_target=need_target)
    return DatasetSource(dataset, workers=workers, **given.of_workers)  # to torch any sequence is one


def _from_arrays(parts: tuple[Any, ...], *, need_target: bool) -> Rows:
    if len(parts) == 1 and not need_target:
        return checked(Rows(_inputs(parts[0]), None, None))
    if len(parts) not in (2, 3):
        demand = "data must be (X, y) or (X, y, weight)"
        raise DataError(
            f"{demand}, got a {type(parts).__name__} of {len(parts)}; several inputs go in a tuple: ((a, b), y)"
        )
    weight = weights(parts[2]) if len(parts) == 3 else None
    return checked(Rows(_inputs(parts[0]), _targets(parts[1]), weight))


def _source_of(rows: Rows) -> Source:
    sparse = isinstance(rows.x, Tensor) and rows.x.layout == torch.sparse_csr
    return SparseSource(rows) if sparse else ArraySource(rows)


def _inputs(x: Any) -> Inputs:
    if is_sparse(x):
        return sparse_tensor(x, "X")
    if isinstance(x, Mapping):
        return {str(name): as_tensor(part, f"X[{name!r}]") for name, part in x.items()}
    if isinstance(x, tuple):
        return tuple(as_tensor(part, f"X[{i}]") for i, part in enumerate(x))
    return as_tensor(x, "X")


def _targets(y: Any) -> Targets:
    """One array of targets, or a tuple of arrays or a dict of them for a loss that takes several."""
    if isinstance(y, Mapping) and not is_sparse(y):
        return {str(name): as_tensor(part, f"y[{name!r}]") for name, part in y.items()}
    if isinstance(y, tuple) and y and all(is_array(part) and np.ndim(part) for part in y):
        return tuple(as_tensor(part, f"y[{i}]") for i, part in enumerate(y))
    return as_tensor(y, "y")


def sparse_tensor(matrix: Any, name: str) -> Tensor:
    """One of SciPy's sparse matrices as a CSR tensor that shares memory where it can; counts and booleans as floats."""
    csr = pieces_of(matrix, name)
    values = as_tensor(csr.values, name)
    values = values if values.is_floating_point() else values.to(torch.float64)
    starts, columns = (as_tensor(piece, name).numpy() for piece in (csr.starts, csr.columns))
    return csr_tensor(starts, columns, values.numpy(), matrix.shape[1])


def checked(rows: Rows) -> Rows:
    """The rows; raises DataError where tensors have several lengths, or there is none."""
    lengths = {len(t) for t in rows.leaves()}
    if len(lengths) > 1:
        shapes = ", ".join(str(tuple(t.shape)) for t in rows.leaves())
        demand = "X, y and weight must have the same number of rows"
        raise DataError(f"{demand}, got shapes {shapes}; their first dimensions must match")
    if not lengths:
        raise DataError("X must hold at least one input, got none; give an array, or a tuple or dict of them")
    return rows
