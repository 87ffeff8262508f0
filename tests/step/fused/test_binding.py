"""The engine borrows memory: every tensor is torch's own before, between and after, whatever happens in between."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mbgd
from engines import Case, engine, train
from mbgd.data.stream import ChunkEnds


def case(**how: Any) -> Case:
    torch.manual_seed(0)
    chance = np.random.default_rng(2)
    return Case(
        nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1)).double(),
        torch.tensor(chance.normal(size=(40, 5))),
        torch.tensor(chance.normal(size=40)),
        m=8,
        **{"optimizer": "adam", "ema_decay": 0.9, "steps": 20, **how},
    )


def places(model: nn.Module) -> list[int]:
    return [p.data_ptr() for p in model.parameters()]


def test_each_tensor_has_its_own_memory_back() -> None:
    made = case()
    by = engine(made, fused=True)
    before, alias = places(by.model), by.model[0].weight.data
    with by.engine.bound():
        train(made, by, bind=False)
        assert places(by.model) != before
        assert all(p % 64 == 0 for p in places(by.model))
    assert places(by.model) == before
    assert alias.data_ptr() == before[0]
    assert torch.equal(alias, by.model[0].weight)  # whoever held the memory sees the new numbers
    held = [t for s in by.updater.optimizer.state.values() for t in s.values()] + list(by.updater.average or ())
    storages = {t.untyped_storage().data_ptr() for t in [*held, *by.model.parameters()]}
    assert len(storages) == len(held) + 4
    assert all(t.untyped_storage().nbytes() == t.numel() * t.element_size() for t in held)


def test_after_an_exception_too() -> None:
    made = case()
    by = engine(made, fused=True)
    before = places(by.model)
    with pytest.raises(KeyError), by.engine.bound():
        train(made, by, upto=10, bind=False)
        raise KeyError
    assert places(by.model) == before
    assert torch.equal(by.numbers(), train(made, engine(made, fused=True), upto=10).numbers())


def test_a_copy_made_while_bound_lives_on_its_own() -> None:
    made = case()
    by = engine(made, fused=True)
    with by.engine.bound():
        train(made, by, upto=5, bind=False)
        twin = copy.deepcopy(by.model)
        then = [p.detach().clone() for p in by.model.parameters()]
        train(made, by, after=5, bind=False)
    assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), then, strict=True))
    assert not torch.equal(twin[0].weight, by.model[0].weight)


def test_load_state_dict_between_two_chunks_is_what_goes_on() -> None:
    made = case()
    plain, by = engine(made, fused=False), engine(made, fused=True)
    other = {name: torch.full_like(value, 0.1) for name, value in made.model.state_dict().items()}
    for trained in (plain, by):
        with trained.engine.bound():
            train(made, trained, upto=5, bind=False)
            trained.model.load_state_dict(other)
            train(made, trained, after=5, bind=False)
    torch.testing.assert_close(by.numbers(), plain.numbers(), rtol=0, atol=1e-12)


def test_a_parameter_given_other_memory_between_two_chunks_is_taken_in() -> None:
    made = case()
    plain, by = engine(made, fused=False), engine(made, fused=True)
    for trained in (plain, by):
        with trained.engine.bound():
            train(made, trained, upto=5, bind=False)
            trained.model[0].weight.data = torch.full((8, 5), 0.2, dtype=torch.float64)
            trained.updater.optimizer.load_state_dict(trained.updater.optimizer.state_dict())
            train(made, trained, after=5, bind=False)
    torch.testing.assert_close(by.numbers(), plain.numbers(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("sgd", {}),
        ("sgd", {"momentum": 0.9}),
        ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        ("adam", {}),
        ("adamw", {}),
    ],
)
def test_state_dicts_are_torchs_after_each_chunk(optimizer: str, options: dict[str, Any]) -> None:
    made = case(optimizer=optimizer, options=options)
    plain, by = engine(made, fused=False), engine(made, fused=True)
    with by.engine.bound():
        for stop in range(4, 21, 4):
            for trained in (plain, by):
                train(made, trained, after=stop - 4, upto=stop, ends=ChunkEnds(max_batches=4), bind=False)
            ours, theirs = by.updater.optimizer.state_dict(), plain.updater.optimizer.state_dict()
            assert ours["param_groups"] == theirs["param_groups"]
            assert ours["state"].keys() == theirs["state"].keys()
            for n, state in theirs["state"].items():
                assert ours["state"][n].keys() == state.keys()
                for name, value in state.items():
                    assert ours["state"][n][name].dtype == value.dtype
                    torch.testing.assert_close(ours["state"][n][name], value, rtol=0, atol=1e-12)
            for name, value in plain.model.state_dict().items():
                torch.testing.assert_close(by.model.state_dict()[name], value, rtol=0, atol=1e-12)


def test_frozen_parameters_stay_and_the_rest_moves_as_in_autograd() -> None:
    made = case(optimizer="adamw", clip_norm=0.1)
    made.model[0].weight.requires_grad_(False)
    made.model[2].bias.requires_grad_(False)
    plain, by = train(made, engine(made, fused=False)), train(made, engine(made, fused=True))
    assert torch.equal(by.model[0].weight, made.model[0].weight)
    torch.testing.assert_close(by.numbers(), plain.numbers(), rtol=0, atol=1e-12)


def test_freezing_between_two_chunks_is_honoured() -> None:
    made = case(optimizer="sgd", options={"momentum": 0.9}, ema_decay=None)
    plain, by = engine(made, fused=False), engine(made, fused=True)
    for trained in (plain, by):
        with trained.engine.bound():
            train(made, trained, upto=5, bind=False)
            trained.model[0].requires_grad_(False)
            train(made, trained, after=5, bind=False)
    torch.testing.assert_close(by.numbers(), plain.numbers(), rtol=0, atol=1e-12)


def test_a_transposed_weight_is_trained_in_its_place() -> None:
    made = case()
    twisted = torch.empty(5, 8, dtype=torch.float64).t().copy_(made.model[0].weight.data)
    made.model[0].weight.data = twisted
    plain, by = train(made, engine(made, fused=False)), engine(made, fused=True)
    train(made, by)
    assert by.model[0].weight.stride() == made.model[0].weight.stride()
    torch.testing.assert_close(by.numbers(), plain.numbers(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("engine_name", ["fused", "autograd"])
def test_a_number_that_is_not_finite_stops_both_engines_alike(engine_name: str) -> None:
    made = case()
    x, y = made.x.clone(), made.y  # type: ignore[union-attr]
    x[23, 2] = float("nan")
    model = copy.deepcopy(made.model)
    words: Any = {"loss": "squared_error", "optimizer": "adam", "batch_size": 8, "seed": 1, "epochs": 3}
    with pytest.raises(mbgd.DivergenceError) as caught:
        mbgd.fit(model, (x, y), engine=engine_name, **words)
    other = copy.deepcopy(made.model)
    with pytest.raises(mbgd.DivergenceError) as expected:
        mbgd.fit(other, (x, y), engine="autograd", **words)
    assert str(caught.value) == str(expected.value)
    assert 23 in caught.value.rows
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SELU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.SiLU])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_activation_swallows_a_number_that_is_not_finite(activation: type[nn.Module], value: float) -> None:
    """The loss of the row says whether it does: finite or not as torch has it."""
    torch.manual_seed(0)
    x = torch.ones(4, 2)
    x[2, 0] = value
    model = nn.Sequential(nn.Linear(2, 9), activation(), nn.Linear(9, 1))
    made = Case(model, x, torch.zeros(4), m=4, steps=1)
    losses = [train(made, engine(made, fused=fused)).losses for fused in (True, False)]
    assert np.isfinite(losses[0]).tolist() == np.isfinite(losses[1]).tolist()
