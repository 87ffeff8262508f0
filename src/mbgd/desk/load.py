"""Load what predicts from a run folder or a model file: one model, or several whose mean it is; no code is run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import nn

from mbgd.desk.ensemble import Ensemble, Predicting
from mbgd.desk.model_facts import OF_TABLES, of_own_module, read_description
from mbgd.desk.predictor import of_a_table, of_arrays
from mbgd.errors import DataError, PlanError, SavedFileError, taken_at_its_word
from mbgd.forks import one_thread
from mbgd.measure.threshold import Threshold
from mbgd.model.saved import SavedModel, put_into, restore, with_tensors


@one_thread()  # a server forks after it: no thread of OpenMP may begin
def load(path: str | os.PathLike[str], model: nn.Module | None = None) -> Predicting:
    """A trained model from a run folder or a model file, without pickle.

    A table's model, an estimator's and one of `mbgd.mlp` are built anew; several, of folds or members, come back as an
    `Ensemble`. A module of your own was saved as weights alone: give `model`, an instance of it, which gets them. Raises
    SavedFileError for a damaged, foreign or newer file, or another architecture.
    """
    saved = _read(Path(path))
    if saved.facts["kind"] in OF_TABLES:
        return _of_tables(saved, place=path)
    if model is None and saved.architecture is not None:
        with taken_at_its_word(saved.path):
            return of_arrays(saved.facts, restore(saved))
    if model is None:
        raise of_own_module(saved.path, saved.facts, place=path)
    put_into(saved, model)
    with taken_at_its_word(saved.path):
        return of_arrays(saved.facts, model)


@one_thread()
def load_table(path: str | os.PathLike[str]) -> Predicting:
    """`load` of a table's model or models, which know its columns. Raises SavedFileError for any other."""
    saved = _read(Path(path))
    if saved.facts["kind"] not in OF_TABLES:
        raise SavedFileError(f"{path} is no model of a table; load it in Python: mbgd.load(path, model)")
    return _of_tables(saved, place=path)


def _read(place: Path) -> SavedModel:
    return with_tensors(read_description(place))


def _of_tables(saved: SavedModel, *, place: object) -> Predicting:
    """Built and tried, so that what is wrong with a file is said here and not by a later prediction."""
    if saved.architecture is None:
        raise of_own_module(saved.path, saved.facts, place=place)
    try:
        with taken_at_its_word(saved.path):
            predictor = _built(saved)
            _try_out(predictor)
    except (PlanError, DataError) as error:
        raise SavedFileError(f"{saved.path} describes no model that predicts ({error}); take another copy") from None
    return predictor


def _try_out(predictor: Predicting) -> None:
    """Predict for a row of values and one of missing ones."""
    import pyarrow as pa

    values: dict[str, Any] = {
        "number": pa.scalar(0.0),
        "date": pa.scalar(0, pa.timestamp("us")),
        "category": pa.scalar(""),
    }
    rows = {name: pa.array([values[kind].as_py(), None], values[kind].type) for name, kind in predictor.columns.items()}
    outputs = predictor.outputs(rows)
    predictor.decide(outputs)
    if predictor.target is None or outputs.shape != (2, *predictor.output_shape):
        raise ValueError(f"predictions have shape {outputs.shape}")


def _built(saved: SavedModel) -> Predicting:
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
