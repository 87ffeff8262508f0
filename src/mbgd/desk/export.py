"""Write a trained model as one ONNX file that predicts without Python, in the target's own units."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbgd.desk.output import files_read, output_file
from mbgd.desk.plain import Plain, labels_of, plain_file, plain_model
from mbgd.errors import PlanError
from mbgd.store import write_bytes

if TYPE_CHECKING:  # an optional package
    from mbgd.desk.onnx.graph import Graph


def export(model: Any, path: str | os.PathLike[str]) -> Path:
    """Write a model of `fit_table`, of an estimator, or of `mbgd.mlp`, as an ONNX file that holds its encoder or scales, networks
    and target.

    model: a run, a fitted estimator, a `Predictor` or `Ensemble`, a run folder or a model file. An input a column, each
    (rows, 1): numbers as double with NaN for missing, labels as string, dates as int64 seconds since 1970 on the clock of
    training; a model of arrays has one input `x` (rows, F). Outputs are `prediction` (rows,), or (rows, T) of several targets,
    with `quantiles` (rows, Q) where there are such; of classes `label` (rows,) and `probabilities` (rows, C), of several
    labels a row both (rows, L). Needs the package onnx. Raises PlanError and SavedFileError before anything is
    written, StorageError.
    """
    place = checked_place(path)
    place = output_file(place, inputs=files_read(model, None), force=True)
    plain = plain_file(Path(model)) if isinstance(model, str | os.PathLike) else plain_model(_predictor(model))
    write_bytes(place, _bytes(plain))
    return Path(path)


def checked_place(path: str | os.PathLike[str]) -> Path:
    """The path to write to. Raises PlanError where it is none of ONNX, or the package is missing."""
    place = Path(path)
    if place.suffix != ".onnx":
        raise PlanError(f"path must end with .onnx, got {place}; name it model.onnx")
    try:
        import onnx  # noqa: F401
    except ImportError:
        missing = "export needs the package onnx, which is not installed; pip install 'mbgd[onnx]'"
        raise PlanError(missing) from None
    return place


def _predictor(model: Any) -> Any:
    if hasattr(type(model), "predictor_"):  # of an estimator, which says so where it is not fitted
        return model.predictor_
    predictor = getattr(model, "predictor", model)  # of a run
    if not hasattr(predictor, "described"):
        kinds = "a run, a fitted estimator of mbgd, a loaded model or a path"
        raise PlanError(f"model must be {kinds}, got {type(model).__name__}; give one of those")
    return predictor


def _bytes(plain: Plain) -> bytes:
    from mbgd.desk.onnx.answers import give, mean_of, means
    from mbgd.desk.onnx.columns import encoded, inputs_of
    from mbgd.desk.onnx.graph import Graph
    from mbgd.desk.onnx.layers import outputs

    names = inputs_of(plain.encoders)
    if "" in names:
        raise PlanError("export needs columns with names, got one that is empty; rename it and train again")
    if sharing := [part["name"] for e in plain.encoders for part in e["parts"] if part.get("shared")]:
        raise PlanError(
            f"export needs a code for each label, got column {sharing[0]!r}, whose rarer ones share codes by a hash that "
            "ONNX has no operator for; drop it and train again"
        )
    graph, classes = Graph([*names, "x"]), bool(labels_of(plain))
    inputs = [encoded(graph, encoder) for encoder in plain.encoders]
    each = []
    for model in plain.models:
        given = (_array(graph, plain), None) if model.encoder is None else inputs[model.encoder]
        each.append(means(graph, model, outputs(graph, model.network, *given), classes=classes))
    give(graph, plain, mean_of(graph, each))
    target = plain.models[0].facts.get("target") or {}
    facts = {"target": str(target.get("name", "")), "loss": str(plain.models[0].facts["loss"])}
    made: bytes = graph.to_model(said="made by mbgd export", facts=facts).SerializeToString(deterministic=True)
    return made


def _array(graph: Graph, plain: Plain) -> str:
    """The one input of a model of arrays."""
    from mbgd.desk.onnx.graph import DOUBLE, FLOAT

    network = plain.models[0].network
    kind = DOUBLE if network.dtype == "float64" else FLOAT
    return graph.input("x", kind, width=network.n_inputs, said="the numbers of each row")
