"""Predict new rows with a trained module, its encoder and its target; saved as one file, and made again from it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mbgd.data.files import Dialect
from mbgd.data.given import as_inputs
from mbgd.data.source import ArraySource, Rows, Source
from mbgd.data.sparse import SparseSource
from mbgd.desk.array_rows import answers, blocks_of, by_name, check_fits, has_columns
from mbgd.desk.data_warning import warn_of
from mbgd.desk.dialects import dialect_of_model
from mbgd.desk.inputs import as_the_model_takes_them, checked_outputs
from mbgd.desk.one_row import RowPredictor, row_predictor
from mbgd.desk.plain import plain_model
from mbgd.errors import PlanError
from mbgd.forks import after_fork
from mbgd.measure.calibrate import tempered
from mbgd.measure.conformal import Widening
from mbgd.measure.quantiles import middle
from mbgd.measure.threshold import Threshold
from mbgd.model.saved import save_model
from mbgd.step.loss import Loss, make_loss
from mbgd.step.targets import Shape, shape_from_json
from mbgd.step.torch_loss import TORCH_LOSSES

if TYPE_CHECKING:  # Arrow takes a fifth of a second to load, and a model of arrays needs none of these
    import pyarrow as pa

    from mbgd.data.cells import Cells
    from mbgd.data.encode.encoder import Encoded, Encoder
    from mbgd.data.encode.target import Target
    from mbgd.data.encode.targets import Targets
    from mbgd.data.table import Table


@dataclass(frozen=True)
class Predictor:
    """Predicts for rows of the kind that the module was trained on; `encoder` and `target` where that was a table."""

    model: nn.Module
    loss: Loss
    output_shape: Shape
    encoder: Encoder | None = None
    target: Target | Targets | None = None
    facts: Mapping[str, Any] | None = None
    temperature: float = 1.0  # probabilities are those of outputs / temperature
    widening: Widening | None = None  # of quantiles, by validation rows
    threshold: Threshold | None = None  # where it is not the likelier class that is predicted
    names: tuple[str, ...] = ()  # of the columns of the frame that a model of arrays was trained on
    multilabel: bool = False  # each output is the probability of a label by itself, of those above 1/2 the row has

    @property
    def classes(self) -> tuple[Any, ...]:
        """The class labels, in the order of `predict_proba`'s columns; none for regression."""
        if self.loss.kind not in ("binary", "multiclass"):
            return ()
        if self.target is not None:
            return self.target.classes
        return tuple(range(2 if self.loss.kind == "binary" else self.output_shape[0]))

    @property
    def columns(self) -> dict[str, str]:
        """The input columns that a table must have, each with its kind; none where rows are arrays."""
        return {} if self.encoder is None else self.encoder.columns

    @property
    def inputs(self) -> pa.Schema:
        """Types to force on the input columns of a CSV file, so that they are read as they were in training."""
        assert self.encoder is not None
        return self.encoder.schema

    @property
    def cells(self) -> Cells:
        """How the text of rows to predict is read."""
        assert self.encoder is not None
        return self.encoder.cells

    @property
    def schema(self) -> pa.Schema:
        """The same of inputs and target."""
        import pyarrow as pa

        assert self.target is not None
        text = bool(self.target.classes) and all(isinstance(label, str) for label in self.target.classes)
        kind = pa.string() if text else pa.float64() if not self.target.classes else None
        target = [] if kind is None else [pa.field(name, kind) for name in self.target.names]
        return pa.schema([*self.inputs, *target])

    @property
    def dialect(self) -> Dialect:
        """How CSV files to predict are taken to be written, where nothing else is said: as in training."""
        return dialect_of_model(self.facts or {}, () if self.target is None else self.target.names)

    def predict(self, data: Any) -> NDArray[Any]:
        """Shape (n,): the mean in the target's own units, the median of quantiles, or the class of highest probability, or
        that by the threshold; (n, T) of several targets; labels 0 and 1 (n, L) of several a row. Of a module that returns a
        tuple or dict the same of arrays."""
        return self.decide(self.outputs(data))

    def predict_quantiles(self, data: Any) -> NDArray[np.float64]:
        """Shape (n, Q): the quantile of each of `loss.levels`, in rising order, pairs of them widened."""
        if not self.loss.levels:
            raise PlanError(
                "predict_quantiles needs a model of quantiles, got another; train with quantiles=(0.05, 0.5, 0.95)"
            )
        return self.numbers(self.outputs(data))

    def predict_proba(self, data: Any) -> NDArray[np.float64]:
        """Shape (n, C): the probability of each of `classes`; (n, L) of labels, each by itself."""
        if not self.classes and not self.multilabel:
            raise PlanError("predict_proba needs a model of classes, got one that predicts numbers; use predict")
        return self.spread(self.outputs(data))

    @cached_property
    def of_one(self) -> RowPredictor:
        """The same model for one row at a time, without torch on the way. Raises PlanError for a module of your own."""
        return row_predictor(plain_model(self))

    def predict_one(self, row: Any) -> Any:
        """`predict` of one row: a number or label; an array (T,) of several targets. A row is a mapping of column to value, or
        for a model of arrays a sequence of numbers."""
        return self.of_one.predict_one(row)

    def predict_proba_one(self, row: Any) -> NDArray[np.float64]:
        """`predict_proba` of one row, (C,)."""
        return self.of_one.predict_proba_one(row)

    def predict_quantiles_one(self, row: Any) -> NDArray[np.float64]:
        """`predict_quantiles` of one row, (Q,)."""
        return self.of_one.predict_quantiles_one(row)

    def decide(self, outputs: NDArray[np.float64]) -> NDArray[Any]:
        """Predictions from the loss's own predictions, as `outputs` gives them."""
        if self.multilabel:
            return (outputs > 0.5).astype(np.int64)
        if not self.classes:
            numbers = self.numbers(outputs)
            return middle(self.loss.levels, numbers) if self.loss.levels else numbers
        p = self.spread(outputs)
        best = p.argmax(axis=1) if self.threshold is None else self.threshold.found(p)
        labels: NDArray[Any] = np.array(self.classes)[best]
        return labels

    def numbers(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Means or quantiles in the target's own units."""
        own = outputs if self.target is None else self.target.restore(outputs)
        return own if self.widening is None else self.widening.applied(own)

    def spread(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (n, C), of both classes where the model gives one."""
        return np.stack([1.0 - outputs, outputs], axis=1) if outputs.ndim == 1 else outputs

    @after_fork()
    def outputs(self, data: Any) -> Any:
        """What the loss makes of the model's outputs: means (n,), probabilities of class 1 (n,), or of all (n, C); quantiles
        (n, Q)."""
        if self.encoder is None:
            found = [self._of_arrays(rows, first) for first, rows in blocks_of(data, loss=self.loss)]
            return found[0] if len(found) == 1 else np.concatenate(found)
        from mbgd.data.encode.unseen import count_unseen, unseen_said
        from mbgd.data.table import open_table

        how: dict[str, Any] = {"schema_like": self.encoder.schema, "cells": self.encoder.cells}
        table = open_table(data, dialect=self.dialect, **how)
        predicted = self.of_table(table)
        warn_of(unseen_said(count_unseen(self.encoder, table)))
        return predicted

    def of_table(self, table: Table) -> NDArray[np.float64]:
        """The same of an opened table, its columns found by name."""
        assert self.encoder is not None
        return self.of_encoded(self.encoder.encode(table))

    @after_fork()
    def of_encoded(self, encoded: Encoded) -> NDArray[np.float64]:
        """The same of rows that its encoder has encoded."""
        x = (torch.from_numpy(encoded.numbers), torch.from_numpy(encoded.codes))
        found: NDArray[np.float64] = self._of_source(ArraySource(Rows(x, None, None)))
        return found

    def means(self, encoded: Encoded) -> NDArray[np.float64]:
        """Of rows that its encoder has encoded: `numbers` in the target's own units, or probabilities as `outputs`."""
        outputs = self.of_encoded(encoded)
        return outputs if self.classes else self.numbers(outputs)

    def _of_arrays(self, data: Any, first: int) -> Any:
        """Of inputs alone, the `first` row of all and those behind it. Raises DataError for those that the model refuses."""
        if self.names and has_columns(data):
            data = by_name(data, self.names, model=self.model)
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        source = as_inputs(data)
        if isinstance(source, (ArraySource, SparseSource)):
            check_fits(self.model, source.data.x, names=self.names, first=first)
        source = as_the_model_takes_them(self.model, source, device=device)
        return checked_outputs(source, lambda: self._of_source(source, first=first))

    def _of_source(self, source: Source, *, first: int = 0) -> Any:
        loss = tempered(self.loss, self.temperature)
        return answers(self.model, source, loss=loss, output_shape=self.output_shape, first=first)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied as its fields are, its loss by name as in a file: a `Loss` is made of functions inside others."""
        said = self.described()
        held = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "loss"}
        return _again, ({name: said[name] for name in ("loss", "output_shape", "quantiles")}, held)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one safetensors file that holds all of this; a user's own module is saved as weights alone."""
        save_model(Path(path), self.model, facts=dict(self.facts or {}) | self.described())
        return Path(path)

    def described(self) -> dict[str, Any]:
        """What the model file says of it as JSON, its weights and architecture apart."""
        return {
            "kind": "module" if self.encoder is None else "table",
            "class": f"{type(self.model).__module__}.{type(self.model).__qualname__}",
            "loss": f"own:{self.loss.name}" if self.loss.own else self.loss.name,
            "output_shape": self.output_shape if isinstance(self.output_shape, dict) else list(self.output_shape),
            "encoder": None if self.encoder is None else self.encoder.to_json(),
            "target": None if self.target is None else self.target.to_json(),
            "temperature": self.temperature,
            "quantiles": list(self.loss.levels),
            "widening": None if self.widening is None else self.widening.to_json(),
            "threshold": None if self.threshold is None else asdict(self.threshold),
            **({"multilabel": True} if self.multilabel else {}),
            **({"names": list(self.names)} if self.names else {}),
        }


def of_a_table(facts: Mapping[str, Any], model: nn.Module, *, encoder: Encoder) -> Predictor:
    """A table's model as its file describes it."""
    return replace(of_arrays(facts, model), encoder=encoder)


def of_arrays(facts: Mapping[str, Any], model: nn.Module) -> Predictor:
    """A model of arrays as its file describes it; the target is known where an estimator trained it."""
    from mbgd.data.encode.targets import target_from_json

    loss, target = loss_of(facts), facts.get("target")
    widening, threshold = facts.get("widening"), facts.get("threshold")
    return Predictor(
        model,
        loss,
        shape_from_json(facts["output_shape"]),
        target=None if target is None else target_from_json(target),
        facts=facts,
        temperature=float(facts.get("temperature", 1.0)),
        widening=None if widening is None else Widening.from_json(loss.levels, widening),
        threshold=None if threshold is None else Threshold.from_json(threshold),
        names=tuple(facts.get("names", ())),
        multilabel=bool(facts.get("multilabel")),
    )


def loss_of(facts: Mapping[str, Any]) -> Loss:
    """The loss by its name, ours or torch's; one of the user's own is not needed for predicting: outputs stand as they are."""
    shape = shape_from_json(facts["output_shape"])
    name, levels = str(facts["loss"]), tuple(facts.get("quantiles", ()))
    try:
        return make_loss(TORCH_LOSSES[name]() if name in TORCH_LOSSES else name, output_shape=shape, levels=levels)
    except PlanError:
        return replace(make_loss(_unreduced, output_shape=shape), name=name.removeprefix("own:"))


def _again(said: Mapping[str, Any], held: Mapping[str, Any]) -> Predictor:
    """What `Predictor.__reduce__` took apart."""
    return Predictor(loss=loss_of(said), **held)


def _unreduced(output: Any, y: Any) -> Any:
    return output
