"""What a knob may be, as data: a value in, the same value checked and made plain out, or one sentence."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any, Protocol

from mbgd.errors import PlanError, did_you_mean

_SHOWN = 60  # characters of a value in a message; what is longer is named by its type


class Bound(Protocol):
    """A demand on a value."""

    @property
    def demand(self) -> str:
        """What is asked for, as it stands in 'NAME must be ...'."""
        ...

    def accepts(self, value: Any) -> bool: ...

    def plain(self, value: Any) -> Any:
        """An accepted value in the one form that a plan keeps."""
        ...

    def nearest(self, value: Any) -> str:
        """What was probably meant, as a clause to append, or nothing."""
        ...


def check(bound: Bound, name: str, value: Any, *, hint: str = "") -> Any:
    """The value in its plain form, None as it is; otherwise PlanError: name, demand, what was given, remedy."""
    if value is None:
        return None
    if not bound.accepts(value):
        remedy = bound.nearest(value) or (f"; {hint}" if hint else "")
        raise PlanError(f"{name} must be {bound.demand}, got {shown(value)}{remedy}")
    return bound.plain(value)


def shown(value: Any) -> str:
    """A value in a message: in full where it is short and stands on one line, otherwise its type."""
    text = repr(value)
    if len(text) <= _SHOWN and "\n" not in text:
        return text
    kind = value if isinstance(value, type) else type(value)
    shape = getattr(value, "shape", None)
    return f"a {kind.__module__}.{kind.__qualname__}" + ("" if shape is None else f" of shape {tuple(shape)}")


class _Silent:
    """What has no better guess."""

    def nearest(self, value: Any) -> str:
        return ""
