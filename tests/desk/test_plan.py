"""The plan: words in, one sentence for each wrong one; JSON and back without loss; its typed twin agrees with it."""

from __future__ import annotations

import json
import typing
from dataclasses import fields, replace
from functools import partial
from types import UnionType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mbgd.desk.bounds import Choice, Either, Given
from mbgd.desk.foreign import FOREIGN
from mbgd.desk.knob_field import choices, shallow
from mbgd.desk.knobs import Knobs, TableKnobs
from mbgd.desk.plan import Plan, make_plan
from mbgd.desk.planned import from_json
from mbgd.errors import PlanError
from mbgd.measure.metrics import METRICS
from mbgd.measure.own_metric import OwnBound
from mbgd.tune.schedule import SCHEDULES

KNOBS = {knob.name: knob for knob in fields(Plan)}
SET: dict[str, Any] = {  # every knob at something else than its default
    "target": "y",
    "task": "regression",
    "quantiles": (0.1, 0.9),
    "threshold_for": "f1",
    "weight": "w",
    "class_weight": "balanced",
    "drop": ("a", "b"),
    "categorical": ("c",),
    "numeric": ("d",),
    "na_values": ("-", "-999"),
    "keep_default_na": False,
    "delimiter": ";",
    "header": False,
    "columns": ("y", "x"),
    "comment": "#",
    "split": "time:t",
    "test": 0.3,
    "validation": 0.1,
    "refit": True,
    "folds": 5,
    "hidden_layer_sizes": (),
    "number_embeddings": True,
    "input_scales": True,
    "dropout_fades": True,
    "members": 4,
    "shared_members": 2,
    "preset": "best",
    "dropout": 0.5,
    "loss": "huber",
    "optimizer": "adam",
    "learning_rate": 0.25,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.0,
    "weight_decay_fades": True,
    "batch_size": "full",
    "epochs": 2.5,
    "steps": 7,
    "time_limit": 3.0,
    "target_loss": -1.0,
    "patience": 2,
    "min_delta": 0.5,
    "metric": "mae",
    "restore_best": False,
    "schedule": "cosine",
    "schedule_every": "step",
    "warmup": 0.05,
    "sampling": "iid",
    "tail": "even",
    "seed": 3,
    "clip_norm": 1.0,
    "ema_decay": 0.99,
    "on_divergence": "recover",
    "label_smoothing": 0.1,
    "quantile": 0.9,
    "huber_delta": 2.0,
    "micro_batch": 8,
    "allow_batch_norm": True,
    "precision": "bf16",
    "compile": True,
    "device": "cpu",
    "threads": 2,
    "workers": 1,
    "prefetch": 3,
    "engine": "autograd",
    "checkpoint_every": "30s",
    "log": "tensorboard",
}
GOLDEN = {  # word, value -> the whole sentence
    (
        "learning_rate",
        0,
    ): "learning_rate must be a number above 0 or 'auto', got 0; 0.1 is usual for sgd, 0.001 for adam",
    ("learning_rate", "atuo"): "learning_rate must be a number above 0 or 'auto', got 'atuo'; did you mean 'auto'?",
    ("learning_rate", float("nan")): "learning_rate must be a number above 0 or 'auto', got nan; "
    "0.1 is usual for sgd, 0.001 for adam",
    ("batch_size", 0): "batch_size must be a whole number of at least 1 or one of 'full', 'auto', got 0; 32 is usual",
    (
        "batch_size",
        32.0,
    ): "batch_size must be a whole number of at least 1 or one of 'full', 'auto', got 32.0; 32 is usual",
    ("batch_size", "all"): "batch_size must be a whole number of at least 1 or one of 'full', 'auto', got 'all'; "
    "say 'full' here",
    ("epochs", -1): "epochs must be a number above 0 or 'auto', got -1; 10 is usual, 0.5 is half a pass",
    ("steps", 0): "steps must be a whole number of at least 1, got 0; leave it out if there is none",
    ("folds", 1): "folds must be a whole number of at least 2, got 1; 5 is usual",
    ("members", 0): "members must be a whole number of at least 1, got 0; leave it out for 1",
    ("preset", "bets"): "preset must be one of 'fast', 'default', 'best', got 'bets'; did you mean 'best'?",
    ("momentum", 1.0): "momentum must be a number at least 0 and below 1, got 1.0; 0.9 is usual, 0 is none",
    ("seed", -1): "seed must be a whole number of at least 0, got -1; any whole number will do",
    ("seed", True): "seed must be a whole number of at least 0, got True; any whole number will do",
    (
        "schedule",
        "onecycle",
    ): "schedule must be one of 'constant', 'step', 'cosine', 'one_cycle' or a function of updates "
    "done or a torch.optim.lr_scheduler, got 'onecycle'; say 'one_cycle' here",
    (
        "schedule",
        3,
    ): "schedule must be one of 'constant', 'step', 'cosine', 'one_cycle' or a function of updates done or a "
    "torch.optim.lr_scheduler, got 3; leave it out for 'constant'",
    ("sampling", "random"): "sampling must be one of 'reshuffle', 'iid', 'natural', got 'random'; say 'reshuffle' here",
    ("tail", "drop_last"): "tail must be one of 'auto', 'short', 'even', 'drop', got 'drop_last'; say 'drop' here",
    ("nesterov", 1): "nesterov must be True or False, got 1; leave it out for False",
    ("validation", 1.0): "validation must be a share above 0 and below 1 or a name or a mask or (X, y), got 1.0; "
    "0.1 is every tenth row",
    ("clip_norm", 0): "clip_norm must be a number above 0, got 0; 1 is usual",
    ("time_limit", "90"): "time_limit must be seconds above 0, as 30 or '30s', got '90'; leave it out if there is none",
    ("precision", "fp16"): "precision must be one of 'float32', 'bf16', got 'fp16'; did you mean 'bf16'?",
    (
        "metric",
        "auc",
    ): "metric must be one of 'loss', 'r2', 'rmse', 'mae', 'accuracy', 'balanced_accuracy', 'log_loss', "
    "'roc_auc', 'pinball' or a function f(y_true, y_pred), or (function, 'max') or (function, 'min'), got 'auc'; "
    "say 'roc_auc' here",
    ("quantiles", (0.5,)): "quantiles must be at least two rising levels above 0 and below 1, got (0.5,); "
    "0.05,0.5,0.95 is usual; for one alone give loss='quantile' and quantile=0.9",
    ("quantiles", (0.9, 0.1)): "quantiles must be at least two rising levels above 0 and below 1, got (0.9, 0.1); "
    "0.05,0.5,0.95 is usual; for one alone give loss='quantile' and quantile=0.9",
    (
        "threshold_for",
        "f2",
    ): "threshold_for must be one of 'f1', 'balanced_accuracy', got 'f2'; leave it out for the likelier class",
    ("lr", 0.1): "'lr' is not an argument of MBGD; say learning_rate instead",
    ("max_iter", 9): "'max_iter' is not an argument of MBGD; say epochs instead",
    ("shuffle", False): "'shuffle' is not an argument of MBGD; say sampling ('reshuffle', 'iid' or 'natural') instead",
    ("learnin_rate", 0.1): "'learnin_rate' is not an argument of MBGD; did you mean 'learning_rate'?",
    ("xyzzy", 0.1): "'xyzzy' is not an argument of MBGD; see help(mbgd.Plan) for all of them",
}


@pytest.mark.parametrize("case", GOLDEN, ids=str)
def test_a_wrong_word_or_value_is_refused_in_one_sentence(case: tuple[str, Any]) -> None:
    with pytest.raises(PlanError) as caught:
        make_plan({case[0]: case[1]})
    assert str(caught.value) == GOLDEN[case]


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob_says_what_it_wants_and_what_to_do(knob: str) -> None:
    """No knob takes an object of no kind; each names itself, its demand, what was given and, behind ';', a remedy."""
    given: Any = 0.5j if knob != "checkpoint_every" else "soon"
    with pytest.raises(PlanError) as caught:
        make_plan({knob: given})
    said = str(caught.value)
    assert said.startswith(f"{knob} must be ")
    assert f"got {given!r}; " in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"nesterov": True}, "nesterov needs momentum above 0, got momentum=0.0; give momentum=0.9"),
        ({"patience": 2}, "patience needs validation rows to look at, got none; give validation=0.1"),
        ({"patience": 2, "restore_best": False}, "patience needs validation rows to look at, got none"),
        ({"metric": "r2"}, "metric needs validation rows to score, got none; give validation=0.1"),
    ],
)
def test_what_two_knobs_exclude_together(words: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=f"^{said}"):
        make_plan(words)


def test_the_plan_of_no_words_is_all_defaults() -> None:
    assert make_plan({}) == Plan()
    assert all(KNOBS[name].default == value for name, value in shallow(Plan()).items())


def test_none_stands_for_the_default_where_a_knob_has_to_have_a_value() -> None:
    assert make_plan(dict.fromkeys(KNOBS)) == Plan()
    assert make_plan({"batch_size": None, "validation": None}, defaults={"batch_size": "auto", "validation": 0.1}) == (
        replace(Plan(), batch_size="auto", validation=None)
    )


def test_numbers_of_other_libraries_are_made_plain() -> None:
    plan = make_plan({"batch_size": np.int32(7), "learning_rate": np.float64(0.1), "device": torch.device("cpu")})
    assert json.loads(json.dumps(plan.to_json()))["batch_size"] == 7
    assert (plan.learning_rate, plan.device) == (0.1, "cpu")


def test_set_covers_every_knob_with_something_else_than_its_default() -> None:
    assert set(SET) == set(KNOBS)
    assert all(KNOBS[name].default != value for name, value in SET.items())


@pytest.mark.parametrize("plan", [Plan(), make_plan(SET)], ids=["defaults", "everything set"])
def test_json_and_back_is_the_same_plan(plan: Plan) -> None:
    assert from_json(json.loads(json.dumps(plan.to_json()))) == plan


def own_loss(output: Any, y: Any) -> Any:
    return output - y


@pytest.mark.parametrize(
    ("word", "value", "named"),
    [
        ("loss", nn.MSELoss(), "torch.nn.modules.loss.MSELoss"),
        ("loss", own_loss, "own_loss"),
        ("optimizer", torch.optim.Adam, "torch.optim.adam.Adam"),
        ("optimizer", partial(torch.optim.SGD, momentum=0.9), "functools.partial"),
        ("validation", np.zeros(3, bool), "numpy.ndarray"),
        ("validation", (np.zeros(3), np.zeros(3)), "builtins.tuple"),
    ],
)
def test_what_json_cannot_hold_is_named_and_has_to_be_given_again(word: str, value: Any, named: str) -> None:
    saved = json.loads(json.dumps(make_plan({word: value, "seed": 4}).to_json()))
    assert saved[word]["object"].endswith(named)
    with pytest.raises(PlanError, match=rf"^{word} was .*{named}, which plan.json cannot hold; give {word}= again$"):
        from_json(saved)
    again = from_json(saved, **{word: value})
    assert getattr(again, word) is value
    assert again.seed == 4


def test_what_a_run_was_begun_with_stays() -> None:
    saved = make_plan(SET).to_json()
    with pytest.raises(
        PlanError, match=r"^learning_rate must stay what the run was begun with, 0.25, got 0.5; leave it"
    ):
        from_json(saved, learning_rate=0.5)
    assert from_json(saved, learning_rate=0.25, threads=3, checkpoint_every=5).checkpoint_every == 5
    with pytest.raises(PlanError, match="say learning_rate instead"):
        from_json(saved, lr=0.25)
    with pytest.raises(PlanError, match=r"^epochs must be a number above 0"):
        from_json(saved, epochs=0)


def test_foreign_words_lead_to_words_that_exist() -> None:
    known = {*KNOBS, "sample_weight"}
    for word, ours in FOREIGN.items():
        assert word not in KNOBS
        assert ours.split(" ")[0].split("=")[0] in known, ours


def test_names_that_stand_in_two_places_agree() -> None:
    assert choices(KNOBS["schedule"].metadata["bound"]) == tuple(SCHEDULES)
    assert set(choices(KNOBS["metric"].metadata["bound"])) == {"loss", *METRICS}


# --- Knobs, what an editor completes, against Plan, what is checked -----------------------------------------------------

OF_TABLES = {"target"}  # an argument of its own


def test_the_typed_words_are_the_knobs() -> None:
    assert set(TableKnobs.__annotations__) | OF_TABLES == set(KNOBS)
    of_tables = {name for name, knob in KNOBS.items() if knob.metadata["group"] in ("Data", "Model")} - {"validation"}
    assert set(Knobs.__annotations__) == set(KNOBS) - of_tables


SAMPLES: dict[type, list[Any]] = {
    bool: [True],
    int: [0, 1, 2],
    float: [0.5, 1.5],
    str: ["auto", "30s", "x"],
    tuple: [(), (1,), ("a",)],
}


@pytest.mark.parametrize("name", sorted(TableKnobs.__annotations__))
def test_the_types_are_those_that_the_bounds_take(name: str) -> None:
    hint, bound = typing.get_type_hints(TableKnobs)[name], KNOBS[name].metadata["bound"]
    if hint is Any:
        return
    parts = typing.get_args(hint) if isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union else (hint,)
    literal = {word for part in parts if typing.get_origin(part) is typing.Literal for word in typing.get_args(part)}
    kinds = {type(None) if part is None else typing.get_origin(part) or part for part in parts}
    taken_words = [
        w
        for part in (bound.bounds if isinstance(bound, Either) else [bound])
        if isinstance(part, Choice)
        for w in part.words
    ]
    assert literal == set(taken_words)  # a type checker sees a word that there is not
    assert (type(None) in kinds) == (KNOBS[name].default is None)
    if any(isinstance(part, (Given, OwnBound)) for part in getattr(bound, "bounds", ())):
        return  # an object, of which its user asks more than a bound does
    for kind, samples in SAMPLES.items():
        typed = kind in kinds
        if (
            kind is int and not typed and float in kinds
        ):  # an int is a float to a type checker, whether or not one is in bounds
            continue
        taken = any(bound.accepts(value) for value in samples if value not in taken_words)
        one_for_many = kind in (int, str) and tuple in kinds and taken  # one name where several may stand
        assert taken == typed or one_for_many, f"{kind.__name__} is {'' if taken else 'not '}taken"
