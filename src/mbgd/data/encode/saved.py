"""What a file says of an encoder and of a target, as `to_json` of theirs writes it: checked, and counted, without Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mbgd.errors import SavedFileError
from mbgd.store.schema import Absent, Demand, Entries, Flag, Items, Maybe, OneOf, Real, Text, Whole, Word

VERSION = 1
"""Of an encoder."""
TASKS = ("regression", "classification")
WIDEST = 1e150
"""A target, at most: squares of larger numbers overflow, and with them every score."""
FURTHEST = 711.0
"""asinh of the largest float64, and the furthest edge of a number."""
_NAME, _NUMBER, _CODES = Text(), Real(), 100_000_000
_TIMES = r"timestamp\[(s|ms|us|ns)(, tz=[^\]]{1,64})?\]|date32\[day\]|date64\[ms\]|time(32|64)\[\w{1,2}\]|duration\[\w{1,2}\]"
_KIND = Text(f"(?s:(?!time|duration|date).*)|{_TIMES}", "the name of a type of Arrow's")
_ZONE = Text(r"[\w+\-/:.]{1,64}", "the name of a time zone")
_WAVES = ("hour", "weekday", "day_of_year")
PLACES = {"hour": (0, 23), "weekday": (0, 6), "month": (1, 12), "day_of_year": (0, 365)}
"""Part of a date -> its least and greatest value, each of which may have a code."""
_CODED: dict[str, Demand] = {part: Absent(Items(Whole(*ends), least=1, rising=True)) for part, ends in PLACES.items()}

_PARTS: dict[str, Entries] = {
    "number": Entries(
        {
            "name": _NAME,
            "median": _NUMBER,
            "scale": Real(0.0),
            "flag": Flag(),
            "edges": Absent(Items(Real(-FURTHEST, FURTHEST), rising=True)),
        }
    ),
    "date": Entries(
        {
            "name": _NAME,
            "parts": Items(Word(_WAVES), distinct=True),
            "flag": Flag(),
            "zone": Maybe(_ZONE),
            "codes": Absent(Entries(_CODED)),
        }
    ),
    "category": Entries(
        {
            "name": _NAME,
            "labels": Items(_NAME, least=1, distinct=True),
            "type": _NAME,
            "shared": Absent(Whole(0, _CODES)),
        }
    ),
}
LEFT_OUT = "left out"
_FACT = Entries(
    {
        "name": _NAME,
        "type": _KIND,
        "kind": Word((*_PARTS, LEFT_OUT)),
        "missing": Whole(),
        "distinct": Whole(),
        "why": _NAME,
    }
)
_ENCODER = Entries(
    {
        "version": Whole(1),
        "parts": Items(Entries({"kind": Word(tuple(_PARTS))}), least=1),
        "facts": Items(_FACT, least=1),
        "missing": Absent(Items(_NAME)),
    }
)
_LABELS = OneOf(
    "a list of two labels at least, all of them texts, all whole numbers or all truth values, each once, or an empty one",
    (
        Items(_NAME, least=2, distinct=True),
        Items(Whole(-(1 << 63), (1 << 64) - 1), least=2, distinct=True),
        Items(Flag(), least=2, distinct=True),
        Items(_NAME, most=0),
    ),
)
_END = Absent(Maybe(Real(-WIDEST, WIDEST)))
_TARGET = Entries(
    {
        "name": _NAME,
        "task": Word(TASKS),
        "classes": _LABELS,
        "center": Real(-WIDEST, WIDEST),
        "scale": Real(0.0, WIDEST, above=True),
        "low": _END,
        "high": _END,
    }
)


@dataclass(frozen=True)
class Sizes:
    """What an encoder makes of a row: so many numbers, and codes below each of `cardinalities`."""

    numbers: int
    cardinalities: tuple[int, ...]


def check_encoder(saved: Any, at: str) -> Sizes:
    """Raises ValueError, naming the entry, for what is no encoder, and SavedFileError for one of a newer version."""
    if found := Entries({"version": Whole(1)}).fault(saved, at):
        raise ValueError(found)
    if saved["version"] != VERSION:
        raise SavedFileError(
            f"the encoder has format version {saved['version']}, this mbgd reads {VERSION}; install a newer mbgd"
        )
    if found := _ENCODER.fault(saved, at) or next(_wrong_parts(saved["parts"], f"{at}.parts"), ""):
        raise ValueError(found)
    parts = saved["parts"]
    of_parts = {part["name"]: part["kind"] for part in parts}
    of_facts = {fact["name"]: fact["kind"] for fact in saved["facts"] if fact["kind"] != LEFT_OUT}
    if len(of_parts) < len(parts) or len({fact["name"] for fact in saved["facts"]}) < len(saved["facts"]):
        raise ValueError(f"{at} must have each column once, got one twice")
    if of_parts != of_facts:
        raise ValueError(f"{at}.facts must be of the columns that {at}.parts has, each with its kind")
    dates = [part for part in parts if part["kind"] == "date"]
    of_dates = (len(values) + 1 for date in dates for values in date.get("codes", {}).values())
    categories = (len(part["labels"]) + 1 + part.get("shared", 0) for part in parts if part["kind"] == "category")
    return Sizes(sum(map(_numbers, parts)), (*categories, *of_dates))


def check_target(saved: Any, at: str) -> tuple[list[Any], int]:
    """(its classes, how many numbers it is); no classes for numbers. Raises ValueError, naming the entry."""
    if isinstance(saved, dict) and "several" in saved:
        several = Entries({"name": _NAME, "task": Word(TASKS), "several": Items(_TARGET, least=1)})
        if found := several.fault(saved, at):
            raise ValueError(found)
        each, places = saved["several"], [f"{at}.several[{k}]" for k in range(len(saved["several"]))]
    else:
        if found := _TARGET.fault(saved, at):
            raise ValueError(found)
        each, places = [saved], [at]
    for one, place in zip(each, places, strict=True):
        of_classes = one["task"] == "classification"
        if of_classes != bool(one["classes"]) or (of_classes and "several" in saved):
            raise ValueError(f"{place}.classes must be those of its task, {one['task']}, got {len(one['classes'])}")
        low, high = one.get("low"), one.get("high")
        if low is not None and high is not None and low > high:
            raise ValueError(f"{place}.low must be at most its high, got {low:g} and {high:g}")
    return each[0]["classes"], len(each)


def _wrong_parts(parts: list[Any], at: str) -> Iterator[str]:
    """What is wrong with parts, each by its kind."""
    for place, part in enumerate(parts):
        if found := _PARTS[part["kind"]].fault(part, f"{at}[{place}]"):
            yield found
        if unknown := [name for name in part.get("codes", {}) if name not in PLACES]:
            yield f"{at}[{place}].codes must be of {', '.join(PLACES)}, got {unknown[0][:40]!r}"


def _numbers(part: Mapping[str, Any]) -> int:
    if part["kind"] == "number":
        return int(part["scale"] != 0) + int(part["flag"])
    return 2 * len(part["parts"]) + int(part["flag"]) if part["kind"] == "date" else 0
