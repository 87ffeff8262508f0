"""A trained module with its encoder and target in, predictions for new rows out; to and from the one-file model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mbgd.data.encode.encoder import Encoder
from mbgd.data.encode.target import Target
from mbgd.data.given import as_source
from mbgd.data.source import ArraySource, Rows, Source
from mbgd.data.table import Table, open_table
from mbgd.errors import PlanError, SavedFileError
from mbgd.measure.evaluate import predict
from mbgd.model.saved import SavedModel, load_into, load_model, save_model
from mbgd.model.saved import restore as rebuild
from mbgd.step.loss import Loss, make_loss


@dataclass(frozen=True)
class Predictor:
    """Predicts for rows of the kind that the module was trained on; `encoder` and `target` where that was a table."""

    model: nn.Module
    loss: Loss
    output_shape: tuple[int, ...]
    encoder: Encoder | None = None
    target: Target | None = None
    facts: Mapping[str, Any] | None = None

    @property
    def classes(self) -> tuple[Any, ...]:
        """The class labels, in the order of `predict_proba`'s columns; none for regression."""
        if self.loss.kind not in ("binary", "multiclass"):
            return ()
        if self.target is not None:
            return self.target.classes
        return tuple(range(2 if self.loss.kind == "binary" else self.output_shape[0]))

    def predict(self, data: Any) -> NDArray[Any]:
        """Shape (n,): the mean in the target's own units, or the class of highest probability."""
        return self.decide(self.outputs(data))

    def predict_proba(self, data: Any) -> NDArray[np.float64]:
        """Shape (n, C): the probability of each of `classes`."""
        if not self.classes:
            raise PlanError("predict_proba needs a model of classes, got one that predicts numbers; use predict")
        return self.spread(self.outputs(data))

    def decide(self, outputs: NDArray[np.float64]) -> NDArray[Any]:
        """Predictions from the loss's own predictions, as `outputs` gives them."""
        if not self.classes:
            return outputs if self.target is None else self.target.restore(outputs)
        best = self.spread(outputs).argmax(axis=1)
        labels: NDArray[Any] = np.array(self.classes)[best]
        return labels

    def spread(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (n, C), of both classes where the model gives one."""
        return np.stack([1.0 - outputs, outputs], axis=1) if outputs.ndim == 1 else outputs

    def outputs(self, data: Any) -> NDArray[np.float64]:
        """What the loss makes of the model's outputs: means (n,), probabilities of class 1 (n,), or of all (n, C)."""
        return self.of_table(open_table(data)) if self.encoder is not None else self._of_source(self._inputs(data))

    def of_table(self, table: Table) -> NDArray[np.float64]:
        """The same of an opened table, its columns found by name."""
        assert self.encoder is not None
        encoded = self.encoder.encode(table)
        x = (torch.from_numpy(encoded.numbers), torch.from_numpy(encoded.codes))
        return self._of_source(ArraySource(Rows(x, None, None)))

    def _inputs(self, data: Any) -> Source:
        source = as_source(data, need_target=False)
        dtype = next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.get_default_dtype())
        if isinstance(source, ArraySource):
            return ArraySource(source.data.map(lambda t: t.to(dtype) if t.is_floating_point() else t))
        return source

    def _of_source(self, source: Source) -> NDArray[np.float64]:
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        parts = [p.double().cpu().numpy() for p, _, _ in predict(self.model, source, loss=self.loss, device=device)]
        shape = (0, self.output_shape[0]) if self.loss.kind == "multiclass" else (0,)
        return np.concatenate(parts) if parts else np.zeros(shape)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one safetensors file that holds all of this; a user's own module is saved as weights alone."""
        facts = dict(self.facts or {}) | {
            "kind": "module" if self.encoder is None else "table",
            "class": f"{type(self.model).__module__}.{type(self.model).__qualname__}",
            "loss": self.loss.name,
            "output_shape": list(self.output_shape),
            "encoder": None if self.encoder is None else self.encoder.to_json(),
            "target": None if self.target is None else self.target.to_json(),
        }
        save_model(Path(path), self.model, facts=facts)
        return Path(path)


def load(path: str | os.PathLike[str], model: nn.Module | None = None) -> Predictor:
    """A trained model from a run folder or a model file, without pickle.

    A table's model is built anew. A module of your own was saved as weights alone: give `model`, an instance of it,
    which gets them. Raises SavedFileError for a damaged, foreign or newer file, or another architecture.
    """
    place = Path(path)
    file = place / "model.safetensors" if place.is_dir() else place
    if place.is_dir() and not file.exists():
        raise SavedFileError(
            f"{place} must hold model.safetensors, got none; the run has not ended: 'mbgd resume {place}' ends it"
        )
    saved = load_model(file)
    if saved.facts.get("kind") == "table":
        return _of_a_table(saved)
    if model is None:
        what = f"{file} holds the weights of a module of your own, {saved.facts.get('class')}"
        raise SavedFileError(f"{what}; give an instance of it: load({str(path)!r}, model)")
    load_into(file, model)
    return Predictor(model, _loss(saved.facts), tuple(saved.facts["output_shape"]), facts=saved.facts)


def _of_a_table(saved: SavedModel) -> Predictor:
    facts = saved.facts
    return Predictor(
        model=rebuild(saved),
        loss=_loss(facts),
        output_shape=tuple(facts["output_shape"]),
        encoder=Encoder.from_json(facts["encoder"]),
        target=Target.from_json(facts["target"]),
        facts=facts,
    )


def _loss(facts: Mapping[str, Any]) -> Loss:
    """The loss by its name; a loss of the user's own is not needed for predicting, whose outputs then stand as they are."""
    shape = tuple(facts["output_shape"])
    try:
        return make_loss(facts["loss"], output_shape=shape)
    except PlanError:
        return make_loss(_unreduced, output_shape=shape)


def _unreduced(output: Any, y: Any) -> Any:
    return output


def blocks(
    predictor: Predictor, tables: Iterator[Table]
) -> Iterator[tuple[Table, NDArray[Any], NDArray[np.float64] | None]]:
    """(rows, predictions, probabilities or None) of each block of a table that is read piece by piece."""
    for table in tables:
        outputs = predictor.of_table(table)
        yield table, predictor.decide(outputs), predictor.spread(outputs) if predictor.classes else None
