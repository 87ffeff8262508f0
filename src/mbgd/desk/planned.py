"""Read the plan of a run from its plan.json, with what a resume may change and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from mbgd.desk.bounds import check, shown
from mbgd.desk.foreign import unknown
from mbgd.desk.knob_field import plain
from mbgd.desk.plan import Plan, make_plan
from mbgd.errors import PlanError

# what may change at resume
RESUMABLE = ("device", "threads", "engine", "workers", "prefetch", "checkpoint_every", "time_limit", "log")


def from_json(saved: Mapping[str, Any], **given: Any) -> Plan:
    """The plan of a plan.json. `given` supplies what JSON could not hold, and may change what no update depends on."""
    for word, value in given.items():
        _check_given(word, value, saved)
    lists = {knob.name for knob in fields(Plan) if isinstance(knob.default, tuple)}
    words: dict[str, Any] = {}
    for word, value in saved.items():
        if word in given:
            words[word] = given[word]
        elif isinstance(value, dict) and "object" in value:
            raise PlanError(f"{word} was {value['object']}, which plan.json cannot hold; give {word}= again")
        else:
            words[word] = tuple(value) if word in lists and isinstance(value, list) else value
    return make_plan(words)


def check_same_objects(now: Mapping[str, Any], then: Mapping[str, Any]) -> None:
    """What plan.json names and cannot hold is of the same kind as when the run was begun: raises PlanError with both names."""
    for word in ("optimizer", "learning_rates", "schedule", "metric"):
        if word in then and now[word] != then[word]:
            raise PlanError(
                f"{word} must stay what the run was begun with, {then[word]}, got {now[word]}; give that again, or begin a new run"
            )


def _check_given(word: str, value: Any, saved: Mapping[str, Any]) -> None:
    known = {knob.name: knob for knob in fields(Plan)}
    if word not in known:
        raise PlanError(unknown(word, known))
    then = saved.get(word, known[word].default)
    if word in RESUMABLE or (isinstance(then, dict) and "object" in then):
        return
    now = plain(check(known[word].metadata["bound"], word, value, hint=known[word].metadata["hint"]))
    if now != then:
        raise PlanError(
            f"{word} must stay what the run was begun with, {then!r}, got {shown(value)}; leave it out, or begin a new run"
        )
