"""Describe as data what the JSON of a file has to be, and find the first entry that is something else.

A demand is one of the classes here. Entries that an object has beside those that are demanded are of a later version, and
stand as they are.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

_SHOWN = 40  # characters of a value in a message
_MOST = 1 << 62  # of a whole number: beyond it no array has a size or a place
_FLOAT = sys.float_info.max


class Demand(Protocol):
    """What a value has to be."""

    def fault(self, value: Any, at: str) -> str:
        """What is wrong with the value that stands at `at`, as `AT must be ..., got ...`; nothing where it is right."""
        ...


@dataclass(frozen=True)
class Whole:
    """A whole number; True and 1.0 are none."""

    low: int = 0
    high: int = _MOST

    def accepts(self, value: Any) -> bool:
        return type(value) is int and self.low <= value <= self.high

    def fault(self, value: Any, at: str) -> str:
        demand = f"a whole number from {self.low} to {self.high}" if self.high < _MOST else "a whole number"
        demand += f" of at least {self.low}" if self.high == _MOST and self.low > -_MOST else ""
        return "" if self.accepts(value) else _said(at, demand, value)


@dataclass(frozen=True)
class Real:
    """A finite number between two bounds; without `bounded`, one that may also be infinite or NaN."""

    low: float = -_FLOAT
    high: float = _FLOAT
    above: bool = False  # the lower bound itself is left out, ...
    below: bool = False  # ... and the upper one
    bounded: bool = True

    def accepts(self, value: Any) -> bool:
        if type(value) is not float and type(value) is not int:
            return False
        if not self.bounded and type(value) is float:
            return True
        if not self.low <= value <= self.high:  # NaN is neither; whole numbers of any length are compared exactly
            return False
        return not (self.above and value == self.low) and not (self.below and value == self.high)

    def fault(self, value: Any, at: str) -> str:
        low = f" {'above' if self.above else 'of at least'} {self.low:g}" if self.low > -_FLOAT else ""
        high = f" {'below' if self.below else 'up to'} {self.high:g}" if self.high < _FLOAT else ""
        finite = "" if low or high or not self.bounded else "finite "
        return (
            ""
            if self.accepts(value)
            else _said(at, f"a {finite}number{low}{' and' if low and high else ''}{high}", value)
        )


@dataclass(frozen=True)
class Text:
    """A text that UTF-8 can hold, but for the name of a file; `like` is what all of it must match, described by `what`."""

    like: str = ""
    what: str = "text"
    of_file: bool = False

    def accepts(self, value: Any) -> bool:
        if type(value) is not str:
            return False
        if not self.of_file and not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            return False
        return not self.like or re.fullmatch(self.like, value) is not None

    def fault(self, value: Any, at: str) -> str:
        return "" if self.accepts(value) else _said(at, self.what, value)


@dataclass(frozen=True)
class Word:
    """One of some words."""

    words: tuple[str, ...]

    def accepts(self, value: Any) -> bool:
        return type(value) is str and value in self.words

    def fault(self, value: Any, at: str) -> str:
        return "" if self.accepts(value) else _said(at, " or ".join(map(repr, self.words)), value)


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def accepts(self, value: Any) -> bool:
        return type(value) is bool

    def fault(self, value: Any, at: str) -> str:
        return "" if self.accepts(value) else _said(at, "true or false", value)


@dataclass(frozen=True)
class Maybe:
    """What is demanded, or null."""

    inner: Demand

    def fault(self, value: Any, at: str) -> str:
        return "" if value is None else self.inner.fault(value, at)


@dataclass(frozen=True)
class Absent:
    """Of an object's entry: it may be absent."""

    inner: Demand

    def fault(self, value: Any, at: str) -> str:
        return self.inner.fault(value, at)


@dataclass(frozen=True)
class OneOf:
    """What one of several demands takes."""

    what: str
    inner: tuple[Demand, ...]

    def fault(self, value: Any, at: str) -> str:
        return _said(at, self.what, value) if all(one.fault(value, at) for one in self.inner) else ""


@dataclass(frozen=True)
class Items:
    """A list of at least so many entries, at most so many, each as demanded; rising, or each another, where that is said."""

    inner: Demand
    least: int = 0
    most: int = _MOST
    rising: bool = False
    distinct: bool = False

    def fault(self, value: Any, at: str) -> str:
        if type(value) is not list:
            return _said(at, "a list", value)
        if not self.least <= len(value) <= self.most:
            many = f"at least {self.least}" if len(value) < self.least else f"at most {self.most}"
            return f"{at} must have {many} entries, got {len(value):,}"
        accepts = getattr(self.inner, "accepts", None)
        if accepts is None or not all(map(accepts, value)):
            for place, one in enumerate(value):
                if found := self.inner.fault(one, f"{at}[{place}]"):
                    return found
        if self.rising and any(a >= b for a, b in pairwise(value)):
            return f"{at} must rise from each entry to the next, got {_shown(value)}"
        if self.distinct and len(set(value)) < len(value):
            return f"{at} must have each entry once, got one twice"
        return ""


@dataclass(frozen=True)
class Row:
    """A list with a demand for each place."""

    inner: tuple[Demand, ...]

    def fault(self, value: Any, at: str) -> str:
        if type(value) is not list or len(value) != len(self.inner):
            return _said(at, f"a list of {len(self.inner)}", value)
        parts = zip(self.inner, value, strict=True)
        return next((found for k, (demand, one) in enumerate(parts) if (found := demand.fault(one, f"{at}[{k}]"))), "")


@dataclass(frozen=True)
class Entries:
    """An object with these entries."""

    inner: Mapping[str, Demand]

    def fault(self, value: Any, at: str) -> str:
        if type(value) is not dict:
            return _said(at, "an object", value)
        for name, demand in self.inner.items():
            where = f"{at}.{name}" if at else name
            if name in value:
                if found := demand.fault(value[name], where):
                    return found
            elif not isinstance(demand, Absent):
                return f"{where} must be there, it is missing"
        return ""


@dataclass(frozen=True)
class Named:
    """An object whose entries have any names."""

    inner: Demand

    def fault(self, value: Any, at: str) -> str:
        if type(value) is not dict:
            return _said(at, "an object", value)
        return next((found for n, one in value.items() if (found := self.inner.fault(one, f"{at}.{_shown(n)}"))), "")


@dataclass(frozen=True)
class Tree:
    """Any JSON of at most so many levels, for what nothing is made of but text for people."""

    levels: int = 6

    def fault(self, value: Any, at: str) -> str:
        inner = value.values() if type(value) is dict else value if type(value) is list else None
        if inner is None:
            return Real().fault(value, at) if type(value) is float else ""
        if not self.levels:
            return f"{at} must have fewer levels of lists and objects, got more"
        deeper = Tree(self.levels - 1)
        return next((found for one in inner if (found := deeper.fault(one, at))), "")


ANY_NUMBER = Real(bounded=False)
FILE_NAME = Text(of_file=True)


def _said(at: str, demand: str, value: Any) -> str:
    return f"{at or 'it'} must be {demand}, got {_shown(value)}"


def _shown(value: Any) -> str:
    """A value in a message, on one line and of few characters, however large it is."""
    if isinstance(value, (list, dict)) and len(value) > 4:
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value):,} entries"
    if isinstance(value, int) and abs(value) > 10**_SHOWN:
        return "a whole number of many digits"
    text = repr(value[:_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
