"""State as a value: complete, a copy, JSON where it is no tensor; foreign states refused by the tensor's name."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mbgd.data.order import Order
from mbgd.errors import DamagedError, PlanError, SavedFileError
from mbgd.step.state import State, capture, global_generators, is_finite, restore, set_global_generators
from mbgd.step.update import Updater
from problems import Training, mlp, source

N, WIDTH = 30, 4


def trained(steps: int = 3, **plan: Any) -> Training:
    options = {"optimizer": "adam", "ema_decay": 0.9} | plan
    return Training(mlp(WIDTH, norm=True), source(N, WIDTH), Order(N, seed=0), 8, **options).run(steps)


def test_everything_that_a_step_changes_is_captured() -> None:
    """A twin by brute force: every tensor reachable from model, optimizer and average that differs after a step is in it."""
    run = trained()
    before = capture(run.updater)
    run.run(4)
    after = capture(run.updater)
    assert set(before.tensors) == set(after.tensors)
    changed = {name for name in before.tensors if not torch.equal(before.tensors[name], after.tensors[name])}
    for name, value in {**dict(run.model.named_parameters()), **dict(run.model.named_buffers())}.items():
        assert any(name in key and torch.equal(saved, value) for key, saved in after.tensors.items()), name
    held = [value for state in run.updater.optimizer.state.values() for value in state.values()]
    for value in (*held, *(run.updater.average or ())):
        assert any(saved.shape == value.shape and torch.equal(saved, value) for saved in after.tensors.values())
    assert len(changed) == len(after.tensors)
    restore(run.updater, before)
    again = capture(run.updater)
    assert all(torch.equal(before.tensors[name], again.tensors[name]) for name in before.tensors)


def test_a_state_is_a_copy_and_restoring_keeps_it_one() -> None:
    run = trained()
    state = capture(run.updater)
    copies = {name: value.clone() for name, value in state.tensors.items()}
    restore(run.updater, state)
    run.run(9)
    assert all(torch.equal(state.tensors[name], copies[name]) for name in copies)


def test_restoring_keeps_the_models_own_tensors() -> None:
    run = trained()
    places = [t.data_ptr() for t in (*run.model.parameters(), *run.model.buffers())]
    restore(run.updater, capture(run.updater))
    assert [t.data_ptr() for t in (*run.model.parameters(), *run.model.buffers())] == places


def test_facts_are_json_and_names_are_unique_text() -> None:
    state = capture(trained().updater)
    assert json.loads(json.dumps(state.facts)) == state.facts
    assert all(isinstance(name, str) for name in state.tensors)


@pytest.mark.parametrize("spoil", ["shape", "dtype", "missing", "average"])
def test_a_state_of_another_architecture_is_refused_by_name(spoil: str) -> None:
    run = trained()
    state = capture(run.updater)
    tensors = dict(state.tensors)
    name = "average.0" if spoil == "average" else "parameter.0.weight"
    if spoil in ("missing", "average"):
        del tensors[name]
    else:
        tensors[name] = tensors[name][:1] if spoil == "shape" else tensors[name].float()
    with pytest.raises(SavedFileError, match=name.replace(".", r"\.")):
        restore(run.updater, State(tensors, state.facts))


def test_an_optimizer_that_holds_objects_is_refused() -> None:
    class Strange(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            super().step()
            for group in self.param_groups:
                for parameter in group["params"]:
                    self.state[parameter]["seen"] = {1, 2}

    with pytest.raises(PlanError, match="'seen' of type set"):
        trained(optimizer=Strange, options={"learning_rate": 0.1})


def test_tied_and_frozen_parameters_are_kept_once_each() -> None:
    model = mlp(WIDTH, hidden=WIDTH)
    extra = nn.Linear(WIDTH, WIDTH).double()
    extra.weight = model[0].weight  # type: ignore[assignment]  # tied on purpose
    whole = nn.Sequential(extra, model)
    model[-1].requires_grad_(False)
    run = Training(whole, source(N, WIDTH), Order(N, seed=0), 8, optimizer="adam").run(2)
    state = capture(run.updater)
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.zero_()
    restore(run.updater, state)
    assert extra.weight is model[0].weight
    assert all(bool((p != 0).any()) for p in whole.parameters())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", ["first parameter", "last parameter", "optimizer"])
def test_one_bad_number_anywhere_is_noticed(place: str, bad: float) -> None:
    run = trained()
    assert is_finite(run.updater)
    tensors = {
        "first parameter": run.model[0].weight,  # type: ignore[index]
        "last parameter": run.model[-1].bias,  # type: ignore[index]
        "optimizer": next(iter(run.updater.optimizer.state.values()))["exp_avg_sq"],
    }
    flat = tensors[place].detach().view(-1)
    for i in range(len(flat)):
        good = flat[i].item()
        flat[i] = bad
        assert not is_finite(run.updater)
        flat[i] = good
    assert is_finite(run.updater)


def test_an_empty_parameter_is_finite() -> None:
    model = nn.ParameterList([torch.empty(0), torch.zeros(2)])
    updater = Updater(torch.optim.SGD(model.parameters(), lr=0.1), model)
    assert is_finite(updater)


def test_global_generators_survive_json() -> None:
    random.seed(3)
    np.random.seed(3)
    np.random.normal()  # leaves a second Gaussian in NumPy's hand
    random.gauss(0, 1)
    saved = json.loads(json.dumps(global_generators()))
    expected = [random.random(), random.gauss(0, 1), np.random.normal(), np.random.rand()]
    set_global_generators(saved)
    assert [random.random(), random.gauss(0, 1), np.random.normal(), np.random.rand()] == expected


MOMENT, COUNT = "optimizer.0.exp_avg", "optimizer.0.step"
# what no optimizer holds: a tensor, or a fact of the state
SPOILT: dict[str, Any] = {
    "a moment of one row": lambda held, facts: held.update({MOMENT: held[MOMENT][:1]}),
    "a moment of one number": lambda held, facts: held.update({MOMENT: held[MOMENT].sum()}),
    "a moment of another type": lambda held, facts: held.update({MOMENT: held[MOMENT].to(torch.int64)}),
    "a moment that is missing": lambda held, facts: held.pop(MOMENT),
    "a moment of no tensor": lambda held, facts: held.update({"optimizer.99.exp_avg": held[MOMENT]}),
    "a moment of a number with a sign": lambda held, facts: held.update({"optimizer.-1.exp_avg": held[MOMENT]}),
    "a moment that Adam has not": lambda held, facts: held.update({"optimizer.0.momentum_buffer": held[MOMENT]}),
    "a count below 0": lambda held, facts: held.update({COUNT: torch.tensor(-1.0)}),
    "a count of two numbers": lambda held, facts: held.update({COUNT: torch.ones(2)}),
    "a count that is none": lambda held, facts: held.update({COUNT: torch.tensor(torch.nan)}),
    "one beta": lambda held, facts: facts["groups"][0].update(betas=[0.9]),
    "a rate of text": lambda held, facts: facts["groups"][0].update(lr="0.1"),
    "a switch that is a number": lambda held, facts: facts["groups"][0].update(amsgrad=1.0),
    "no groups": lambda held, facts: facts.update(groups=[]),
    "a list": lambda held, facts: facts.update(optimizer={"0": {"step": [1]}}),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_no_optimizer_holds_is_damage_and_changes_nothing(name: str) -> None:
    run = trained()
    before = capture(run.updater)
    tensors, facts = dict(before.tensors), json.loads(json.dumps(before.facts))
    SPOILT[name](tensors, facts)
    with pytest.raises(DamagedError) as caught:
        restore(run.updater, State(tensors, facts))
    assert "\n" not in str(caught.value)
    after = capture(run.updater)
    assert after.facts == before.facts
    assert all(torch.equal(before.tensors[key], after.tensors[key]) for key in before.tensors)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop"])
def test_what_torchs_optimizers_hold_is_taken_and_a_part_of_it_is_not(kind: str) -> None:
    """With every setting that adds a tensor: what is demanded is what torch itself has made."""
    options = {"lr": 0.01} | {"SGD": {"momentum": 0.9}, "RMSprop": {"momentum": 0.9, "centered": True}}.get(kind, {})
    options |= {"amsgrad": True} if kind in ("Adam", "AdamW") else {}
    model = mlp(WIDTH)
    optimizer = getattr(torch.optim, kind)(model.parameters(), **options)
    run = Training(model, source(N, WIDTH), Order(N, seed=0), 8, optimizer=optimizer).run(2)
    state = capture(run.updater)
    restore(run.updater, state)
    held = [name for name in state.tensors if name.startswith("optimizer.0.")]
    assert held
    for name in held:
        wrong = {**state.tensors, name: torch.ones(7, dtype=torch.float64)}
        with pytest.raises(DamagedError, match=name.replace(".", r"\.")):
            restore(run.updater, State(wrong, state.facts))


def test_tensors_that_the_module_has_not_are_another_architectures() -> None:
    run = trained()
    state = capture(run.updater)
    for name in ("parameter.9.weight", "buffer.more", "average.99", "other"):
        with pytest.raises(SavedFileError, match=f"got '{name}' besides; it belongs to another architecture"):
            restore(run.updater, State({**state.tensors, name: torch.ones(1)}, state.facts))
