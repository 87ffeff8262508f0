"""A predictor and a table in; its rows encoded by column, and what the predictor makes of any such rows, out.

N rows · K outputs: 1 for a number or two classes, else one a class
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from mbgd.data.encode.categories import CategoryColumn
from mbgd.data.encode.dates import DateColumn, as_seconds
from mbgd.data.encode.encoder import Encoder
from mbgd.data.encode.numbers import as_floats
from mbgd.data.encode.target import Target
from mbgd.data.order import IntArray
from mbgd.data.table import Table
from mbgd.desk.explanation import Value
from mbgd.desk.predictor import Predictor
from mbgd.errors import DataError
from mbgd.measure.exchange import Array, Inputs
from mbgd.model.table import TableModel
from mbgd.step.evaluation import evaluating

_TINY = float(np.finfo(np.float64).eps)  # from 0 and 1: no log of 0, as in the scores


class Behind(nn.Module):
    """A table's model from its first layer on."""

    def __init__(self, model: TableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs_NF: Tensor) -> Tensor:
        return self.model.outputs(inputs_NF)


@dataclass(frozen=True, eq=False)
class Asked:
    """Rows of a table and the model that is asked about them."""

    predictor: Predictor
    table: Table

    @property
    def target(self) -> Target:
        assert self.predictor.target is not None
        return self.predictor.target

    @property
    def encoder(self) -> Encoder:
        assert self.predictor.encoder is not None
        return self.predictor.encoder

    @property
    def model(self) -> TableModel:
        assert isinstance(self.predictor.model, TableModel)
        return self.predictor.model

    @property
    def columns(self) -> dict[str, str]:
        """The inputs of the model, each with its kind."""
        return self.encoder.columns

    @property
    def explained(self) -> str:
        """What one output is, in words."""
        classes = self.target.classes
        if not classes:
            return self.target.name
        return f"probability of {self.target.name} " + (repr(classes[1]) if len(classes) == 2 else "as predicted")

    def inputs(self, rows: IntArray) -> Inputs:
        """Some rows as the first layer takes them: each number of it is made of one column, so that columns are exchanged
        there, and encoded once. Raises DataError where a column is absent or a value cannot be what it was in training."""
        encoder, model = self.encoder, self.model
        encoded = encoder.encode(self.table.take(rows))
        device = next(model.parameters()).device
        both = (torch.from_numpy(part).to(device) for part in (encoded.numbers, encoded.codes))
        with evaluating(model), torch.no_grad():
            values = model.inputs(*both).cpu().numpy()
        at = {name: number for number, name in enumerate(encoder.columns)}
        of_number = [at[part.name] for part in encoder.numbers for _ in part.outputs]
        of_code = [at[part.name] for part in self.encoder.categories]
        numbers, codes = model.origins()
        of = np.array([*(of_number[k] for k in numbers), *(of_code[k] for k in codes)], dtype=np.int64)
        return Inputs(values, of, tuple(encoder.columns))

    def outputs(self, inputs: Inputs) -> Array:
        """(N, K) numbers in the target's own units, the probability of the second of two classes, or of each of more."""
        if not len(inputs):
            return np.empty((0, max(1, *self.predictor.output_shape, 1)))
        behind = replace(self.predictor, model=Behind(self.model), encoder=None)
        found = behind.outputs(inputs.values)
        found = found if self.target.classes else self.target.restore(found)
        return found.reshape(len(inputs), -1)

    def probabilities(self, inputs: Inputs) -> Array:
        """(N, C) of all classes."""
        found = self.outputs(inputs)
        return np.concatenate([1 - found, found], axis=1) if found.shape[1] == 1 else found

    def losses(self, y: Array | IntArray | None, like: Inputs) -> Callable[[Inputs], Array]:
        """The loss of each row as a function of the inputs: squared error, or log loss. y (N,) are numbers or class codes;
        without them the predictions for `like` are what is to be met."""
        if not self.target.classes:
            wanted_N = self.outputs(like)[:, 0] if y is None else y
            return lambda inputs: np.square(self.outputs(inputs)[:, 0] - wanted_N)
        share_NC = self.probabilities(like) if y is None else np.eye(len(self.target.classes))[y]
        return lambda inputs: -(share_NC * np.log(np.clip(self.probabilities(inputs), _TINY, 1 - _TINY))).sum(axis=1)

    def order(self, name: str, rows: IntArray) -> Array:
        """(N,) a number that rises with the values of a column of numbers or dates; NaN where they are missing."""
        seen = self.table.take(rows)
        part = next(part for part in self.encoder.numbers if part.name == name)
        if not isinstance(part, DateColumn):
            return as_floats(seen, name)
        seconds, missing = as_seconds(seen, name, zone=part.zone)
        return np.where(missing, np.nan, seconds.astype(np.float64))

    def codes(self, name: str, rows: IntArray) -> IntArray:
        """(N,) codes of a column of categories, 0 where it is missing or a label never seen."""
        return self._category(name).encode(self.table.take(rows))

    def _category(self, name: str) -> CategoryColumn:
        return next(part for part in self.encoder.categories if part.name == name)

    def values(self, name: str, rows: IntArray) -> tuple[Value, ...]:
        """What stands in a column, one value a row: a number, or text; None where it is missing or a label never seen."""
        seen = self.table.take(rows)
        if self.columns[name] == "number":
            return tuple(None if np.isnan(x) else float(x) for x in as_floats(seen, name))
        if self.columns[name] == "date":
            return tuple(None if value is None else str(value) for value in seen.column(name).to_pylist())
        labels = (None, *self._category(name).labels)
        return tuple(labels[code] for code in self.codes(name, rows))

    def check(self) -> None:
        """Raises DataError where there are too few rows to compare."""
        if self.table.n_rows < 2:
            few = f"{self.table.name}: explain must have at least 2 rows to compare, got {self.table.n_rows}"
            raise DataError(f"{few}; add rows, whatever their target")
