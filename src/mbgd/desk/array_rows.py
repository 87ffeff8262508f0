"""Check the rows that a model of arrays is to predict: their width, and a frame's columns by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mbgd.data.given import as_inputs
from mbgd.data.source import Source, leaves_of, mapped
from mbgd.errors import DataError
from mbgd.measure.evaluate import outputs, predict
from mbgd.model.build import MLP
from mbgd.model.scaled import ScaledMLP
from mbgd.step.loss import Loss
from mbgd.step.targets import is_scalar

BLOCK_BYTES = (
    1 << 26
)  # of an array at once: it is copied where the model computes in another type, or it cannot be written


def blocks_of(data: Any, *, loss: Loss) -> Iterator[tuple[int, Any]]:
    """(number of the first row, rows) of a large array, as one that is mapped from a file, piece by piece; else all at once."""
    if not isinstance(data, np.ndarray) or data.nbytes <= BLOCK_BYTES or not len(data) or loss.kind == "custom":
        yield 0, data
        return
    rows = max(1, BLOCK_BYTES // (data.nbytes // len(data)))
    for start in range(0, len(data), rows):
        yield start, data[start : start + rows]


def has_columns(data: Any) -> bool:
    """Whether its columns have names: a frame of any make, or a dict of columns."""
    return isinstance(data, Mapping) or (hasattr(data, "columns") and not callable(data.columns))


def by_name(data: Any, names: tuple[str, ...], *, model: nn.Module) -> NDArray[np.float64]:
    """(n, F) of a frame; a missing number is the center of its column. Raises DataError for a column that is missing, or holds
    what is no number."""
    from mbgd.data.encode.numbers import as_floats, check_finite
    from mbgd.data.table import check_column, open_table

    table = open_table(data)
    x = np.empty((table.n_rows, len(names)))
    for column, name in enumerate(names):
        check_column(table, name)
        x[:, column] = as_floats(table, name)
        check_finite(x[:, column], table=table, name=name)
    missing = np.isnan(x)
    if missing.any():
        x[missing] = np.broadcast_to(_center(model, len(names)), x.shape)[missing]
    return x


def _center(model: nn.Module, n_columns: int) -> NDArray[np.float64]:
    return model.center.double().cpu().numpy() if isinstance(model, ScaledMLP) else np.zeros(n_columns)


def check_fits(model: nn.Module, x: Any, *, names: tuple[str, ...] = (), first: int = 0) -> None:
    """Raises DataError where a network of MBGD's own cannot take them: another width, other dimensions, a number that is none."""
    if not isinstance(model, MLP | ScaledMLP) or not isinstance(x, Tensor):
        return
    if x.ndim != 2 or x.shape[1] != model.n_inputs:
        remedy = "give one row as X[None]" if x.shape == (model.n_inputs,) else "give the columns of training"
        raise DataError(f"X must have shape (n, {model.n_inputs}), got {tuple(x.shape)}; {remedy}")
    if x.layout == torch.strided and not bool(torch.isfinite(x).all()):
        row, column = (~torch.isfinite(x)).nonzero()[0].tolist()
        where = f"column {names[column]!r}" if names else f"column {column}"
        raise DataError(
            f"X must hold finite numbers, got {x[row, column].item():g} in row {first + row}, {where}; fill it in"
        )


def answers(model: nn.Module, source: Source, *, loss: Loss, output_shape: Any, first: int = 0) -> Any:
    """What the loss makes of the model's outputs for all rows, float64. Raises DataError where these have other dimensions than in
    training, since the model took rows of another shape for something else, and where a class is none."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    parts = [p for p, _, _ in predict(model, source, loss=loss, device=device)]
    if not parts:
        return np.zeros((0,) if is_scalar(output_shape) else (0, *output_shape))
    leaves = zip(*(leaves_of(part) for part in parts), strict=True)
    whole = iter([torch.cat(leaf).double().numpy() for leaf in leaves])
    found = mapped(parts[0], lambda _: next(whole))
    dimensions = 1 if is_scalar(output_shape) else 1 + len(output_shape)
    if isinstance(found, np.ndarray) and found.ndim != dimensions:
        raise DataError(
            f"X must have rows as in training, got {source.n_rows} of which the model makes outputs of shape {found.shape}; "
            "X[None] is one row, X[:, None] rows of one column"
        )
    if loss.kind in ("binary", "multiclass") and np.isnan(found).any():
        row = int(np.isnan(found).reshape(len(found), -1).any(axis=1).argmax())
        raise DataError(
            f"X must hold what the model makes a class of, got none for row {first + row}; look for NaN or inf in it"
        )
    return found


def sparse_outputs(model: nn.Module, matrix: Any) -> NDArray[np.float64]:
    """What a model's last layer makes of SciPy's sparse rows, float64; (n,) also where it gives one column."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    source = as_inputs(matrix)
    found = torch.cat([output for output, _, _ in outputs(model, source, device=device)])
    return (found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found).numpy()
