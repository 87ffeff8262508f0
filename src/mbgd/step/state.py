"""Everything that a step changes, as a value: parameters, buffers, optimizer, average and generators; captured and restored."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mbgd.errors import PlanError
from mbgd.step.saved_state import check_state
from mbgd.step.update import Updater, drop_gradients


@dataclass(frozen=True)
class State:
    """Copies of all that mutates: tensors by name, and JSON facts (what an optimizer holds besides tensors)."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def capture(updater: Updater) -> State:
    """A copy that later steps do not touch."""
    tensors = {name: value.detach().clone() for name, value in model_tensors(updater.model).items()}
    plain: dict[str, dict[str, Any]] = {}
    for number, parameter in enumerate(_parameters(updater.optimizer)):
        for name, value in updater.optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{number}.{name}"] = value.detach().clone()
            else:
                plain.setdefault(str(number), {})[name] = _plain(name, value)
    for i, average in enumerate(updater.average or ()):
        tensors[f"average.{i}"] = average.clone()
    groups = updater.optimizer.param_groups
    facts = {
        "optimizer": plain,
        "optimizer_class": type(updater.optimizer).__name__,
        "group_sizes": [len(group["params"]) for group in groups],
        "groups": [_settings(group) for group in groups],
    }
    return State(tensors, facts)


def restore(updater: Updater, state: State) -> None:
    """Put a captured state back, in place: whoever holds the model's tensors sees the old numbers again. Raises SavedFileError
    for another architecture or optimizer, DamagedError for what no optimizer of that kind holds; nothing is changed then."""
    check_fits(updater, state)
    with torch.no_grad():
        for name, value in _of_model(updater).items():
            value.copy_(state.tensors[name])
    optimizer = updater.optimizer
    held: list[dict[str, Any]] = [
        dict(state.facts["optimizer"].get(str(n), {})) for n in range(len(_parameters(optimizer)))
    ]
    for name, tensor in state.tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            held[int(number)][key] = tensor
    fresh = zip(_parameters(optimizer), _groups_of_parameters(optimizer), held, strict=True)
    for parameter, group, values in fresh:
        optimizer.state.pop(parameter, None)
        if values:
            optimizer.state[parameter] = {key: _placed(key, value, parameter, group) for key, value in values.items()}
    for group, settings in zip(optimizer.param_groups, state.facts["groups"], strict=True):
        group.update({name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()})
    updater.base_rates = [float(group["lr"]) for group in optimizer.param_groups]
    drop_gradients(optimizer)


def check_fits(updater: Updater, state: State) -> None:
    """What `restore` raises, without changing anything."""
    check_state(updater, _of_model(updater), state.tensors, state.facts)


def _of_model(updater: Updater) -> dict[str, Tensor]:
    return model_tensors(updater.model) | {f"average.{i}": value for i, value in enumerate(updater.average or ())}


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and every buffer, those that `state_dict` leaves out as well."""
    return {
        **{f"parameter.{name}": value for name, value in model.named_parameters()},
        **{f"buffer.{name}": value for name, value in model.named_buffers()},
    }


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _groups_of_parameters(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    return [group for group in optimizer.param_groups for _ in group["params"]]


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a parameter group, its rate among them: some optimizers count there, and users set them."""
    several = {
        k: list(v) for k, v in group.items() if isinstance(v, tuple) and all(isinstance(x, (int, float)) for x in v)
    }
    rate = {"lr": float(group["lr"])}  # between two updates it is the base that a schedule goes by
    return {k: v for k, v in group.items() if isinstance(v, (bool, int, float))} | rate | several


def _placed(key: str, value: Any, parameter: Tensor, group: Mapping[str, Any]) -> Any:
    """A copy where the optimizer keeps it: beside its parameter, but for a step count that stays on the CPU.

    Not by torch's own `load_state_dict`, which casts every tensor to the type of the parameter.
    """
    if not isinstance(value, Tensor):
        return value
    on_cpu = key == "step" and not (group.get("fused") or group.get("capturable"))
    return value.detach().clone() if on_cpu else value.detach().to(parameter.device, copy=True)


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise PlanError(
        f"optimizer must hold tensors and numbers to be saved and restored, got {name!r} of type {type(value).__name__}"
    )


def is_finite(updater: Updater) -> bool:
    """Whether parameters, optimizer state and the buffers that were so at the start hold only finite numbers; one wait
    for the device."""
    tensors = [*(p.detach() for p in updater.model.parameters()), *updater.state_tensors(), *updater.buffers()]
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
