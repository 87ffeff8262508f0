"""Several models of one target in, their mean out, with the face of one of them; into the one-file model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mbgd.desk.predictor import Predictor
from mbgd.errors import PlanError
from mbgd.model.saved import save_model
from mbgd.step.loss import Loss

if TYPE_CHECKING:  # Arrow takes a fifth of a second to load
    import pyarrow as pa

    from mbgd.data.encode.encoder import Encoder
    from mbgd.data.encode.target import Target
    from mbgd.data.table import Table


@dataclass(frozen=True)
class Ensemble:
    """Predicts the mean of what its models predict: of numbers in the target's own units, of probabilities for classes.

    Each has its own weights, and where they were trained on other rows its own encoder, scale and temperature.
    """

    predictors: tuple[Predictor, ...]
    facts: Mapping[str, Any] | None = None

    @property
    def model(self) -> nn.ModuleList:
        """The networks, one after the other."""
        return nn.ModuleList(predictor.model for predictor in self.predictors)

    @property
    def loss(self) -> Loss:
        return self.predictors[0].loss

    @property
    def target(self) -> Target | None:
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
    def schema(self) -> pa.Schema:
        """The same of inputs and target."""
        return _united([predictor.schema for predictor in self.predictors])

    def predict(self, data: Any) -> NDArray[Any]:
        """Shape (n,): the mean in the target's own units, or the class of highest mean probability."""
        return self.decide(self.outputs(data))

    def predict_proba(self, data: Any) -> NDArray[np.float64]:
        """Shape (n, C): the mean probability of each of `classes`."""
        if not self.classes:
            raise PlanError("predict_proba needs a model of classes, got one that predicts numbers; use predict")
        return self.spread(self.outputs(data))

    def outputs(self, data: Any) -> NDArray[np.float64]:
        """Means in the target's own units (n,), probabilities of class 1 (n,), or of all (n, C)."""
        from mbgd.data.table import open_table

        return self.of_table(open_table(data, schema_like=self.inputs))

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
        return self.predictors[0].decide(outputs) if self.classes else outputs

    def spread(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (n, C), of both classes where `outputs` are those of one."""
        return self.predictors[0].spread(outputs)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one safetensors file that holds all of them; an encoder that several share is in it once."""
        encoders = list({id(p.encoder): p.encoder for p in self.predictors}.values())
        numbers = {id(encoder): number for number, encoder in enumerate(encoders)}
        models = [
            {**p.described(), "encoder": numbers[id(p.encoder)], "scores": (p.facts or {}).get("scores")}
            for p in self.predictors
        ]
        said = {"kind": "ensemble", "encoders": [e.to_json() for e in encoders if e is not None], "models": models}
        save_model(Path(path), self.model, facts={**(self.facts or {}), **said})
        return Path(path)


Predicting = Predictor | Ensemble


def _united(schemas: list[pa.Schema]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(list({field.name: field for schema in schemas for field in schema}.values()))


def blocks(
    predictor: Predicting, tables: Iterator[Table]
) -> Iterator[tuple[Table, NDArray[Any], NDArray[np.float64] | None]]:
    """(rows, predictions, probabilities or None) of each block of a table that is read piece by piece."""
    for table in tables:
        outputs = predictor.of_table(table)
        yield table, predictor.decide(outputs), predictor.spread(outputs) if predictor.classes else None
