"""Predict one row at a time, in microseconds: plain NumPy, without torch.

F numbers · O outputs of a row · T targets · C classes · Q quantile levels
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mbgd.data.encode.row import RowEncoder, UnusualValueError
from mbgd.desk.plain import Plain, PlainModel, labels_of, plain_file
from mbgd.errors import DataError, PlanError
from mbgd.measure.conformal import Widening
from mbgd.measure.quantiles import middle
from mbgd.measure.threshold import Threshold
from mbgd.model.arrays import Network, Scaling
from mbgd.step.plain import PREDICTIONS, prediction_word

if TYPE_CHECKING:
    from mbgd.data.encode.encoder import Encoder

Array = NDArray[np.float64]
Encoded = tuple[NDArray[Any], Sequence[int]]


@dataclass(frozen=True)
class _Model:
    """One network and what makes means of its outputs: numbers in the target's own units, or probabilities."""

    network: Network
    encoder: int | None
    temperature: float
    prediction: Callable[[Array], Array]
    center: Array  # (O,), as the next three
    scale: Array
    low: Array
    high: Array
    widening: Widening | None

    def means(self, encoded: Encoded, *, classes: bool) -> Array:
        output_O = self.network(*encoded).astype(np.float64)
        if self.temperature != 1:
            output_O /= self.temperature
        predicted_O = self.prediction(output_O)
        if classes:
            return predicted_O
        own_O = predicted_O * self.scale + self.center
        own_O = np.minimum(np.maximum(own_O, self.low), self.high)
        return own_O if self.widening is None else self.widening.applied(own_O[None])[0]


@dataclass(frozen=True)
class RowPredictor:
    """Predicts for one row what a `Predictor` or an `Ensemble` does for a table of that row alone, to rounding.

    A row is a mapping of column to value for a model of a table, else a sequence of numbers.
    """

    models: tuple[_Model, ...]
    encoders: tuple[RowEncoder, ...]
    described: tuple[Mapping[str, Any], ...]  # the same encoders as JSON, for values that only a table's encoder reads
    columns: Mapping[str, str]  # the input columns, each with its kind
    classes: tuple[Any, ...]
    levels: tuple[float, ...]
    several: bool  # outputs a row
    threshold: Threshold | None
    multilabel: bool = False  # each output is the probability of a label by itself
    names: tuple[str, ...] = ()  # of the columns, where a model of arrays was trained on a frame

    def predict_one(self, row: Any) -> Any:
        """The mean in the target's own units, the median of quantiles, or the class, as `predict`; an array (T,) of several
        targets, (L,) of labels. Raises DataError as that does."""
        mean_O = self._means(row)
        if self.multilabel:
            return (mean_O > 0.5).astype(np.int64)
        if self.classes:
            return self.classes[self._best(mean_O)]
        if self.levels:
            return float(middle(self.levels, mean_O[None])[0])
        return mean_O if self.several else float(mean_O[0])

    def predict_proba_one(self, row: Any) -> Array:
        """Shape (C,): the probability of each of `classes`; (L,) of labels, each by itself."""
        if self.multilabel:
            return self._means(row)
        if not self.classes:
            raise PlanError(
                "predict_proba_one needs a model of classes, got one that predicts numbers; use predict_one"
            )
        return self._spread(self._means(row))

    def predict_quantiles_one(self, row: Any) -> Array:
        """Shape (Q,): the quantile of each of `levels`, in rising order, pairs of them widened."""
        if not self.levels:
            raise PlanError(
                "predict_quantiles_one needs a model of quantiles, got another; train with quantiles=(0.05, 0.5, 0.95)"
            )
        return self._means(row)

    def _means(self, row: Any) -> Array:
        total, encoder, encoded = None, -1, None
        for model in self.models:
            if encoded is None or model.encoder != encoder:
                encoder = -1 if model.encoder is None else model.encoder
                encoded = self._numbers(row) if model.encoder is None else self._encoded(row, model.encoder)
            means_O = model.means(encoded, classes=bool(self.classes))
            total = means_O if total is None else total + means_O
        assert total is not None
        return total if len(self.models) == 1 else total / len(self.models)

    def _encoded(self, row: Any, encoder: int) -> Encoded:
        if not isinstance(row, Mapping):
            raise DataError(
                f"row must be a mapping of column to value, got {type(row).__name__}; predict takes tables and files"
            )
        try:
            return self.encoders[encoder](row)
        except (UnusualValueError, KeyError):
            return self._by_table(row, encoder)

    def _by_table(self, row: Mapping[str, Any], encoder: int) -> Encoded:
        """The encoding of a table of this row: reads whatever a table may hold, and says what is wrong with the rest."""
        from mbgd.data.table import open_table

        of_tables = self._of_tables[encoder]
        names = [name for name in of_tables.columns if name in row] or list(row)
        alone = {name: [row[name]] for name in names}
        encoded = of_tables.encode(open_table(alone, schema_like=of_tables.schema, cells=of_tables.cells))
        return encoded.numbers[0], encoded.codes[0].tolist()

    @cached_property
    def _of_tables(self) -> tuple[Encoder, ...]:
        from mbgd.data.encode.encoder import Encoder  # Arrow takes a fifth of a second to load

        return tuple(Encoder.from_json(described) for described in self.described)

    def _numbers(self, row: Any) -> Encoded:
        network, gaps = self.models[0].network, False
        if isinstance(row, Mapping):
            row, gaps = self._in_order(row), True
        try:
            given_F = np.asarray(row)
        except ValueError:  # of parts that differ in length
            given_F = np.array(None)
        if given_F.dtype.kind not in "biuf":
            raise DataError(f"row must hold {network.n_inputs} numbers, got {_shown(row)}; give numbers alone")
        if given_F.shape != (network.n_inputs,):
            raise DataError(f"row must hold {network.n_inputs} numbers, got shape {given_F.shape}; give one an input")
        numbers_F = given_F.astype(network.dtype)
        if gaps:
            center_F = network.front.center if isinstance(network.front, Scaling) else np.zeros(())
            numbers_F = np.where(np.isnan(numbers_F), center_F, numbers_F)
        if not np.isfinite(numbers_F).all():
            place = int(np.flatnonzero(~np.isfinite(numbers_F))[0])
            raise DataError(f"row must hold finite numbers, got {numbers_F[place]:g} at place {place}; fill it in")
        return numbers_F, ()

    def _in_order(self, row: Mapping[str, Any]) -> list[Any]:
        """The numbers of a row by the names of its columns, NaN for what is missing."""
        if not self.names:
            raise DataError(
                "row must be a sequence of numbers, got a mapping; the model was trained on an array, whose columns have no names"
            )
        for name in self.names:
            if name not in row:
                raise DataError(f"row has no column {name!r}, the model was trained with it; None is a missing number")
        return [np.nan if (value := row[name]) is None else value for name in self.names]

    def _spread(self, mean_O: Array) -> Array:
        return mean_O if self.several else np.array([1.0 - mean_O[0], mean_O[0]])

    def _best(self, mean_O: Array) -> int:
        p_C = self._spread(mean_O)
        return int(p_C.argmax() if self.threshold is None else self.threshold.found(p_C[None])[0])


def load_light(path: str | os.PathLike[str]) -> RowPredictor:
    """A trained model from a run folder or a model file, for one row at a time; torch is not imported.

    Raises SavedFileError for a damaged, foreign or newer file, and for weights of a module of your own.
    """
    return row_predictor(plain_file(Path(path)))


def row_predictor(plain: Plain) -> RowPredictor:
    """The predictor of one row; nothing is copied."""
    first = plain.models[0]
    threshold = plain.threshold
    return RowPredictor(
        models=tuple(_model(model) for model in plain.models),
        encoders=tuple(RowEncoder(encoder) for encoder in plain.encoders),
        described=plain.encoders,
        columns={
            fact["name"]: fact["kind"] for e in plain.encoders for fact in e["facts"] if fact["kind"] != "left out"
        },
        classes=labels_of(plain),
        levels=first.levels,
        several=first.several,
        threshold=None if threshold is None else Threshold.from_json(threshold),
        multilabel=bool(first.facts.get("multilabel")),
        names=tuple(first.facts.get("names", ())),
    )


def _model(plain: PlainModel) -> _Model:
    facts, levels = plain.facts, plain.levels
    target = facts.get("target") or {}
    each = target.get("several") or [target]
    widening = facts.get("widening")
    word = prediction_word(facts["loss"], several=plain.several, levels=levels)
    return _Model(
        network=plain.network,
        encoder=plain.encoder,
        temperature=float(facts.get("temperature", 1.0)),
        prediction=PREDICTIONS[word],
        center=np.array([float(one.get("center", 0.0)) for one in each]),
        scale=np.array([float(one.get("scale", 1.0)) for one in each]),
        low=np.array([_end(one.get("low"), -inf) for one in each]),
        high=np.array([_end(one.get("high"), inf) for one in each]),
        widening=None if widening is None else Widening.from_json(levels, widening),
    )


def _shown(row: Any) -> str:
    text = " ".join(repr(row).split())
    return text if len(text) <= 60 else text[:57] + "..."


def _end(value: float | None, without: float) -> float:
    return without if value is None else float(value)
