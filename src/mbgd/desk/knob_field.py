"""One knob of a plan: a dataclass field with its bound, help, group and default, as the command and the reference show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, field, fields
from textwrap import fill
from typing import Any, TypeVar

from mbgd.desk.bounds import Bound, Choice, Either, Given, Switch
from mbgd.measure.own_metric import OwnBound, OwnMetric

T = TypeVar("T")
_WIDTH = 116  # of a docstring's lines


def knob(default: Any, bound: Bound, help: str, *, group: str = "Training", first: bool = False, hint: str = "") -> Any:
    """`help`: what it is, with its unit; `first`: among the ten that the command shows first; `hint`: the remedy for a value
    out of bounds, by default to leave it out."""
    hint = hint or ("leave it out if there is none" if default in (None, ()) else f"leave it out for {default!r}")
    return field(default=default, metadata={"bound": bound, "help": help, "group": group, "first": first, "hint": hint})


def meaning(of: Field[Any]) -> str:
    """What it is and, where it is one of some words, which."""
    words = choices(of.metadata["bound"])
    return str(of.metadata["help"]) + (f": {', '.join(words)}" if len(words) > 1 else "")


def choices(bound: Bound) -> tuple[str, ...]:
    """The words of a knob that takes words alone, or an object in their place."""
    if isinstance(bound, Either) and any(isinstance(part, Given | OwnBound) for part in bound.bounds):
        return next((part.words for part in bound.bounds if isinstance(part, Choice)), ())
    return bound.words if isinstance(bound, Choice) else ()


def demand(of: Field[Any]) -> str:
    """What it may be, in words; the choices stand in its meaning already."""
    bound = of.metadata["bound"]
    if isinstance(bound, Either) and choices(bound):
        return "one of these, or " + " or ".join(part.demand for part in bound.bounds if not isinstance(part, Choice))
    return "one of these" if len(choices(bound)) > 1 else bound.demand


def default(value: Any) -> str:
    """A default in the reference."""
    return "none" if value is None or value == () else repr(value)


def documented(plan: type[T]) -> type[T]:
    """A class decorator: its docstring goes on with all of its knobs, group by group, from the table that they are."""
    plan.__doc__ = "\n".join([f"{plan.__doc__}\n", *_lines(plan)])
    return plan


def _lines(plan: Any) -> Iterator[str]:
    group = ""
    for of in sorted(fields(plan), key=lambda of: _GROUPS.index(of.metadata["group"])):
        if of.metadata["group"] != group:
            group = of.metadata["group"]
            yield f"\n    {group}\n"
        kind = "True or False" if isinstance(of.metadata["bound"], Switch) else demand(of)
        said = f"{of.name}: {meaning(of)}. Takes {kind}; default {default(of.default)}."
        yield fill(said, _WIDTH, initial_indent="    ", subsequent_indent=" " * 8, break_on_hyphens=False)


_GROUPS = ("Training", "Limits", "Machine", "Output", "Data", "Model")  # those of tables alone last


def plain(value: Any) -> Any:
    if isinstance(value, tuple) and all(isinstance(part, (int, float, str)) for part in value):
        return list(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    value = value.unwrapped if isinstance(value, OwnMetric) else value
    named = value if hasattr(value, "__qualname__") else type(value)  # a class or function, else what it is one of
    return {"object": f"{named.__module__}.{named.__qualname__}"}


def shallow(plan: Any) -> dict[str, Any]:
    return {knob.name: getattr(plan, knob.name) for knob in fields(plan)}
