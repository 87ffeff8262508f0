"""Law: a demand takes what it says and names the entry that is something else; JSON takes no more memory than it was granted."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

from mbgd.store.schema import (
    ANY_NUMBER,
    FILE_NAME,
    Absent,
    Demand,
    Entries,
    Flag,
    Items,
    Maybe,
    Named,
    OneOf,
    Real,
    Row,
    Text,
    Tree,
    Whole,
    Word,
)
from mbgd.store.strict_json import SLACK, parse_json

MANY = 10**400


@pytest.mark.parametrize(
    ("demand", "right", "wrong"),
    [
        (Whole(), [0, 1, 2**61], [-1, True, 1.0, "1", None, 2**63, MANY, math.nan, []]),
        (Whole(-2, 3), [-2, 3], [-3, 4]),
        (Real(), [0, -1.5, 1e308, 10**300], [MANY, math.inf, -math.inf, math.nan, True, "1", None]),
        (Real(0.0, 1.0, above=True), [1, 1e-300], [0, 0.0, -0.0, 1.1]),
        (Real(0.0, 1.0, below=True), [0, 0.999], [1, 1.0]),
        (ANY_NUMBER, [math.nan, math.inf, -1], [True, None, "nan", MANY]),
        (Text(), ["", "ä\0", "\U0001f600"], [None, 1, "\ud800", ["x"]]),
        (Text("[a-f]{2}"), ["ab"], ["abc", "a", "ab\n", "AB"]),
        (FILE_NAME, ["\udcff.csv"], [b"x"]),
        (Word(("a", "b")), ["a"], ["c", "", None, ["a"]]),
        (Flag(), [True, False], [0, 1, None, "true"]),
        (Maybe(Whole()), [None, 1], [False, "x"]),
        (OneOf("x", (Whole(), Text())), [1, "y"], [1.5, None]),
        (Items(Whole(), least=1, most=2), [[1], [1, 2]], [[], [1, 2, 3], {"a": 1}, "12", None, [1, "x"]]),
        (Items(Real(), rising=True), [[], [1.0], [1, 2.5]], [[1, 1], [2, 1]]),
        (Items(Text(), distinct=True), [["a", "b"]], [["a", "a"]]),
        (Row((Whole(), Text())), [[1, "x"]], [[1], [1, "x", 2], ["x", 1], None]),
        (Entries({"a": Whole(), "b": Absent(Text())}), [{"a": 1}, {"a": 1, "b": "x", "c": []}], [{}, {"a": 1, "b": None}, [1]]),
        (Named(Whole()), [{}, {"a": 1}], [{"a": "x"}, []]),
        (Tree(2), [1, "x", {"a": [1]}, None], [[[[]]], {"a": {"b": {}}}, [math.inf], {"a": math.nan}]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_demand_takes_what_it_says(demand: Demand, right: list[Any], wrong: list[Any]) -> None:
    assert [demand.fault(value, "x") for value in right] == [""] * len(right)
    for value in wrong:
        said = demand.fault(value, "x")
        assert said.startswith("x")
        assert len(said) < 200
        assert "\n" not in said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": {"b": [1, -1]}}, "a.b[1] must be a whole number of at least 0, got -1"),
        ({"a": {"b": [1, 1e308]}}, "a.b[1] must be a whole number of at least 0, got 1e+308"),
        ({"a": {"b": MANY}}, "a.b must be a list, got a whole number of many digits"),
        ({"a": {}}, "a.b must be there, it is missing"),
        ({"a": [0] * 9}, "a must be an object, got a list of 9 entries"),
        ({"a": {"b": ["x" * 400]}}, f"a.b[0] must be a whole number of at least 0, got '{'x' * 36}..."),
    ],
)
def test_what_is_wrong_is_named_by_its_place(value: Any, said: str) -> None:
    assert Entries({"a": Entries({"b": Items(Whole())})}).fault(value, "") == said


@pytest.mark.parametrize(
    "text", ["{", "", "nan", '{"a": 1, "a": 1}', '[{"a": {"b": 1, "b": 2}}]', "NaN", "[-Infinity]", "[" * 5000]
)
def test_what_two_readers_could_take_for_two_things_is_no_json(text: str) -> None:
    with pytest.raises(ValueError):
        parse_json(text.encode())


def test_numbers_that_are_not_finite_are_json_where_a_file_has_to_be_exact() -> None:
    assert parse_json(b"[Infinity, 1]", finite=False) == [math.inf, 1]


GREEDY = """
import resource, sys
from mbgd.store.strict_json import parse_json
data = sys.argv[1].encode() * (int(sys.argv[2]) // len(sys.argv[1]))
data = b"[" + data.rstrip(b",") + b"]"
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    parse_json(data)
    print("read", end=" ")
except ValueError:
    print("refused", end=" ")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, len(data))
"""


@pytest.mark.parametrize("part", ["{},", "[],", '"",', '{"":0},', "[[],{}],", '"\u00e4\U0001f600",', "1.5,"])
@pytest.mark.parametrize("size", [1_000_000, pytest.param(90_000_000, marks=pytest.mark.slow)])
def test_json_takes_four_times_its_bytes_and_the_slack_at_most(part: str, size: int) -> None:
    """In a process of its own, whose peak is that of this file alone."""
    done = subprocess.run([sys.executable, "-c", GREEDY, part, str(size)], capture_output=True, text=True, check=True)
    word, took, length = done.stdout.split()
    assert int(took) <= 4 * int(length) + SLACK
    assert word == "refused" or size < 90_000_000
