"""Everything that a step changes, as a value: parameters, buffers, optimizer, average and global generators, out and back in."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mbgd.errors import PlanError, SavedFileError
from mbgd.step.update import Updater


@dataclass(frozen=True)
class State:
    """Copies of all that mutates: tensors by name, and JSON facts (what an optimizer holds besides tensors)."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def capture(updater: Updater) -> State:
    """A copy that later steps do not touch."""
    tensors = {f"model.{name}": value.detach().clone() for name, value in model_tensors(updater.model).items()}
    saved = updater.optimizer.state_dict()
    plain: dict[str, dict[str, Any]] = {}
    for parameter, state in saved["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{parameter}.{name}"] = value.detach().clone()
            else:
                plain.setdefault(str(parameter), {})[name] = _plain(name, value)
    for i, value in enumerate(updater.average or ()):
        tensors[f"average.{i}"] = value.clone()
    return State(tensors, {"optimizer": plain})


def restore(updater: Updater, state: State) -> None:
    """Put a captured state back, in place: whoever holds the model's tensors sees the old numbers again."""
    with torch.no_grad():
        for name, value in model_tensors(updater.model).items():
            value.copy_(_of_shape(state.tensors, f"model.{name}", value))
        for i, value in enumerate(updater.average or ()):
            value.copy_(_of_shape(state.tensors, f"average.{i}", value))
    held: dict[int, dict[str, Any]] = {}
    for name, tensor in state.tensors.items():
        if name.startswith("optimizer."):
            _, parameter, key = name.split(".", 2)
            held.setdefault(int(parameter), {})[key] = tensor.clone()
    for parameter, values in state.facts["optimizer"].items():
        held.setdefault(int(parameter), {}).update(values)
    groups = updater.optimizer.state_dict()["param_groups"]
    updater.optimizer.load_state_dict({"state": held, "param_groups": groups})
    updater.optimizer.zero_grad(set_to_none=True)


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and every buffer, those that `state_dict` leaves out as well."""
    return {**dict(model.named_parameters()), **{f"buffer.{name}": value for name, value in model.named_buffers()}}


def _of_shape(tensors: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
    found = tensors.get(name)
    if found is None or found.shape != like.shape or found.dtype != like.dtype:
        shown = "nothing" if found is None else f"{tuple(found.shape)} {found.dtype}"
        raise SavedFileError(
            f"checkpoint must hold {name!r} as {tuple(like.shape)} {like.dtype}, got {shown}; it belongs to another architecture"
        )
    return found


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise PlanError(
        f"optimizer must hold tensors and numbers to be saved and restored, got {name!r} of type {type(value).__name__}"
    )


def is_finite(updater: Updater) -> bool:
    """Whether parameters, buffers and optimizer state hold only finite numbers; one wait for the device."""
    tensors = [*(p.detach() for p in updater.model.parameters()), *updater.state_tensors()]
    by_device: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            by_device.setdefault(tensor.device, []).append(tensor)
    largest = [torch.stack(torch._foreach_norm(group, math.inf)) for group in by_device.values()]
    return all(bool(torch.isfinite(values).all()) for values in largest)


def global_generators() -> dict[str, Any]:
    """NumPy's and Python's global generators as JSON, for users' own layers; torch's is set anew at every step."""
    kind, words, place, has_gauss, gauss = np.random.get_state(legacy=True)
    version, internal, gauss_next = random.getstate()
    return {
        "numpy": [kind, np.asarray(words).tolist(), int(place), int(has_gauss), float(gauss)],
        "python": [version, list(internal), gauss_next],
    }


def set_global_generators(saved: Mapping[str, Any]) -> None:
    kind, words, *rest = saved["numpy"]
    np.random.set_state((kind, np.array(words, np.uint32), *rest))
    version, internal, gauss_next = saved["python"]
    random.setstate((version, tuple(internal), gauss_next))
