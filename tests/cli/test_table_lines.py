"""A table laid out by ours is the one that rich lays out, wherever ours lays it out."""

from __future__ import annotations

import io
import random

import pytest
from rich.console import Console

from mbgd.cli.streams import _lines, _rich_table


@pytest.mark.parametrize("width", [40, 80, 140])
def test_lines_are_those_of_rich(width: int) -> None:
    chance, compared = random.Random(width), 0
    for _ in range(150):
        n = chance.randint(2, 6)
        headings = [chance.choice(["column", "why", "漢字", "values"]) + str(i) for i in range(n)]
        right = {name for name in headings if chance.random() < 0.4}
        longest = [14] * (n - 1) + [90]
        rows = [[_cell(chance, most) for most in longest] for _ in range(chance.randint(0, 5))]
        found = _lines(headings, rows, right=right, width=width)
        console = Console(width=width, file=io.StringIO(), soft_wrap=False)
        console.print(_rich_table(headings, rows, right=right))
        theirs = [line.rstrip() for line in console.file.getvalue().split("\n")[:-1]]  # type: ignore[attr-defined]
        if found is not None and not any("…" in line for line in theirs):  # it cuts a word that a blank follows
            assert found == theirs
            compared += 1
    assert compared > 15


def _cell(chance: random.Random, most: int) -> str:
    words = ("".join(chance.choice("abc漢é1") for _ in range(chance.randint(1, 9))) for _ in range(40))
    return " ".join(words)[: chance.choice([0, 1, 5, most])].strip()
