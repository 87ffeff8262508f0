"""What an encoder has learned in, the nodes that turn columns into numbers and codes out: one input a column.

n rows · X columns of numbers · F numbers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mbgd.data.encode.dates import DAY, PERIODS
from mbgd.data.encode.numbers import ASINH_OF_WIDEST
from mbgd.desk.onnx.graph import DOUBLE, FLOAT, INT64, ML, STRING, Graph

MISSING = np.iinfo(np.int64).min
"""A time that is missing, as NumPy has it."""
_FAR = 1e8  # beyond it asinh(a) is log(2 a) to the last bit of a float64
_ERA, _MARCH = 146_097, 719_468  # days of 400 years; days from 1 March of the year 0 to 1 January 1970
_TRUTH = {"true": ("true", "True", "TRUE", "1"), "false": ("false", "False", "FALSE", "0")}
Part = Mapping[str, Any]


def encoded(graph: Graph, encoder: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """(numbers float32 (n, F), codes int64 (n, C)) as `Encoder.encode` has them; None where there are none.

    An infinite number is taken as the largest that there is: a graph cannot refuse it.
    """
    parts = encoder["parts"]
    numbers = [part for part in parts if part["kind"] == "number"]
    found = _scaled(graph, numbers) if numbers else {}
    of_dates: list[str] = []
    for part in (part for part in parts if part["kind"] == "date"):
        waves, codes = _date(graph, part)
        found, of_dates = found | waves, of_dates + codes
    in_order = [(part["name"], k) for part in parts if part["kind"] != "category" for k in range(_width(part))]
    codes = [_code(graph, part) for part in parts if part["kind"] == "category"] + of_dates
    return (
        graph.beside([found[place] for place in in_order], name="numbers") if in_order else None,
        graph.beside(codes, name="codes") if codes else None,
    )


def inputs_of(encoders: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Every input column of any encoder with its kind."""
    return {part["name"]: part["kind"] for encoder in encoders for part in encoder["parts"]}


def _width(part: Part) -> int:
    if part["kind"] == "number":
        return bool(part["scale"]) + bool(part["flag"])
    return 2 * len(part["parts"]) + bool(part["flag"])


def _scaled(graph: Graph, parts: Sequence[Part]) -> dict[tuple[str, int], str]:
    """Of all columns of numbers at once: (column, 0) is z, (column, 1) the flag, or 0 the flag where there is no z."""
    said = "a number; NaN where it is missing"
    columns = [graph.input(part["name"], DOUBLE, said=said) for part in parts]
    x_nX = graph.beside(columns, name="columns of numbers")
    missing_nX = graph.node("IsNaN", x_nX, name="is missing")
    median_X = graph.constant([part["median"] for part in parts], dtype=np.float64, name="median")
    scale_X = graph.constant([part["scale"] or 1.0 for part in parts], dtype=np.float64, name="scale")
    there_nX = graph.node("Where", missing_nX, median_X, x_nX, name="or the median")
    apart_nX = graph.node("Div", graph.node("Sub", there_nX, median_X), scale_X, name="distance in scales")
    most = float(ASINH_OF_WIDEST)
    edges = [part.get("edges") or (-most, most) for part in parts]
    low_X = graph.constant([each[0] for each in edges], dtype=np.float64, name="lowest")
    high_X = graph.constant([each[-1] for each in edges], dtype=np.float64, name="highest")
    z_nX = graph.node("Min", graph.node("Max", _asinh(graph, apart_nX), low_X), high_X, name="within what was seen")
    z_nX = graph.cast(z_nX, FLOAT)  # 0 where it is missing, as at the median
    flag_nX = graph.cast(missing_nX, FLOAT)
    found: dict[tuple[str, int], str] = {}
    for column, part in enumerate(parts):
        wanted = [z_nX] * bool(part["scale"]) + [flag_nX] * bool(part["flag"])
        found |= {(part["name"], k): graph.columns(of, [column], name=part["name"]) for k, of in enumerate(wanted)}
    return found


def _asinh(graph: Graph, value: str) -> str:
    """In float64, which the operator of that name does not take in every runtime: sign(x) log(|x| + sqrt(x^2 + 1))."""
    size = graph.node("Abs", value)
    far = graph.constant(_FAR, dtype=np.float64, name="far")
    one = graph.constant(1.0, dtype=np.float64, name="one")
    near = graph.node("Min", size, far)
    root = graph.node("Sqrt", graph.node("Add", graph.node("Mul", near, near), one))
    close = graph.node("Log", graph.node("Add", near, root))
    two = graph.constant(float(np.log(2.0)), dtype=np.float64, name="log of two")
    beyond = graph.node("Add", graph.node("Log", graph.node("Max", size, one)), two)
    found = graph.node("Where", graph.node("Greater", size, far), beyond, close)
    return graph.node("Mul", graph.node("Sign", value), found, name="asinh")


def _code(graph: Graph, part: Part) -> str:
    """(n, 1) int64; 0 for every text that is no label, which is how a missing value is given."""
    texts = {label: code for code, label in enumerate(part["labels"], 1)}
    if part["type"] == "bool":
        texts = {text: code for label, code in texts.items() for text in _TRUTH[label]}
    value = graph.input(part["name"], STRING, said="a label as text; any other, as the empty one, is missing or unseen")
    labels: dict[str, Any] = {"keys_strings": list(texts), "values_int64s": list(texts.values()), "default_int64": 0}
    return graph.node("LabelEncoder", value, name=f"code of {part['name']}", domain=ML, attributes=labels)


def _date(graph: Graph, part: Part) -> tuple[dict[tuple[str, int], str], list[str]]:
    """Sine and cosine of each part of a date, and its flag; its codes."""
    name, clock = part["name"], f"the clock of {part['zone']}" if part["zone"] else "the clock of the table"
    said = f"seconds since 1970-01-01 00:00:00 by {clock}; {MISSING} where it is missing"
    given = graph.input(name, INT64, said=said)
    missing = graph.node("Equal", given, graph.constant(MISSING, dtype=np.int64, name="no time"), name="is missing")
    seconds = graph.node("Where", missing, _whole(graph, 0), given)
    second = _mod(graph, seconds, DAY)
    days = graph.node("Div", graph.node("Sub", seconds, second), _whole(graph, DAY), name="days since 1970")
    there = graph.cast(graph.node("Not", missing), DOUBLE)
    coded = part.get("codes", {})
    at = {"hour": second, "weekday": _weekday(graph, days)}
    at |= dict(zip(("day_of_year", "month"), _of_year(graph, days), strict=True))
    found: list[str] = []
    for of in part["parts"]:
        turns = PERIODS[of] * (DAY / 24 if of == "hour" else 1)
        turn = graph.constant(2 * np.pi / turns, dtype=np.float64, name="radians")
        angle = graph.node("Mul", graph.cast(at[of], DOUBLE), turn, name=of)
        waves = (graph.node(wave, angle) for wave in ("Sin", "Cos"))
        found += [graph.cast(graph.node("Mul", wave, there), FLOAT) for wave in waves]
    if part["flag"]:
        found.append(graph.cast(missing, FLOAT))
    at["hour"] = _div(graph, second, DAY // 24)
    codes = [_place_code(graph, graph.node("Where", missing, _whole(graph, -1), at[of]), coded[of]) for of in coded]
    return {(name, k): value for k, value in enumerate(found)}, codes


def _place_code(graph: Graph, place: str, values: Sequence[int]) -> str:
    """(n, 1) int64: 1 for the first of `values`, and so on; 0 for any other."""
    codes = {"keys_int64s": list(values), "values_int64s": list(range(1, len(values) + 1)), "default_int64": 0}
    return graph.node("LabelEncoder", place, name="code of a date", domain=ML, attributes=codes)


def _weekday(graph: Graph, days: str) -> str:
    return _mod(graph, graph.node("Add", days, _whole(graph, 3)), 7)  # 1 January 1970 was a Thursday


def _of_year(graph: Graph, days: str) -> tuple[str, str]:
    """(day of the year, 1 January 0; month, January 1). Years are counted from March on, so that the leap day is the last of
    them (Hinnant 2013, civil_from_days); the days before 1 January then are 306, and those from 1 March on follow 59 or 60."""
    day = _mod(graph, graph.node("Add", days, _whole(graph, _MARCH)), _ERA)  # of 400 years
    leap = graph.node("Add", graph.node("Sub", day, _div(graph, day, 1460)), _div(graph, day, 36_524))
    year = _div(graph, graph.node("Sub", leap, _div(graph, day, _ERA - 1)), 365)
    before = graph.node("Add", graph.node("Mul", year, _whole(graph, 365)), _div(graph, year, 4))
    since_march = graph.node("Sub", day, graph.node("Sub", before, _div(graph, year, 100)), name="days since March")
    fourth, hundredth = (graph.node("Equal", _mod(graph, year, k), _whole(graph, 0)) for k in (4, 100))
    first = graph.node("Equal", year, _whole(graph, 0))
    is_leap = graph.node("And", fourth, graph.node("Or", graph.node("Not", hundredth), first), name="leap year")
    march = graph.node("Add", graph.cast(is_leap, INT64), _whole(graph, 59))
    late = graph.node("Less", since_march, _whole(graph, 306))
    january = graph.node("Sub", since_march, _whole(graph, 306))
    day = graph.node("Where", late, graph.node("Add", since_march, march), january, name="day of the year")
    fifth = graph.node("Add", graph.node("Mul", since_march, _whole(graph, 5)), _whole(graph, 2))
    after = graph.node("Add", _div(graph, fifth, 153), _whole(graph, 2))  # months since January; March is 2
    return day, graph.node("Add", _mod(graph, after, 12), _whole(graph, 1), name="month")


def _whole(graph: Graph, value: int) -> str:
    return graph.constant(value, dtype=np.int64, name="whole")


def _mod(graph: Graph, value: str, by: int) -> str:
    """From 0 to by - 1, also of what is below 0."""
    return graph.node("Mod", value, _whole(graph, by))


def _div(graph: Graph, value: str, by: int) -> str:
    """Whole part of what is not below 0."""
    return graph.node("Div", value, _whole(graph, by))
