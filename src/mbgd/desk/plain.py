"""The facts and arrays of a trained model, from its file or from memory; without torch for a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mbgd.errors import PlanError, SavedFileError
from mbgd.model.arrays import Network, network
from mbgd.model.file import FILE_NAME, describe, read_arrays
from mbgd.step.plain import predicts_classes
from mbgd.store import check_name


@dataclass(frozen=True)
class PlainModel:
    """One network, and its facts as `Predictor.described` gives them. `encoder`: the number of its own among all."""

    facts: Mapping[str, Any]
    network: Network
    encoder: int | None

    @property
    def several(self) -> bool:
        """Whether a row has several outputs."""
        return tuple(self.facts["output_shape"]) not in ((), (1,))

    @property
    def levels(self) -> tuple[float, ...]:
        return tuple(self.facts.get("quantiles", ()))


@dataclass(frozen=True)
class Plain:
    """What predicts: one model, or several whose mean it is; `threshold` is that of all together."""

    models: tuple[PlainModel, ...]
    encoders: tuple[Mapping[str, Any], ...]
    threshold: Mapping[str, Any] | None


def labels_of(plain: Plain) -> tuple[Any, ...]:
    """The class labels, in the order of probabilities; none where numbers are predicted."""
    first = plain.models[0]
    target = first.facts.get("target")
    if target is not None:
        return tuple(target.get("classes", ()))
    if not predicts_classes(first.facts["loss"], several=first.several):
        return ()
    return tuple(range(first.facts["output_shape"][0] if first.several else 2))


def finished_model(place: Path) -> Path:
    """A model file, or the run folder that holds one. Raises SavedFileError where a run has not ended."""
    check_name(place, "model")
    if place.is_dir() and not (place / FILE_NAME).exists():
        why = (
            f"the run has not ended: 'mbgd resume {place}' ends it"
            if (place / "plan.json").exists()
            else "it is no run"
        )
        raise SavedFileError(f"{place} must hold {FILE_NAME}, got none; {why}")
    return place


def plain_file(place: Path) -> Plain:
    """What a file or run folder holds. Raises SavedFileError, also for weights of a module of one's own."""
    said = describe(finished_model(place))
    if said.architecture is None:
        raise SavedFileError(
            f"{said.path} holds the weights of a module of your own, {said.facts.get('class')}, which is not known here; "
            f"give an instance of it: load({str(place)!r}, model)"
        )
    return _plain(said.facts, said.architecture, read_arrays(said.path))


def plain_model(predictor: Any) -> Plain:
    """The same of a `Predictor` or `Ensemble`; arrays of a model on the CPU are its own memory, and change as it does.

    Raises PlanError for a module of the user's own.
    """
    from mbgd.model.build import architecture

    module = getattr(predictor.model, "_orig_mod", predictor.model)
    described = architecture(module)
    if described is None:
        raise PlanError(f"model must be one of mbgd's own, got {type(module).__name__}; build it by mbgd.mlp")
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}
    return _plain(predictor.described(), described, arrays)


def _plain(facts: Mapping[str, Any], architecture: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Plain:
    if facts["kind"] != "ensemble":
        own = facts.get("encoder")
        model = PlainModel(facts, network(architecture, arrays), None if own is None else 0)
        return Plain((model,), () if own is None else (own,), facts.get("threshold"))
    models = []
    for number, (said, described) in enumerate(zip(facts["models"], architecture["models"], strict=True)):
        start = f"{number}."
        own_arrays = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
        models.append(PlainModel(said, network(described, own_arrays), said["encoder"]))
    return Plain(tuple(models), tuple(facts["encoders"]), facts.get("threshold"))
