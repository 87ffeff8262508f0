"""What has a fused form and what has none: each reason in one sentence, and no guess."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from mbgd.data.source import Rows
from mbgd.model.build import MLP
from mbgd.model.table import TableModel
from mbgd.step.fused.program import Program, make_program
from mbgd.step.loss import make_loss

X = torch.ones(1, 3)


def looked(
    model: nn.Module,
    *,
    x: Any = X,
    loss: Any = "squared_error",
    outputs: tuple[int, ...] = (1,),
    optimizer: Callable[[Any], torch.optim.Optimizer] = lambda p: torch.optim.SGD(p, lr=0.1),
) -> Program | str:
    made = make_loss(loss, output_shape=outputs)
    rows = Rows(x, torch.ones(1), None)
    return make_program(model, loss=made, optimizer=optimizer(model.parameters()), example=rows, output_shape=outputs)


def stack() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


class Own(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class OwnStack(nn.Sequential):
    pass


def hooked(register: str) -> nn.Module:
    model = stack()
    getattr(model[0], register)(lambda *_: None)
    return model


def hooked_heads() -> TableModel:
    model = TableModel(3, scaled=True, shared_members=2)
    model.body[-1].register_forward_hook(lambda *_: None)
    return model


def shared() -> nn.Module:
    one = nn.Linear(3, 3)
    return nn.Sequential(one, nn.ReLU(), one, nn.Linear(3, 1))


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 1))
    model[1].weight = model[0].weight
    return model


def overlapping() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 1))
    model[1].weight.data = model[0].weight.data[:]
    return model


def patched() -> nn.Module:
    model = stack()
    model[0].forward = lambda x: x  # type: ignore[method-assign]
    return model


def pruned() -> nn.Module:
    model = stack()
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


def mixed() -> nn.Module:
    model = stack()
    model[2].double()
    return model


def half_flat() -> nn.Module:
    return nn.Sequential(nn.Flatten(2), nn.Linear(3, 1))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "own forward": (lambda: looked(nn.Sequential(Own(3, 4), nn.Linear(4, 1))), "Own is a module of its own kind"),
    "own stack": (lambda: looked(OwnStack(nn.Linear(3, 1))), "OwnStack is a module of its own kind"),
    "no kernel": (
        lambda: looked(nn.Sequential(nn.Linear(3, 4), nn.Softmax(1), nn.Linear(4, 1))),
        "Softmax is no layer",
    ),
    "forward hook": (lambda: looked(hooked("register_forward_hook")), "Linear has hooks"),
    "pre-hook": (lambda: looked(hooked("register_forward_pre_hook")), "Linear has hooks"),
    "backward hook": (lambda: looked(hooked("register_full_backward_hook")), "Linear has hooks"),
    "forward patched": (lambda: looked(patched()), "Linear has a forward of its own"),
    "parametrized": (lambda: looked(parametrizations.weight_norm(nn.Linear(3, 1))), "ParametrizedLinear is no layer"),
    "pruned": (lambda: looked(pruned()), "Linear has hooks"),
    "hook on the last layers of members": (
        lambda: looked(hooked_heads(), x=(X, torch.ones(1, 0, dtype=torch.int64))),
        "Heads has hooks",
    ),
    "a layer twice": (lambda: looked(shared()), "Linear is used twice"),
    "a weight twice": (lambda: looked(tied()), "parameters share memory"),
    "overlapping": (lambda: looked(overlapping()), "parameters share memory"),
    "two dtypes": (lambda: looked(mixed()), "all parameters must be float32 or all float64, they are float32, float64"),
    "half precision": (lambda: looked(stack().half()), "all parameters must be float32 or all float64"),
    "meta": (lambda: looked(nn.Linear(3, 1, device="meta")), "the fused engine runs on the CPU alone"),
    "no parameters": (
        lambda: make_program(
            nn.Identity(),
            loss=make_loss("squared_error", output_shape=(1,)),
            optimizer=torch.optim.SGD([nn.Parameter(X)], lr=1.0),
            example=Rows(X, X, None),
            output_shape=(1,),
        ),
        "the model has no parameters",
    ),
    "several inputs": (lambda: looked(stack(), x=(X, X)), "the model takes several inputs"),
    "rows of two dimensions": (lambda: looked(stack(), x=torch.ones(1, 2, 3)), "rows of x have 2 dimensions"),
    "half flat": (lambda: looked(half_flat(), x=torch.ones(1, 2, 3)), "Flatten must be over all dimensions"),
    "another dtype of x": (
        lambda: looked(stack(), x=torch.ones(1, 3, dtype=torch.float64)),
        "x and the parameters must",
    ),
    "own loss": (lambda: looked(stack(), loss=lambda o, y: (o[:, 0] - y) ** 2), "loss <lambda> has no fused form"),
    "torch's own loss": (lambda: looked(stack(), loss=nn.SmoothL1Loss()), "loss SmoothL1Loss has no fused form"),
    "weighted labels": (
        lambda: looked(stack(), loss=nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))),
        "loss BCEWithLogitsLoss has no fused form",
    ),
    "optimizer": (lambda: looked(stack(), optimizer=torch.optim.RMSprop), "optimizer RMSprop has no fused form"),
    "amsgrad": (
        lambda: looked(stack(), optimizer=lambda p: torch.optim.Adam(p, amsgrad=True)),
        "optimizer Adam with amsgrad=True has no fused form",
    ),
    "dampening": (
        lambda: looked(stack(), optimizer=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1)),
        "optimizer SGD with dampening=0.1 has no fused form",
    ),
}


class _Sgd(torch.optim.SGD):
    pass


REFUSED["an optimizer's subclass"] = (
    lambda: looked(stack(), optimizer=lambda p: _Sgd(p, lr=0.1)),
    "optimizer _Sgd has",
)


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_says_why(name: str) -> None:
    make, reason = REFUSED[name]
    found = make()
    assert isinstance(found, str), "nothing was wrong with it"
    assert found.startswith(reason)


def test_what_stands_around_the_step_is_seen_but_for_the_note_of_a_scheduler() -> None:
    """A scheduler wraps the step only to know that there was one; what somebody else has put there would not be run."""

    def scheduled(parameters: Any) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        torch.optim.lr_scheduler.StepLR(optimizer, 3)
        return optimizer

    def wrapped(parameters: Any) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        plain = optimizer.step
        optimizer.step = lambda *given: plain(*given)  # type: ignore[method-assign, assignment]  # as users do
        return optimizer

    assert isinstance(looked(stack(), optimizer=scheduled), Program)
    assert str(looked(stack(), optimizer=wrapped)).startswith("the step of optimizer SGD is wrapped")


@pytest.mark.parametrize(
    ("model", "x", "layers"),
    [
        (stack(), X, 2),
        (nn.Sequential(nn.Flatten(), nn.Linear(6, 1)), torch.ones(1, 2, 3), 1),
        (nn.Sequential(nn.Identity(), nn.Sequential(stack()), nn.Flatten()), X, 2),
        (nn.Sequential(nn.ReLU(), nn.Linear(3, 1)), X, 2),
        (nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Dropout(), nn.Linear(2, 1)), X, 2),
        (nn.Sequential(nn.Linear(3, 2), nn.Dropout(), nn.ReLU(), nn.Linear(2, 1)), X, 3),
        (nn.Linear(3, 1), X, 1),
        (MLP(3), X, 3),
        (TableModel(3), (X, torch.ones(1, 0, dtype=torch.int64)), 3),
        (TableModel(3, (4, 20)), (X, torch.ones(1, 2, dtype=torch.int64)), 4),
        (TableModel(3, (4, 20), scaled=True, shared_members=2), (X, torch.ones(1, 2, dtype=torch.int64)), 5),
    ],
)
def test_stacks_and_our_own_models_have_a_form(model: nn.Module, x: Any, layers: int) -> None:
    found = looked(model, x=x)
    assert isinstance(found, Program), found
    assert len(found.layers) == layers
    assert {id(t) for t in found.tensors()} == {id(p) for p in model.parameters()}


@pytest.mark.parametrize(
    ("loss", "name", "setting", "outputs"),
    [
        (nn.MSELoss(), "squared_error", 0.0, 1),
        (nn.L1Loss(), "absolute_error", 1.0, 1),
        (nn.HuberLoss(delta=0.5), "huber", 0.5, 1),
        (nn.BCEWithLogitsLoss(), "log_loss", 0.0, 1),
        (nn.CrossEntropyLoss(label_smoothing=0.1), "log_loss", 0.1, 3),
    ],
)
def test_losses_of_torch_go_by_their_name_here(loss: nn.Module, name: str, setting: float, outputs: int) -> None:
    found = looked(nn.Linear(3, outputs), loss=loss, outputs=(outputs,))
    assert isinstance(found, Program), found
    assert (found.loss.name, found.loss.setting) == (name, setting)
