"""Check a saved state against the model and the optimizer that it is to be put into, before anything of them is changed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mbgd.errors import DamagedError, SavedFileError
from mbgd.step.update import Updater
from mbgd.store.schema import ANY_NUMBER, Absent, Entries, Flag, Items, Maybe, Named, OneOf, Row, Text, Whole, Word

_PLAIN = OneOf("a number, a text, true, false or null", (Maybe(ANY_NUMBER), Flag(), Text()))
_SETTING = OneOf("a number, numbers, true or false", (ANY_NUMBER, Flag(), Items(ANY_NUMBER)))
SCHEMA = Entries(
    {
        "optimizer": Named(Named(_PLAIN)),
        "optimizer_class": Absent(Text()),
        "group_sizes": Absent(Items(Whole())),
        "groups": Items(Named(_SETTING), least=1),
    }
)
"""The facts of a `State`."""
_WORD = Whole(0, (1 << 32) - 1)
GENERATORS = Entries(
    {
        "numpy": Row((Word(("MT19937",)), Items(_WORD, least=624, most=624), Whole(0, 624), Whole(0, 1), ANY_NUMBER)),
        "python": Row((Whole(3, 3), Items(_WORD, least=625, most=625), Maybe(ANY_NUMBER))),
    }
)
"""What `global_generators` gives. NumPy takes a place among the words unseen, and reads behind them where it is larger."""
_NAME = re.compile(r"optimizer\.(0|[1-9][0-9]{0,8})\.(.+)", re.ASCII | re.DOTALL)
_OF_SCHEDULERS = (
    "initial_lr",
    "max_lr",
    "min_lr",
    "base_momentum",
    "max_momentum",
)  # that torch's put beside the settings


class _Held(NamedTuple):
    """What an optimizer of torch's has for each tensor: always, where a setting says so, and perhaps."""

    always: tuple[str, ...] = ()
    where: Mapping[str, str] = {}
    perhaps: tuple[str, ...] = ()


_OF_ADAM = _Held(("step", "exp_avg", "exp_avg_sq"), {"amsgrad": "max_exp_avg_sq"}, ("max_exp_avg_sq",))
_HELD: dict[type[torch.optim.Optimizer], _Held] = {
    torch.optim.SGD: _Held(perhaps=("momentum_buffer",)),
    torch.optim.Adam: _OF_ADAM,
    torch.optim.AdamW: _OF_ADAM,
    torch.optim.NAdam: _Held(("step", "mu_product", "exp_avg", "exp_avg_sq")),
    torch.optim.RAdam: _Held(("step", "exp_avg", "exp_avg_sq")),
    torch.optim.Adamax: _Held(("step", "exp_avg", "exp_inf")),
    torch.optim.Adagrad: _Held(("step", "sum")),
    torch.optim.Adadelta: _Held(("step", "square_avg", "acc_delta")),
    torch.optim.RMSprop: _Held(
        ("step", "square_avg"), {"centered": "grad_avg", "momentum": "momentum_buffer"}, ("grad_avg", "momentum_buffer")
    ),
}
UNDECAYED, SCALE = "undecayed", "scale"
"""What the compiled engine keeps for the weights of sparse rows that decay, whatever the optimizer: the weights as they would be
without the decay since some step, and what it has left of each since then, one number."""
_OF_ONE_NUMBER = ("step", "mu_product", SCALE)


def check_state(updater: Updater, model: Mapping[str, Tensor], tensors: Mapping[str, Tensor], facts: Any) -> None:
    """`model` holds its tensors and averages by name. Raises SavedFileError for those of another architecture or optimizer,
    DamagedError for what no optimizer of that kind holds."""
    if found := SCHEMA.fault(facts, "state"):
        raise DamagedError(found)
    for name, value in model.items():
        _check_tensor(name, value, tensors.get(name))
    for name in tensors:
        if name not in model and not name.startswith("optimizer."):
            raise SavedFileError(f"checkpoint must hold the tensors of the module, got {name!r} besides; {ANOTHER}")
    _check_optimizer(updater.optimizer, facts)
    if found := next(_wrong_state(updater.optimizer, tensors, facts), ""):
        raise DamagedError(found)


ANOTHER = "it belongs to another architecture"


def _check_tensor(name: str, like: Tensor, found: Tensor | None) -> None:
    if found is None or found.shape != like.shape or found.dtype != like.dtype:
        shown = "nothing" if found is None else f"{tuple(found.shape)} {found.dtype}"
        raise SavedFileError(
            f"checkpoint must hold {name!r} as {tuple(like.shape)} {like.dtype}, got {shown}; {ANOTHER}"
        )


def _check_optimizer(optimizer: torch.optim.Optimizer, facts: Mapping[str, Any]) -> None:
    """Of a version that did not write the class down, the settings tell it: SGD has no betas."""
    remedy = "give the optimizer that the run was begun with"
    now, then = type(optimizer).__name__, facts.get("optimizer_class")
    pairs = zip(facts["groups"], optimizer.param_groups, strict=False)
    unknown = [k for saved, group in pairs for k in saved if k not in group and k not in _OF_SCHEDULERS]
    if then is not None and now != then:
        raise SavedFileError(f"checkpoint must be of the optimizer {now}, got one of {then}; {remedy}")
    if then is None and unknown:
        raise SavedFileError(
            f"checkpoint must be of the optimizer {now}, got one with {unknown[0]}, which {now} has not; {remedy}"
        )
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    saved_sizes = facts.get("group_sizes", sizes if len(sizes) == len(facts["groups"]) else len(facts["groups"]))
    if sizes != saved_sizes or len(sizes) != len(facts["groups"]):
        raise SavedFileError(
            f"checkpoint must have the optimizer's parameter groups, of {sizes} tensors, got groups of {saved_sizes}; {remedy}"
        )


def _wrong_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> Iterator[str]:
    """What is wrong with settings, momenta and counts of steps. What an optimizer of the user's own holds is its own affair."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    settings = [
        saved for saved, group in zip(facts["groups"], optimizer.param_groups, strict=True) for _ in group["params"]
    ]
    for number, (saved, group) in enumerate(zip(facts["groups"], optimizer.param_groups, strict=True)):
        yield from (f"groups[{number}].{name[:40]} must be like {group[name]!r}, got {value!r:.60}"
                    for name, value in saved.items() if name in group and not _alike(group[name], value))  # fmt: skip
    held: list[dict[str, Any]] = [{} for _ in parameters]
    of_facts = [
        (f"optimizer.{number}.{key}", value)
        for number, each in facts["optimizer"].items()
        for key, value in each.items()
    ]
    for name, value in [
        *of_facts,
        *((name, value) for name, value in tensors.items() if name.startswith("optimizer.")),
    ]:
        match = _NAME.fullmatch(name)
        if match is None or int(match[1]) >= len(parameters):
            yield f"{name[:80]!r} must be of one of the {len(parameters)} tensors that the optimizer moves"
        else:
            held[int(match[1])][match[2]] = value
    kind = _HELD.get(type(optimizer))
    if kind is not None:
        for number, (parameter, group, values) in enumerate(zip(parameters, settings, held, strict=True)):
            yield from (f"'optimizer.{number}.{found}" for found in _wrong_values(kind, parameter, group, values))


def _wrong_values(kind: _Held, parameter: Tensor, group: Mapping[str, Any], held: Mapping[str, Any]) -> Iterator[str]:
    """Of one tensor, which has all that its optimizer holds or, where it never had a gradient, nothing."""
    wanted = (*kind.always, *(key for setting, key in kind.where.items() if group.get(setting)))
    if held and (missing := [key for key in wanted if key not in held]):
        yield f"{missing[0]}' must be there, it is missing"
    for key, value in held.items():
        if key not in (*kind.always, *kind.perhaps, UNDECAYED, SCALE):
            yield f"{key[:40]}' must be none of what the optimizer holds"
        elif key in _OF_ONE_NUMBER:
            if not _is_count(value):
                yield f"{key}' must be one number of at least 0, got {_shown(value)}"
        elif value is not None and not _is_like(value, parameter):
            yield f"{key}' must be {_shown(parameter)}, got {_shown(value)}"


def _is_count(value: Any) -> bool:
    """A number of at least 0, or a tensor of one without dimensions."""
    if isinstance(value, Tensor):
        return value.shape == () and value.is_floating_point() and 0 <= float(value) < math.inf
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_like(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape and value.dtype == parameter.dtype


def _alike(now: Any, then: Any) -> bool:
    """Whether a setting may take the place of another: truth values of such, numbers of numbers, as many of several."""
    if isinstance(now, bool):
        return isinstance(then, bool)
    if isinstance(now, Sequence) and not isinstance(now, str):
        return isinstance(then, list) and len(then) == len(now)
    return now is None or (isinstance(then, (int, float)) and not isinstance(then, bool))


def _shown(value: Any) -> str:
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else f"{value!r:.40}"
