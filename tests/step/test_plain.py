"""Predictions in NumPy are those of the loss itself, for every name that a model file may hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mbgd.errors import PlanError
from mbgd.step.loss import LOSSES, Loss, make_loss
from mbgd.step.plain import PREDICTIONS, prediction_word, predicts_classes
from mbgd.step.targets import is_scalar
from mbgd.step.torch_loss import TORCH_LOSSES

OUTPUTS = torch.tensor(
    [[-800.0, 0.0, 3.0], [1.5, 1.5, -2.0], [700.0, 800.0, -1e-9], [0.0, 0.0, 0.0]], dtype=torch.float64
)
NAMES = [*LOSSES, *TORCH_LOSSES]


def loss_of(name: str, shape: tuple[int, ...]) -> Loss | None:
    try:
        return make_loss(TORCH_LOSSES[name]() if name in TORCH_LOSSES else name, output_shape=shape)
    except PlanError:
        return None  # no such loss for so many outputs


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_predictions_are_those_of_the_loss(name: str, shape: tuple[int, ...]) -> None:
    loss = loss_of(name, shape)
    if loss is None:
        return
    several = not is_scalar(shape)
    # BCELoss and losses of logarithms take outputs that are such already
    outputs = OUTPUTS if several else OUTPUTS.reshape(-1, 1)
    expected = loss.prediction(outputs).reshape(outputs.shape).numpy()
    found = np.stack([PREDICTIONS[prediction_word(loss.name, several=several)](row) for row in outputs.numpy()])
    assert found == pytest.approx(expected, rel=1e-14, abs=0)  # one rounding of exp apart
    assert predicts_classes(loss.name, several=several) == (loss.kind in ("binary", "multiclass"))


def test_every_loss_is_seen_with_some_shape() -> None:
    assert all(any(loss_of(name, shape) for shape in ((), (3,))) for name in NAMES)


def test_quantiles_come_in_order_and_own_losses_as_they_are() -> None:
    levels = (0.1, 0.5, 0.9)
    loss = make_loss("quantile", output_shape=(3,), levels=levels)
    word = prediction_word(loss.name, several=True, levels=levels)
    assert np.stack([PREDICTIONS[word](row) for row in OUTPUTS.numpy()]).tolist() == loss.prediction(OUTPUTS).tolist()
    assert prediction_word("own:log_loss", several=False) == "as they are"
    assert not predicts_classes("own:log_loss", several=False)
