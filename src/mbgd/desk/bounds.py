"""Bounds of the knobs, as data: each checks a value, makes it plain and says what it demands."""

from __future__ import annotations

import math
import numbers
import sys
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from mbgd.desk.foreign import FOREIGN_VALUES
from mbgd.errors import PlanError, at_the_command, did_you_mean
from mbgd.measure.own_metric import OwnBound

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


def check(bound: Bound, name: str, value: Any, *, hint: str = "") -> Any:
    """The value in its plain form, None as it is; otherwise PlanError: name, demand, what was given, remedy."""
    if value is None:
        return None
    if not bound.accepts(value):
        remedy = nearest(bound, value) or (f"; {hint}" if hint else "")
        raise PlanError(f"{name} must be {bound.demand}, got {shown(value)}{remedy}")
    return bound.plain(value)


def shown(value: Any) -> str:
    """A value in a message: in full where it is short and stands on one line, otherwise its type."""
    try:
        text = repr(value)
    except ValueError:  # Python spells no whole number of more than 4,300 digits
        return type(value).__name__
    if len(text) <= _SHOWN and "\n" not in text:
        return text
    shape = getattr(value, "shape", None)
    return type(value).__name__ + ("" if shape is None else f" of shape {tuple(shape)}")


def nearest(bound: Bound, value: Any) -> str:
    """The word that was probably meant, as a clause to append, or nothing."""
    if isinstance(bound, Number | Whole) and (most := bound.counts_to(value)):
        return f"; numbers go up to {most}"
    if isinstance(bound, Either):
        return next((found for part in bound.bounds if (found := nearest(part, value))), "")
    if not isinstance(bound, Choice) or not isinstance(value, str):
        return ""
    word = FOREIGN_VALUES.get(value, "")
    return f"; say {word!r} here" if word in bound.words else did_you_mean(value, bound.words)


@dataclass(frozen=True)
class Number:
    """A real number between two bounds."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    @property
    def demand(self) -> str:
        low = f"{'above' if self.open_low else 'at least'} {self.low:g}" if self.low > -math.inf else ""
        high = f"{'below' if self.open_high else 'at most'} {self.high:g}" if self.high < math.inf else ""
        return " and ".join(part for part in (f"a number {low}".strip(), high) if part)

    def accepts(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(number := _float(value)):
            return False
        above = number > self.low if self.open_low else number >= self.low
        return above and (number < self.high if self.open_high else number <= self.high)

    def plain(self, value: Any) -> float:
        return float(value)

    def counts_to(self, value: Any) -> str:
        """The largest number, where the value lies beyond it."""
        beyond = isinstance(value, numbers.Rational) and math.isinf(_float(value))
        return f"{sys.float_info.max:.2g}" if beyond else ""


def _float(value: Any) -> float:
    """Infinite where a whole number is beyond the largest float."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


@dataclass(frozen=True)
class Whole:
    """A whole number of at least `low`, or several, and of at most 2^`bits`."""

    low: int
    many: bool = False
    bits: int = 255

    @property
    def demand(self) -> str:
        return f"{'whole numbers' if self.many else 'a whole number'} of at least {self.low}"

    def accepts(self, value: Any) -> bool:
        if self.many and isinstance(value, (tuple, list)):
            return all(self._one(part) for part in value)
        return self._one(value)

    def _one(self, value: Any) -> bool:
        whole = not isinstance(value, bool) and isinstance(value, numbers.Integral)
        return whole and self.low <= int(value) < 1 << self.bits

    def counts_to(self, value: Any) -> str:
        """The largest number, where the value lies beyond it."""
        values = value if isinstance(value, tuple | list) else (value,)
        beyond = any(isinstance(part, numbers.Integral) and int(part) >> self.bits > 0 for part in values)
        return f"2^{self.bits}" if beyond else ""

    def plain(self, value: Any) -> int | tuple[int, ...]:
        if not self.many:
            return int(value)
        return tuple(int(part) for part in (value if isinstance(value, (tuple, list)) else (value,)))


@dataclass(frozen=True)
class Share:
    """A part of a whole: above 0 (or 0 where `zero`) and below 1."""

    zero: bool = False

    @property
    def demand(self) -> str:
        return f"a share {'of at least' if self.zero else 'above'} 0 and below 1"

    def accepts(self, value: Any) -> bool:
        return Number(0, 1, open_low=not self.zero, open_high=True).accepts(value)

    def plain(self, value: Any) -> float:
        return float(value)


@dataclass(frozen=True)
class Seconds:
    """A time above 0: a number, or text such as '30s'; `text` takes only the latter, where a number is something else."""

    text: bool = False

    @property
    def demand(self) -> str:
        return "seconds as '30s'" if self.text else "seconds above 0, as 30 or '30s'"

    def accepts(self, value: Any) -> bool:
        if isinstance(value, str):
            return _is_seconds(value)
        return not self.text and Number(0, math.inf, open_low=True).accepts(value)

    def plain(self, value: Any) -> float | str:
        if self.text:
            return str(value)
        return float(value[:-1]) if isinstance(value, str) else float(value)


def _is_seconds(text: str) -> bool:
    try:
        return text.endswith("s") and 0 < float(text[:-1]) < math.inf
    except ValueError:
        return False


@dataclass(frozen=True)
class Levels:
    """Levels of quantiles, as numbers in rising order."""

    demand: str = "at least two rising levels above 0 and below 1"

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, (tuple, list)) or (value and len(value) < 2):
            return False
        shares = all(Share().accepts(level) for level in value)
        return shares and all(float(a) < float(b) for a, b in pairwise(value))

    def plain(self, value: Any) -> tuple[float, ...]:
        return tuple(float(level) for level in value)


@dataclass(frozen=True)
class Switch:
    """True or False."""

    demand: str = "True or False"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)

    def plain(self, value: Any) -> bool:
        return bool(value)


class Choice:
    """One of some words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    @property
    def demand(self) -> str:
        return f"{'one of ' if len(self.words) > 1 else ''}{', '.join(repr(word) for word in self.words)}"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.words

    def plain(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True)
class Names:
    """A name of a column or file, or several."""

    many: bool = False

    @property
    def demand(self) -> str:
        return "names" if self.many else "a name"

    def accepts(self, value: Any) -> bool:
        if self.many and isinstance(value, (tuple, list)):
            return all(isinstance(part, str) for part in value)
        return isinstance(value, str) and bool(value)

    def plain(self, value: Any) -> str | tuple[str, ...]:
        if not self.many:
            return str(value)
        return (value,) if isinstance(value, str) else tuple(value)


@dataclass(frozen=True)
class Given:
    """An object handed over as it is: anything but a number or a text."""

    demand: str

    def accepts(self, value: Any) -> bool:
        return not isinstance(value, (str, bool, numbers.Number))

    def plain(self, value: Any) -> Any:
        return value


@dataclass(frozen=True)
class Device:
    """The name of a device, or torch's object for one; kept as the name."""

    demand: str = "auto, cpu, cuda, cuda:1 or mps"

    def accepts(self, value: Any) -> bool:
        return bool(value) if isinstance(value, str) else type(value).__name__ == "device"

    def plain(self, value: Any) -> str:
        return str(value)


class Either:
    """What any of several bounds accepts."""

    def __init__(self, *bounds: Bound) -> None:
        self.bounds = bounds

    @property
    def demand(self) -> str:
        words = [bound for bound in self.bounds if not (at_the_command() and isinstance(bound, Given | OwnBound))]
        return " or ".join(bound.demand for bound in words)

    def accepts(self, value: Any) -> bool:
        return any(bound.accepts(value) for bound in self.bounds)

    def plain(self, value: Any) -> Any:
        return next(bound for bound in self.bounds if bound.accepts(value)).plain(value)
