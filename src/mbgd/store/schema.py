"""Describe as data what the JSON of a file has to be, and find the first entry that is something else.

A demand is one of the classes here, which have no more methods than they need: they are made whenever mbgd is imported.
Entries that an object has beside those that are demanded are of a later version, and stand as they are.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from operator import lt
from typing import Any, Protocol

_SHOWN = 40  # characters of a value in a message
_MOST = 1 << 62  # of a whole number: beyond it no array has a size or a place
_FLOAT = sys.float_info.max


Place = str | tuple[Any, str | int]
"""Where a value stands: a text, or a place and the name or number of the entry in it, put into words for a message alone."""


class Demand(Protocol):
    """What a value has to be."""

    def fault(self, value: Any, at: Place) -> str:
        """What is wrong with the value that stands at `at`, as `AT must be ..., got ...`; nothing where it is right."""
        ...


@dataclass(eq=False, repr=False)
class Whole:
    """A whole number; True and 1.0 are none."""

    low: int = 0
    high: int = _MOST

    def accepts(self, value: Any) -> bool:
        return type(value) is int and self.low <= value <= self.high

    def accepts_all(self, values: list[Any]) -> bool:
        return (
            {*map(type, values)} <= {int} and all(map(self.low.__le__, values)) and all(map(self.high.__ge__, values))
        )

    def fault(self, value: Any, at: Place) -> str:
        if self.accepts(value):
            return ""
        demand = f"a whole number from {self.low} to {self.high}" if self.high < _MOST else "a whole number"
        demand += f" of at least {self.low}" if self.high == _MOST and self.low > -_MOST else ""
        return _said(at, demand, value)


@dataclass(eq=False, repr=False)
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

    def accepts_all(self, values: list[Any]) -> bool:
        if self.above or self.below or not self.bounded or {*map(type, values)} - {float}:
            return all(map(self.accepts, values))
        return all(map(float(self.low).__le__, values)) and all(map(float(self.high).__ge__, values))

    def fault(self, value: Any, at: Place) -> str:
        if self.accepts(value):
            return ""
        low = f" {'above' if self.above else 'of at least'} {self.low:g}" if self.low > -_FLOAT else ""
        high = f" {'below' if self.below else 'up to'} {self.high:g}" if self.high < _FLOAT else ""
        finite = "" if low or high or not self.bounded else "finite "
        return _said(at, f"a {finite}number{low}{' and' if low and high else ''}{high}", value)


@dataclass(eq=False, repr=False)
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

    def accepts_all(self, values: list[Any]) -> bool:
        quickly = not self.like and {*map(type, values)} <= {str} and "".join(values).isascii()
        return quickly or all(map(self.accepts, values))

    def fault(self, value: Any, at: Place) -> str:
        return "" if self.accepts(value) else _said(at, self.what, value)


@dataclass(eq=False, repr=False)
class Word:
    """One of some words."""

    words: tuple[str, ...]

    def accepts(self, value: Any) -> bool:
        return type(value) is str and value in self.words

    def fault(self, value: Any, at: Place) -> str:
        return "" if self.accepts(value) else _said(at, " or ".join(map(repr, self.words)), value)


@dataclass(eq=False, repr=False)
class Flag:
    """True or false."""

    def accepts(self, value: Any) -> bool:
        return type(value) is bool

    def fault(self, value: Any, at: Place) -> str:
        return "" if self.accepts(value) else _said(at, "true or false", value)


@dataclass(eq=False, repr=False)
class Maybe:
    """What is demanded, or null."""

    inner: Demand

    def fault(self, value: Any, at: Place) -> str:
        return "" if value is None else self.inner.fault(value, at)


@dataclass(eq=False, repr=False)
class Absent:
    """Of an object's entry: it may be absent."""

    inner: Demand

    def fault(self, value: Any, at: Place) -> str:
        return self.inner.fault(value, at)


@dataclass(eq=False, repr=False)
class OneOf:
    """What one of several demands takes."""

    what: str
    inner: tuple[Demand, ...]

    def fault(self, value: Any, at: Place) -> str:
        return _said(at, self.what, value) if all(one.fault(value, at) for one in self.inner) else ""


@dataclass(eq=False, repr=False)
class Items:
    """A list of at least so many entries, at most so many, each as demanded; rising, or each another, where that is said."""

    inner: Demand
    least: int = 0
    most: int = _MOST
    rising: bool = False
    distinct: bool = False

    def fault(self, value: Any, at: Place) -> str:
        if type(value) is not list:
            return _said(at, "a list", value)
        if not self.least <= len(value) <= self.most:
            many = f"at least {self.least}" if len(value) < self.least else f"at most {self.most}"
            return f"{_spelt(at)} must have {many} entries, got {len(value):,}"
        accepts_all = getattr(self.inner, "accepts_all", None)  # of tens of thousands of labels, in one go
        if accepts_all is None or not accepts_all(value):
            for place, one in enumerate(value):
                if found := self.inner.fault(one, (at, place)):
                    return found
        if self.rising and not all(map(lt, value, value[1:])):
            return f"{_spelt(at)} must rise from each entry to the next, got {_shown(value)}"
        if self.distinct and len(set(value)) < len(value):
            return f"{_spelt(at)} must have each entry once, got one twice"
        return ""


@dataclass(eq=False, repr=False)
class Row:
    """A list with a demand for each place."""

    inner: tuple[Demand, ...]

    def fault(self, value: Any, at: Place) -> str:
        if type(value) is not list or len(value) != len(self.inner):
            return _said(at, f"a list of {len(self.inner)}", value)
        parts = zip(self.inner, value, strict=True)
        return next((found for k, (demand, one) in enumerate(parts) if (found := demand.fault(one, (at, k)))), "")


@dataclass(eq=False, repr=False)
class Entries:
    """An object with these entries."""

    inner: Mapping[str, Demand]

    def __post_init__(self) -> None:
        self._quick = [(name, getattr(demand, "accepts", None), demand) for name, demand in self.inner.items()]

    def fault(self, value: Any, at: Place) -> str:
        if type(value) is not dict:
            return _said(at, "an object", value)
        for name, accepts, demand in self._quick:
            if name in value:
                one = value[name]
                if (accepts is None or not accepts(one)) and (found := demand.fault(one, (at, name))):
                    return found
            elif not isinstance(demand, Absent):
                return f"{_spelt((at, name))} must be there, it is missing"
        return ""


@dataclass(eq=False, repr=False)
class Named:
    """An object whose entries have any names."""

    inner: Demand

    def fault(self, value: Any, at: Place) -> str:
        if type(value) is not dict:
            return _said(at, "an object", value)
        return next((found for n, one in value.items() if (found := self.inner.fault(one, (at, n)))), "")


@dataclass(eq=False, repr=False)
class Tree:
    """Any JSON of at most so many levels, for what nothing is made of but text for people."""

    levels: int = 6

    def fault(self, value: Any, at: Place) -> str:
        inner = value.values() if type(value) is dict else value if type(value) is list else None
        if inner is None:
            return Real().fault(value, at) if type(value) is float else ""
        if not self.levels:
            return f"{_spelt(at)} must have fewer levels of lists and objects, got more"
        deeper = Tree(self.levels - 1)
        return next((found for one in inner if (found := deeper.fault(one, at))), "")


ANY_NUMBER = Real(bounded=False)
FILE_NAME = Text(of_file=True)


def _said(at: Place, demand: str, value: Any) -> str:
    return f"{_spelt(at) or 'it'} must be {demand}, got {_shown(value)}"


def _spelt(at: Place) -> str:
    """As `facts.models[1].target`; a name that is no word, or very long, stands in quotes."""
    if isinstance(at, str):
        return at
    before, entry = _spelt(at[0]), at[1]
    if isinstance(entry, int):
        return f"{before}[{entry}]"
    name = entry if re.fullmatch(r"\w{1,40}", entry) else _shown(entry)
    return f"{before}.{name}" if before else name


def _shown(value: Any) -> str:
    """A value in a message, on one line and of few characters, however large it is."""
    if isinstance(value, dict) or (
        isinstance(value, list) and (len(value) > 4 or any(isinstance(x, list | dict) for x in value))
    ):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value):,} entries"
    if isinstance(value, int) and abs(value) > 10**_SHOWN:
        return "a whole number of many digits"
    text = repr(value[:_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
