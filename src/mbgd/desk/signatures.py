"""Show every knob and its default in the signature of a function that takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from inspect import Parameter, signature
from typing import Any, TypeVar, get_type_hints

from mbgd.desk.plan import Plan

F = TypeVar("F", bound=Callable[..., Any])


def shows_knobs(words: Any, defaults: Mapping[str, Any] | None = None) -> Callable[[F], F]:
    """A decorator: `**knobs` becomes the words of a TypedDict, with the defaults of `Plan` but for these."""
    plan = {of.name: of.default for of in fields(Plan)} | dict(defaults or {})

    def decorate(function: F) -> F:
        own = signature(function)
        parameters = [p for p in own.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
        names = {p.name for p in parameters}
        for name, kind in get_type_hints(words).items():
            if name not in names:
                parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, default=plan[name], annotation=kind))
        function.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # what inspect reads
        return function

    return decorate
