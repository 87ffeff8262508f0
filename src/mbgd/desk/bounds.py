"""What a knob may be, as data: a value in, the same value checked and made plain out, or one sentence."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any, Protocol

from mbgd.errors import PlanError, did_you_mean


class Bound(Protocol):
    """A demand on a value."""

    @property
    def demand(self) -> str:
        """What is asked for, as it stands in 'NAME must be ...'."""
        ...

    def accepts(self, value: Any) -> bool: ...

    def check(self, name: str, value: Any) -> Any:
        """The value in its plain form, or PlanError."""
        ...


def refuse(name: str, bound: Bound, value: Any, remedy: str = "") -> PlanError:
    return PlanError(f"{name} must be {bound.demand}, got {value!r}{remedy}")


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
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            return False
        number = float(value)
        above = number > self.low if self.open_low else number >= self.low
        return above and (number < self.high if self.open_high else number <= self.high)

    def check(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        if not self.accepts(value):
            raise refuse(name, self, value)
        return float(value)


@dataclass(frozen=True)
class Whole:
    """A whole number of at least `low`, or several."""

    low: int
    many: bool = False

    @property
    def demand(self) -> str:
        return f"{'whole numbers' if self.many else 'a whole number'} of at least {self.low}"

    def accepts(self, value: Any) -> bool:
        if self.many:
            return isinstance(value, (tuple, list)) and all(self._one(part) for part in value)
        return self._one(value)

    def _one(self, value: Any) -> bool:
        return not isinstance(value, bool) and isinstance(value, numbers.Integral) and int(value) >= self.low

    def check(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        if self.many and self._one(value):
            value = (value,)
        if not self.accepts(value):
            raise refuse(name, self, value)
        return tuple(int(part) for part in value) if self.many else int(value)


@dataclass(frozen=True)
class Share:
    """A part of a whole: above 0 (or 0 where `zero`) and below 1."""

    zero: bool = False

    @property
    def demand(self) -> str:
        return f"a share {'of at least' if self.zero else 'above'} 0 and below 1"

    def accepts(self, value: Any) -> bool:
        return Number(0, 1, open_low=not self.zero, open_high=True).accepts(value)

    def check(self, name: str, value: Any) -> Any:
        if value is not None and not self.accepts(value):
            raise refuse(name, self, value, "; 0.1 is every tenth")
        return None if value is None else float(value)


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

    def check(self, name: str, value: Any) -> Any:
        if value is not None and not self.accepts(value):
            raise refuse(name, self, value)
        if self.text or value is None:
            return value
        return float(value[:-1]) if isinstance(value, str) else float(value)


def _is_seconds(text: str) -> bool:
    try:
        return text.endswith("s") and 0 < float(text[:-1]) < math.inf
    except ValueError:
        return False


@dataclass(frozen=True)
class Switch:
    """True or False."""

    @property
    def demand(self) -> str:
        return "True or False"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)

    def check(self, name: str, value: Any) -> Any:
        if not self.accepts(value):
            raise refuse(name, self, value)
        return value


class Choice:
    """One of some words; `others` says what may stand in their place, and lets every object pass that is no text."""

    def __init__(self, *words: str, others: str = "") -> None:
        self.words, self.others = words, others

    @property
    def demand(self) -> str:
        words = ", ".join(repr(word) for word in self.words)
        return f"{'one of ' if len(self.words) > 1 else ''}{words}{f', {self.others}' if self.others else ''}"

    def accepts(self, value: Any) -> bool:
        return value in self.words if isinstance(value, str) else bool(self.others)

    def check(self, name: str, value: Any) -> Any:
        if value is not None and not self.accepts(value):
            word = FOREIGN_VALUES.get(str(value), "")
            remedy = f"; say {word!r} here" if word in self.words else did_you_mean(value, self.words)
            raise refuse(name, self, value, remedy)
        return value


FOREIGN_VALUES = {  # words of other libraries -> the word here
    "auc": "roc_auc",
    "acc": "accuracy",
    "onecycle": "one_cycle",
    "OneCycleLR": "one_cycle",
    "bfloat16": "bf16",
    "fp32": "float32",
    "classifier": "classification",
    "regressor": "regression",
}


@dataclass(frozen=True)
class Names:
    """A name of a column, file or device, or several."""

    many: bool = False

    @property
    def demand(self) -> str:
        return "names" if self.many else "a name"

    def accepts(self, value: Any) -> bool:
        if self.many:
            return isinstance(value, (tuple, list)) and all(isinstance(part, str) for part in value)
        return isinstance(value, str) and bool(value)

    def check(self, name: str, value: Any) -> Any:
        if value is None:
            return () if self.many else None
        if self.many and isinstance(value, str):
            value = (value,)
        if not self.accepts(value):
            raise refuse(name, self, value)
        return tuple(value) if self.many else value


@dataclass(frozen=True)
class Given:
    """An object handed over as it is: anything but a number or a text."""

    demand: str

    def accepts(self, value: Any) -> bool:
        return not isinstance(value, (str, bool, numbers.Number))

    def check(self, name: str, value: Any) -> Any:
        return value


class Either:
    """What any of several bounds accepts."""

    def __init__(self, *bounds: Bound) -> None:
        self.bounds = bounds

    @property
    def demand(self) -> str:
        return " or ".join(bound.demand for bound in self.bounds)

    def accepts(self, value: Any) -> bool:
        return any(bound.accepts(value) for bound in self.bounds)

    def check(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        for bound in self.bounds:
            if bound.accepts(value):
                return bound.check(name, value)
        raise refuse(name, self, value)
