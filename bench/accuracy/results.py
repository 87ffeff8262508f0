"""Outcomes of fits as lines of JSON: appended as soon as a fit has ended, the last line of a fit counts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Key = tuple[str, str, int, int]
Kept = dict[str, dict[str, dict[int, "Result"]]]  # table -> peer -> split -> outcome
SAME = ("rows", "columns", "test_rows", "test")  # what all who are compared on a split must have been given


@dataclass(frozen=True)
class Result:
    """One fit: its error and seconds, or in a sentence why it has none. `facts`: whatever else was noted."""

    table: str
    peer: str
    split: int
    threads: int
    error: float | None = None
    seconds: float | None = None
    failed: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return self.table, self.peer, self.split, self.threads


def append(file: Path, fact: Result | Mapping[str, Any]) -> None:
    """One line, on the disk before this returns."""
    given = {**vars(fact), "facts": dict(fact.facts)} if isinstance(fact, Result) else dict(fact)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(given) + "\n")
        lines.flush()
        os.fsync(lines.fileno())


def read(file: Path) -> tuple[list[Result], list[dict[str, Any]]]:
    """(outcomes, facts of the machines they were measured on), in the order of the lines."""
    if not file.exists():
        return [], []
    given = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]
    return [Result(**fact) for fact in given if "machine" not in fact], [f["machine"] for f in given if "machine" in f]


def latest(results: Iterable[Result]) -> dict[Key, Result]:
    """The last outcome of each fit: one that was run again replaces what it was."""
    return {result.key: result for result in results}


def kept(results: Iterable[Result], *, threads: int) -> Kept:
    """The fits with so many threads that have an error. Raises ValueError where two were not given the same rows."""
    found: Kept = {}
    for result in latest(results).values():
        if result.threads == threads and result.error is not None:
            found.setdefault(result.table, {}).setdefault(result.peer, {})[result.split] = result
    for table, peers in found.items():
        _check_same(table, [one for splits in peers.values() for one in splits.values()])
    return found


def failures(results: Iterable[Result], *, threads: int) -> list[Result]:
    return [one for one in latest(results).values() if one.threads == threads and one.failed is not None]


def _check_same(table: str, results: list[Result]) -> None:
    first: dict[int, Result] = {}
    for one in results:
        other = first.setdefault(one.split, one)
        for fact in SAME:
            if one.facts.get(fact) != other.facts.get(fact):
                raise ValueError(
                    f"{table}, split {one.split}: {fact} must be the same for everybody, got {one.facts.get(fact)} "
                    f"for {one.peer} and {other.facts.get(fact)} for {other.peer}; run one of them --again"
                )
