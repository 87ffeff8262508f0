"""Rows of a table encoded column by column, and the predictor's outputs for any such rows.

N rows · K outputs: 1 for a number or two classes, else one a class
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mbgd.data.encode.categories import CategoryColumn
from mbgd.data.encode.dates import DateColumn, as_seconds
from mbgd.data.encode.encoder import Encoder
from mbgd.data.encode.numbers import NumberColumn, as_floats
from mbgd.data.encode.target import Target
from mbgd.data.order import IntArray
from mbgd.data.powers import Powers, scaled
from mbgd.data.table import Table
from mbgd.desk.ensemble import Ensemble, Predicting
from mbgd.desk.explanation import Value
from mbgd.desk.predictor import Predictor
from mbgd.errors import DataError
from mbgd.measure.exchange import Array, Inputs
from mbgd.measure.quantiles import middle
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


def table_model(predictor: Predictor) -> TableModel:
    """The network of a predictor for tables."""
    assert isinstance(predictor.model, TableModel)
    return predictor.model


def _first_layer(predictor: Predictor, table: Table, names: list[str]) -> tuple[NDArray[np.float32], IntArray]:
    """(what the first layer takes of each row, the number of the column that each of its numbers is made of)."""
    encoder, model = predictor.encoder, table_model(predictor)
    assert encoder is not None
    encoded = encoder.encode(table)
    device = next(model.parameters()).device
    both = (torch.from_numpy(part).to(device) for part in (encoded.numbers, encoded.codes))
    with evaluating(model), torch.no_grad():
        values = model.inputs(*both).cpu().numpy()
    place = {name: number for number, name in enumerate(names)}
    of_number = [place[part.name] for part in encoder.numbers for _ in part.outputs]
    of_code = [place[name] for name in encoder.code_columns]
    numbers, codes = model.origins()
    return values, np.array([*(of_number[k] for k in numbers), *(of_code[k] for k in codes)], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Asked:
    """Rows of a table and the model that is asked about them, or several models whose mean predicts."""

    predictor: Predicting
    table: Table

    @property
    def models(self) -> tuple[Predictor, ...]:
        """Those whose mean predicts; often one."""
        return self.predictor.predictors if isinstance(self.predictor, Ensemble) else (self.predictor,)

    @property
    def target(self) -> Target:
        assert isinstance(self.predictor.target, Target)
        return self.predictor.target

    @cached_property
    def columns(self) -> dict[str, str]:
        """The inputs of the models, each with its kind."""
        return self.predictor.columns

    @property
    def of_quantiles(self) -> bool:
        """Whether they are explained by their median, or by what `predict` takes for it."""
        return bool(self.predictor.loss.levels)

    @property
    def middle_quantile(self) -> str:
        """What `predict` says of quantiles, in words."""
        return "median" if 0.5 in self.predictor.loss.levels else "middle quantile"

    @property
    def explained(self) -> str:
        """What one output is, in words."""
        classes = self.target.classes
        if not classes:
            return f"{self.middle_quantile} of {self.target.name}" if self.of_quantiles else self.target.name
        return f"probability of {self.target.name} " + (repr(classes[1]) if len(classes) == 2 else "as predicted")

    def inputs(self, rows: IntArray) -> Inputs:
        """Some rows as the first layers take them, those of several models side by side: each number there is made of one
        column, so that columns are exchanged there, and encoded once. Raises DataError where a column is absent or a value
        cannot be what it was in training."""
        table, names = self.table.take(rows), list(self.columns)
        each = [_first_layer(predictor, table, names) for predictor in self.models]
        return Inputs(np.concatenate([x for x, _ in each], 1), np.concatenate([of for _, of in each]), tuple(names))

    def outputs(self, inputs: Inputs) -> Array:
        """(N, K) numbers in the target's own units, of quantiles the median, the probability of the second of two classes, or
        of each of more."""
        shape = () if self.of_quantiles else self.models[0].output_shape
        total, start = np.zeros((len(inputs), max(1, *shape, 1))), 0
        for predictor in self.models if len(inputs) else ():
            model = table_model(predictor)
            behind = replace(predictor, model=Behind(model), encoder=None)
            found = behind.outputs(np.ascontiguousarray(inputs.values[:, start : start + model.width]))
            found = found if predictor.classes else predictor.numbers(found)
            found = middle(predictor.loss.levels, found) if self.of_quantiles else found
            total += found.reshape(len(inputs), -1)
            start += model.width
        return total / len(self.models)

    def probabilities(self, inputs: Inputs) -> Array:
        """(N, C) of all classes."""
        found = self.outputs(inputs)
        return np.concatenate([1 - found, found], axis=1) if found.shape[1] == 1 else found

    def losses(self, y: Array | IntArray | None, like: Inputs, *, power: Powers) -> Callable[[Inputs], Array]:
        """The loss of each row as a function of the inputs: squared error, in squared units of 2^power, or log loss. y (N,) are
        numbers or class codes; without them the predictions for `like` are what is to be met."""
        if not self.target.classes:
            wanted_N = self.outputs(like)[:, 0] if y is None else y
            return lambda inputs: np.square(scaled(self.outputs(inputs)[:, 0] - wanted_N, -power))
        share_NC = self.probabilities(like) if y is None else np.eye(len(self.target.classes))[y]
        return lambda inputs: -(share_NC * np.log(np.clip(self.probabilities(inputs), _TINY, 1 - _TINY))).sum(axis=1)

    def order(self, name: str, rows: IntArray) -> Array:
        """(N,) a number that rises with the values of a column of numbers or dates; NaN where they are missing."""
        seen, part = self.table.only([name]).take(rows), self._numbers[name]
        if not isinstance(part, DateColumn):
            return as_floats(seen, name)
        seconds, missing = as_seconds(seen, name, zone=part.zone)
        return np.where(missing, np.nan, seconds.astype(np.float64))

    def codes(self, name: str, rows: IntArray) -> IntArray:
        """(N,) codes of a column of categories, 0 where it is missing or a label without a code."""
        return self._categories[name].encode(self.table.only([name]).take(rows))

    @cached_property
    def _numbers(self) -> dict[str, NumberColumn | DateColumn]:
        """By its name, as the first model that has it learned it."""
        return {part.name: part for encoder in reversed(self._encoders) for part in encoder.numbers}

    @cached_property
    def _categories(self) -> dict[str, CategoryColumn]:
        return {part.name: part for encoder in reversed(self._encoders) for part in encoder.categories}

    @property
    def _encoders(self) -> list[Encoder]:
        return [predictor.encoder for predictor in self.models if predictor.encoder is not None]

    def values(self, name: str, rows: IntArray) -> tuple[Value, ...]:
        """What stands in a column, one value a row: a number, or text; None where it is missing or a label without a code."""
        seen = self.table.only([name]).take(rows)
        if self.columns[name] == "number":
            return tuple(None if np.isnan(x) else float(x) for x in as_floats(seen, name))
        if self.columns[name] == "date":
            return tuple(None if value is None else str(value) for value in seen.column(name).to_pylist())
        return self._categories[name].texts(seen)

    def check(self) -> None:
        """Raises DataError where there are too few rows to compare."""
        if self.table.n_rows < 2:
            few = f"{self.table.name}: explain must have at least 2 rows to compare, got {self.table.n_rows}"
            raise DataError(f"{few}; add rows, whatever their target")
