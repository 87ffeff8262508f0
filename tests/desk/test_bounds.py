"""Every kind of bound: what it accepts and refuses, the plain form it keeps, and the one sentence it refuses with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from mbgd.desk.bounds import (
    Bound,
    Choice,
    Device,
    Either,
    Given,
    Names,
    Number,
    Seconds,
    Share,
    Switch,
    Whole,
    check,
)
from mbgd.errors import PlanError

RATE = Number(0, math.inf, open_low=True)
ACCEPTED: list[tuple[Bound, Any, Any]] = [  # bound, given, plain form
    (RATE, 1, 1.0),
    (RATE, np.float32(0.5), 0.5),
    (RATE, 5e-324, 5e-324),
    (Number(0, 1, open_high=True), 0, 0.0),
    (Number(-math.inf, math.inf), -3, -3.0),
    (Number(0, 1), 1, 1.0),
    (Whole(1), 1, 1),
    (Whole(0), np.int64(0), 0),
    (Whole(1, many=True), 5, (5,)),
    (Whole(1, many=True), [5, np.int32(6)], (5, 6)),
    (Whole(1, many=True), (), ()),
    (Share(), 0.5, 0.5),
    (Share(zero=True), 0, 0.0),
    (Seconds(), 3, 3.0),
    (Seconds(), "1.5s", 1.5),
    (Seconds(text=True), "30s", "30s"),
    (Switch(), False, False),
    (Choice("a", "b"), "b", "b"),
    (Names(), "column", "column"),
    (Names(many=True), "column", ("column",)),
    (Names(many=True), ["a", "b"], ("a", "b")),
    (Device(), "cuda:1", "cuda:1"),
    (Device(), torch.device("cpu"), "cpu"),
    (Either(Whole(1), Choice("full")), "full", "full"),
    (Either(Whole(1), Choice("full")), np.int64(7), 7),
]
REFUSED: list[tuple[Bound, Any, str]] = [
    (RATE, 0, "a number above 0, got 0"),
    (RATE, math.nan, "a number above 0, got nan"),
    (RATE, math.inf, "a number above 0, got inf"),
    (RATE, "0.1", "a number above 0, got '0.1'"),
    (RATE, True, "a number above 0, got True"),
    (RATE, 1j, "a number above 0, got 1j"),
    (Number(0, 1), 1.5, "a number at least 0 and at most 1, got 1.5"),
    (Number(0, 1, open_high=True), 1, "a number at least 0 and below 1, got 1"),
    (Number(-math.inf, math.inf), math.inf, "a number, got inf"),
    (Whole(1), 0, "a whole number of at least 1, got 0"),
    (Whole(1), 2.0, "a whole number of at least 1, got 2.0"),
    (Whole(1), True, "a whole number of at least 1, got True"),
    (Whole(1, many=True), (3, 0), "whole numbers of at least 1, got (3, 0)"),
    (Share(), 0, "a share above 0 and below 1, got 0"),
    (Share(), 1, "a share above 0 and below 1, got 1"),
    (Share(zero=True), 1.0, "a share of at least 0 and below 1, got 1.0"),
    (Seconds(), "3", "seconds above 0, as 30 or '30s', got '3'"),
    (Seconds(), "-3s", "seconds above 0, as 30 or '30s', got '-3s'"),
    (Seconds(), "infs", "seconds above 0, as 30 or '30s', got 'infs'"),
    (Seconds(text=True), 3, "seconds as '30s', got 3"),
    (Switch(), 1, "True or False, got 1"),
    (Switch(), "no", "True or False, got 'no'"),
    (Choice("constant", "cosine"), "cosin", "one of 'constant', 'cosine', got 'cosin'; did you mean 'cosine'?"),
    (Choice("bf16", "float32"), "bfloat16", "one of 'bf16', 'float32', got 'bfloat16'; say 'bf16' here"),
    (Choice("auto"), 3, "'auto', got 3"),
    (Names(), "", "a name, got ''"),
    (Names(), 3, "a name, got 3"),
    (Names(many=True), [1], "names, got [1]"),
    (Device(), 0, "auto, cpu, cuda, cuda:1 or mps, got 0"),
    (Given("an optimizer"), 3.0, "an optimizer, got 3.0"),
    (
        Either(Whole(1), Choice("full")),
        "ful",
        "a whole number of at least 1 or 'full', got 'ful'; did you mean 'full'?",
    ),
    (RATE, np.zeros((2, 3)), "a number above 0, got ndarray of shape (2, 3)"),
    (RATE, torch.zeros(99), "a number above 0, got Tensor of shape (99,)"),
    (RATE, "x" * 99, "a number above 0, got str"),
]


@pytest.mark.parametrize(("bound", "given", "plain"), ACCEPTED, ids=str)
def test_what_is_accepted_is_made_plain(bound: Bound, given: Any, plain: Any) -> None:
    found = check(bound, "knob", given)
    assert found == plain
    assert type(found) is type(plain)


@pytest.mark.parametrize(("bound", "given", "said"), REFUSED, ids=str)
def test_what_is_refused_is_refused_in_one_sentence(bound: Bound, given: Any, said: str) -> None:
    with pytest.raises(PlanError) as caught:
        check(bound, "knob", given)
    assert str(caught.value) == f"knob must be {said}"


def test_a_hint_stands_behind_where_nothing_nearer_is_known() -> None:
    with pytest.raises(PlanError, match=r"got 0; 32 is usual$"):
        check(Whole(1), "batch_size", 0, hint="32 is usual")
    with pytest.raises(PlanError, match=r"; did you mean 'full'\?$"):
        check(Either(Whole(1), Choice("full")), "batch_size", "ful", hint="32 is usual")


def test_none_is_for_the_plan_to_judge() -> None:
    assert check(Whole(1), "knob", None) is None


def test_an_object_is_handed_over_as_it_is() -> None:
    given = [1, 2]
    assert check(Given("anything"), "knob", given) is given
