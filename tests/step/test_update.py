"""The updater: rates, clipping and averaging by hand; wrong optimizers refused in one sentence."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from mbgd.errors import PlanError
from mbgd.step.update import OPTIMIZERS, Updater, averaged, make_optimizer, take_average
from problems import mlp


def one(value: float) -> nn.Linear:
    """A model of one number."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, value)
    return model


def pull(model: nn.Linear, gradient: float) -> None:
    model.weight.grad = torch.full_like(model.weight, gradient)


def test_rates_are_their_base_times_the_factor_and_gradients_are_gone() -> None:
    model = one(1.0)
    updater = Updater(make_optimizer("sgd", model, learning_rate=0.5), model)
    for factor, expected in ((1.0, 0.0), (0.5, -0.5), (0.0, -0.5), (1.0, -1.5)):  # theta -= 0.5 * factor * 2
        pull(model, 2.0)
        updater.apply(factor)
        assert model.weight.item() == expected
        assert model.weight.grad is None


def test_factors_keep_the_ratio_of_several_groups() -> None:
    a, b = one(0.0), one(0.0)
    model = nn.ModuleList([a, b])
    groups = [{"params": a.parameters(), "lr": 1.0}, {"params": b.parameters(), "lr": 4.0}]
    updater = Updater(make_optimizer(torch.optim.SGD(groups), model), model)
    for linear in (a, b):
        pull(linear, 1.0)
    updater.apply(0.25)
    assert (a.weight.item(), b.weight.item()) == (-0.25, -1.0)


def test_clipping_scales_the_whole_gradient_to_the_norm() -> None:
    """Gradients 3 and 4 have norm 5: clipped to 1 they are 0.6 and 0.8; below the norm nothing changes."""
    for norm, expected in ((1.0, (-0.6, -0.8)), (10.0, (-3.0, -4.0))):
        a, b = one(0.0), one(0.0)
        model = nn.ModuleList([a, b])
        updater = Updater(make_optimizer("sgd", model, learning_rate=1.0), model, clip_norm=norm)
        pull(a, 3.0)
        pull(b, 4.0)
        updater.apply(1.0)
        # torch divides by norm + 1e-6
        assert (a.weight.item(), b.weight.item()) == pytest.approx(expected, rel=2e-6)


def test_the_average_by_hand() -> None:
    """decay 0.75 from 1: theta walks 0, -1, -2; average 0.75, 0.3125, -0.265625."""
    model = one(1.0)
    updater = Updater(make_optimizer("sgd", model, learning_rate=1.0), model, ema_decay=0.75)
    assert updater.average is not None
    found = []
    for _ in range(3):
        pull(model, 1.0)
        updater.apply(1.0)
        found.append(updater.average[0].item())
    assert found == [0.75, 0.3125, -0.265625]
    with averaged(updater):
        assert model.weight.item() == -0.265625
    assert model.weight.item() == -2.0
    with pytest.raises(RuntimeError, match="in the middle"), averaged(updater):
        raise RuntimeError("in the middle")
    assert model.weight.item() == -2.0
    take_average(updater)
    assert model.weight.item() == -0.265625


def test_without_an_average_the_model_is_as_it_is() -> None:
    model = one(3.0)
    updater = Updater(make_optimizer("sgd", model), model)
    with averaged(updater):
        assert model.weight.item() == 3.0
    take_average(updater)
    assert model.weight.item() == 3.0


def test_averages_cover_batchnorm_and_leave_counters_alone() -> None:
    model = mlp(3, norm=True)
    updater = Updater(make_optimizer("sgd", model), model, ema_decay=0.5)
    assert updater.average is not None
    assert all(t.is_floating_point() for t in updater.average)
    assert len(updater.average) == len(list(model.parameters())) + 2  # running mean and variance


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_names_work_for_every_floating_type(name: str, dtype: torch.dtype) -> None:
    model = mlp(3, dtype=dtype)
    updater = Updater(make_optimizer(name, model), model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = [p.detach().clone() for p in model.parameters()]
    updater.apply(1.0)
    assert all(bool((p < b).any()) for p, b in zip(model.parameters(), before, strict=True))


def frozen() -> nn.Module:
    return mlp(3).requires_grad_(False)


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a near name": ("adamv", {}, "did you mean 'adam"),
    "a far name": ("zzz", {}, "must be one of sgd, adam, adamw"),
    "adam with momentum": ("adam", {"momentum": 0.9}, "belong to optimizer='sgd'"),
    "adamw with nesterov": ("adamw", {"nesterov": True}, "belong to optimizer='sgd'"),
    "one that takes no rate": (partial(lambda parameters: None), {"learning_rate": 0.1}, "must accept"),
    "an instance with momentum": (torch.optim.SGD, {"momentum": 0.9}, "in the optimizer instance"),
    "an instance with decay": (torch.optim.SGD, {"weight_decay": 0.0}, "in the optimizer instance"),
    "an instance of LBFGS": (torch.optim.LBFGS, {}, "LBFGS"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_optimizers_are_refused_in_one_sentence(name: str) -> None:
    spec, options, said = WRONG[name]
    model = mlp(3)
    if name.startswith("an instance"):
        spec = spec(model.parameters(), lr=0.1)
    with pytest.raises(PlanError, match=said) as caught:
        make_optimizer(spec, model, **options)
    assert "\n" not in str(caught.value)


def test_a_model_without_anything_to_train_is_refused() -> None:
    for model in (frozen(), nn.Tanh()):
        with pytest.raises(PlanError, match="requires a gradient"):
            make_optimizer("sgd", model)


def test_an_optimizer_of_another_model_is_refused() -> None:
    with pytest.raises(PlanError, match="none of the model's parameters"):
        make_optimizer(torch.optim.SGD(mlp(3).parameters(), lr=0.1), mlp(3))
