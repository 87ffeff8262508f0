"""Several models of one target whose mean predicts, with the methods of one; saved as one file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mbgd.data.files import Dialect
from mbgd.desk.data_warning import warn_of
from mbgd.desk.dialects import dialect_of_model
from mbgd.desk.one_row import RowPredictor, row_predictor
from mbgd.desk.plain import plain_model
from mbgd.desk.predictor import Predictor
from mbgd.errors import PlanError
from mbgd.measure.conformal import Pair, Widening
from mbgd.measure.quantiles import middle
from mbgd.measure.threshold import Threshold
from mbgd.model.saved import save_model
from mbgd.step.loss import Loss

if TYPE_CHECKING:  # Arrow takes a fifth of a second to load
    import pyarrow as pa

    from mbgd.data.cells import Cells
    from mbgd.data.encode.encoder import Encoder
    from mbgd.data.encode.target import Target
    from mbgd.data.encode.targets import Targets
    from mbgd.data.table import Table


@dataclass(frozen=True)
class Ensemble:
    """Predicts the mean of what its models predict: of numbers in the target's own units, of each quantile, of probabilities
    for classes.

    Each has its own weights and widening, and where they were trained on other rows its own encoder, scale and temperature.
    The threshold is one for all: of the mean probability.
    """

    predictors: tuple[Predictor, ...]
    facts: Mapping[str, Any] | None = None
    threshold: Threshold | None = None

    @property
    def model(self) -> nn.ModuleList:
        """The networks, one after the other."""
        return nn.ModuleList(predictor.model for predictor in self.predictors)

    @property
    def loss(self) -> Loss:
        return self.predictors[0].loss

    @property
    def output_shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.predictors[0].output_shape  # of a table's model
        return shape

    @property
    def target(self) -> Target | Targets | None:
        """Name, task and classes are those of all; the scale is the first one's."""
        return self.predictors[0].target

    @property
    def encoder(self) -> Encoder | None:
        """The first one's."""
        return self.predictors[0].encoder

    @property
    def temperature(self) -> float:
        """The geometric mean."""
        return float(np.exp(np.mean(np.log([predictor.temperature for predictor in self.predictors]))))

    @property
    def widening(self) -> Widening | None:
        """The mean of theirs, to be read and not to be applied: `outputs` are widened already."""
        each = [one.widening for one in self.predictors if one.widening is not None]
        return Widening(self.loss.levels, tuple(map(_mean, *(one.pairs for one in each)))) if each else None

    @property
    def classes(self) -> tuple[Any, ...]:
        """The class labels, in the order of `predict_proba`'s columns; none for regression."""
        return self.predictors[0].classes

    @property
    def columns(self) -> dict[str, str]:
        """The input columns that a table must have, each with its kind: all that any of the models takes."""
        return {name: kind for predictor in self.predictors for name, kind in predictor.columns.items()}

    @property
    def inputs(self) -> pa.Schema:
        """Types to force on the input columns of a CSV file, so that they are read as they were in training."""
        return _united([predictor.inputs for predictor in self.predictors])

    @property
    def cells(self) -> Cells:
        """How the text of rows to predict is read."""
        return self.predictors[0].cells

    @property
    def schema(self) -> pa.Schema:
        """The same of inputs and target."""
        return _united([predictor.schema for predictor in self.predictors])

    @property
    def dialect(self) -> Dialect:
        """How CSV files to predict are taken to be written, where nothing else is said: as in training."""
        return dialect_of_model(self.facts or {}, () if self.target is None else self.target.names)

    def predict(self, data: Any) -> NDArray[Any]:
        """Shape (n,): the mean in the target's own units, the median of quantiles, or the class of highest mean probability, or
        that by the threshold; (n, T) of several targets."""
        return self.decide(self.outputs(data))

    def predict_quantiles(self, data: Any) -> NDArray[np.float64]:
        """Shape (n, Q): the mean quantile of each of `loss.levels`, in rising order."""
        if not self.loss.levels:
            return self.predictors[0].predict_quantiles(data)  # which says what has them
        return self.outputs(data)

    def predict_proba(self, data: Any) -> NDArray[np.float64]:
        """Shape (n, C): the mean probability of each of `classes`."""
        if not self.classes:
            raise PlanError("predict_proba needs a model of classes, got one that predicts numbers; use predict")
        return self.spread(self.outputs(data))

    def outputs(self, data: Any) -> NDArray[np.float64]:
        """Means in the target's own units (n,) or (n, T), widened quantiles (n, Q), probabilities of class 1 (n,), or of all
        (n, C)."""
        from mbgd.data.encode.unseen import count_unseen, unseen_said
        from mbgd.data.table import open_table

        table = open_table(data, dialect=self.dialect, schema_like=self.inputs, cells=self.cells)
        predicted = self.of_table(table)
        assert self.encoder is not None
        warn_of(unseen_said(count_unseen(self.encoder, table)))
        return predicted

    def of_table(self, table: Table) -> NDArray[np.float64]:
        """The same of an opened table, which is encoded once for all models that share an encoder."""
        total, encoder, encoded = np.zeros(()), None, None
        for predictor in self.predictors:
            if encoded is None or predictor.encoder is not encoder:
                encoder = predictor.encoder
                assert encoder is not None
                encoded = encoder.encode(table)
            total = total + predictor.means(encoded)
        return total / len(self.predictors)

    def decide(self, outputs: NDArray[np.float64]) -> NDArray[Any]:
        """Predictions from the means that `outputs` gives."""
        if self.classes:
            return replace(self.predictors[0], threshold=self.threshold).decide(outputs)
        return middle(self.loss.levels, outputs) if self.loss.levels else outputs

    def numbers(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Means or quantiles in the target's own units: as they are, since those of each model were made so."""
        return outputs

    def spread(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (n, C), of both classes where `outputs` are those of one."""
        return self.predictors[0].spread(outputs)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one safetensors file that holds all of them."""
        save_model(Path(path), self.model, facts={**(self.facts or {}), **self.described()})
        return Path(path)

    def described(self) -> dict[str, Any]:
        """What the model file says of them as JSON, weights apart; an encoder that several share is in it once."""
        encoders = list({id(p.encoder): p.encoder for p in self.predictors}.values())
        numbers = {id(encoder): number for number, encoder in enumerate(encoders)}
        models = [
            {**p.described(), "encoder": numbers[id(p.encoder)], "scores": (p.facts or {}).get("scores")}
            for p in self.predictors
        ]
        said = {"kind": "ensemble", "encoders": [e.to_json() for e in encoders if e is not None], "models": models}
        return {**said, "threshold": None if self.threshold is None else asdict(self.threshold)}

    @cached_property
    def of_one(self) -> RowPredictor:
        """The same models for one row at a time, without torch on the way."""
        return row_predictor(plain_model(self))

    def predict_one(self, row: Mapping[str, Any]) -> Any:
        """`predict` of one row, a mapping of column to value: a number or label."""
        return self.of_one.predict_one(row)

    def predict_proba_one(self, row: Mapping[str, Any]) -> NDArray[np.float64]:
        """`predict_proba` of one row, (C,)."""
        return self.of_one.predict_proba_one(row)

    def predict_quantiles_one(self, row: Mapping[str, Any]) -> NDArray[np.float64]:
        """`predict_quantiles` of one row, (Q,)."""
        return self.of_one.predict_quantiles_one(row)


Predicting = Predictor | Ensemble


def _united(schemas: list[pa.Schema]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(list({field.name: field for schema in schemas for field in schema}.values()))


def _mean(*each: Pair) -> Pair:
    """Of one pair of levels in several models; one that was too few rows to know of is moved by nothing."""
    known = [pair.by for pair in each if pair.by is not None]
    return replace(each[0], by=sum(known) / len(each) if known else None, rows=sum(pair.rows for pair in each))


def blocks(predictor: Predicting, tables: Iterator[Table]) -> Iterator[tuple[Table, dict[str, NDArray[Any]]]]:
    """(rows, their predictions by the name of the column) of each block of a table that is read piece by piece."""
    from mbgd.data.encode.unseen import count_unseen, unseen_said

    assert predictor.encoder is not None
    unseen = None
    for table in tables:
        yield table, columns_of(predictor, predictor.of_table(table))
        unseen = count_unseen(predictor.encoder, table, unseen)
    warn_of(unseen_said(unseen or {}))


def columns_of(predictor: Predicting, outputs: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """What a file of predictions holds of a row: the prediction, one a target, and the probabilities or quantiles behind it."""
    prediction, several = predictor.decide(outputs), () if predictor.target is None else predictor.target.names
    found: dict[str, NDArray[Any]] = {"prediction": prediction}
    if len(several) > 1:
        found = dict(zip([f"prediction_{name}" for name in several], prediction.T, strict=True))
    if predictor.classes:
        names = [f"probability_{label}" for label in predictor.classes]
        found |= zip(names, predictor.spread(outputs).T, strict=True)
    elif predictor.loss.levels:
        names = [f"q{level:g}" for level in predictor.loss.levels]
        found |= zip(names, predictor.numbers(outputs).T, strict=True)
    return {name: np.ascontiguousarray(values) for name, values in found.items()}
