"""A run folder or model file in, what predicts out: one model, or several whose mean it is; no code is run."""

from __future__ import annotations

import os
from pathlib import Path

from torch import nn

from mbgd.desk.ensemble import Ensemble, Predicting
from mbgd.desk.plain import finished_model
from mbgd.desk.predictor import Predictor, loss_of, of_a_table
from mbgd.errors import SavedFileError
from mbgd.measure.threshold import Threshold
from mbgd.model.saved import SavedModel, load_model, put_into, restore


def load(path: str | os.PathLike[str], model: nn.Module | None = None) -> Predicting:
    """A trained model from a run folder or a model file, without pickle.

    A table's model is built anew; several, of folds or members, come back as an `Ensemble`. A module of your own was
    saved as weights alone: give `model`, an instance of it, which gets them. Raises SavedFileError for a damaged, foreign
    or newer file, or another architecture.
    """
    saved = _read(Path(path))
    if saved.facts.get("kind") in _OF_TABLES:
        return _of_tables(saved)
    if model is None:
        what = f"{saved.path} holds the weights of a module of your own, {saved.facts.get('class')}"
        raise SavedFileError(f"{what}; give an instance of it: load({str(path)!r}, model)")
    put_into(saved, model)
    return Predictor(model, loss_of(saved.facts), tuple(saved.facts["output_shape"]), facts=saved.facts)


def load_table(path: str | os.PathLike[str]) -> Predicting:
    """`load` of a table's model or models, which know its columns. Raises SavedFileError for any other."""
    saved = _read(Path(path))
    if saved.facts.get("kind") not in _OF_TABLES:
        raise SavedFileError(f"{path} is no model of a table; load it in Python: mbgd.load(path, model)")
    return _of_tables(saved)


_OF_TABLES = ("table", "ensemble")


def _read(place: Path) -> SavedModel:
    return load_model(finished_model(place))


def _of_tables(saved: SavedModel) -> Predicting:
    from mbgd.data.encode.encoder import Encoder  # Arrow takes a fifth of a second to load

    facts, module = saved.facts, restore(saved)
    if facts["kind"] == "table":
        return of_a_table(facts, module, encoder=Encoder.from_json(facts["encoder"]))
    assert isinstance(module, nn.ModuleList)
    encoders, threshold = [Encoder.from_json(encoder) for encoder in facts["encoders"]], facts.get("threshold")
    return Ensemble(
        tuple(
            of_a_table(said, one, encoder=encoders[said["encoder"]])
            for said, one in zip(facts["models"], module, strict=True)
        ),
        facts=facts,
        threshold=None if threshold is None else Threshold.from_json(threshold),
    )
