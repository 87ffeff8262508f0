"""Losses of labels at positions, with weights, ignored labels, smoothing and probabilities: torch's own mean, row by row.

The oracle is the module itself over all rows at once: what it gives is the mean of our rows by their weights, in every case;
and where no label weighs more than another, their plain mean.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mbgd.errors import DataError, PlanError
from mbgd.step.loss import Loss, make_loss

EXACT = 1e-12  # float64: some hundred roundings of 1e-16
N, C = 7, 4
WEIGHT = torch.tensor([1.0, 5.0, 0.2, 0.7], dtype=torch.float64)
SPACES = [(), (5,), (3, 2), (2, 3, 2)]


def made(module: nn.Module, space: tuple[int, ...], **how: Any) -> Loss:
    return make_loss(module, output_shape=(C, *space), dtype=torch.float64, **how)


def rows(space: tuple[int, ...], *, ignore: int | None = None) -> tuple[Tensor, Tensor]:
    chance = np.random.default_rng(11)
    output = torch.from_numpy(chance.normal(size=(N, C, *space)))
    y = chance.integers(0, C, (N, *space))
    if ignore is not None:
        y[chance.random(y.shape) < 0.4] = ignore
        y[0] = ignore  # a row of which nothing counts
    return output, torch.from_numpy(y)


def weighted_mean(loss: Loss, output: Tensor, y: Tensor) -> Tensor:
    """The mean of rows by what their labels weigh, as an update over all of them has it."""
    assert loss.label_weights is not None
    prepared = loss.prepare(y)
    w = loss.label_weights.of_rows(prepared, torch.float64)
    filled = loss.label_weights.filled(prepared) if prepared.ndim == 1 else prepared
    value = loss.per_row(output, filled)
    assert value.shape == w.shape == (N,)
    return (w * value).sum() / w.sum()


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("module", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.3), nn.NLLLoss()])
def test_where_all_labels_weigh_the_same_the_mean_of_rows_is_torchs(module: nn.Module, space: tuple[int, ...]) -> None:
    output, y = rows(space)
    output = output.log_softmax(1) if isinstance(module, nn.NLLLoss) else output
    loss = made(module, space)
    value = loss.per_row(output, loss.prepare(y))
    assert value.shape == (N,)
    assert loss.kind == "multiclass"
    torch.testing.assert_close(value.mean(), module(output, y), rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("ignore", [-100, 255, 2, -1])
@pytest.mark.parametrize("smoothing", [0.0, 0.3, None])  # None: NLLLoss, which has none
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_the_weighted_mean_of_rows_is_torchs(
    weight: Tensor | None, smoothing: float | None, ignore: int, space: tuple[int, ...]
) -> None:
    output, y = rows(space, ignore=ignore)
    module: nn.Module = nn.NLLLoss(weight, ignore_index=ignore)
    if smoothing is not None:
        module = nn.CrossEntropyLoss(weight, ignore_index=ignore, label_smoothing=smoothing)
    moving = output.log_softmax(1).requires_grad_()
    ours = weighted_mean(made(module, space), moving, y)
    theirs = module(moving, y)
    torch.testing.assert_close(ours, theirs, rtol=EXACT, atol=EXACT)
    mine, torchs = (torch.autograd.grad(value, moving)[0] for value in (ours, theirs))
    torch.testing.assert_close(mine, torchs, rtol=EXACT, atol=EXACT)


def test_a_row_is_the_weighted_mean_over_its_positions_by_hand() -> None:
    """Two rows of three positions, outputs 0: each position's loss is ln 2. Weights 1 and 3, one position ignored."""
    loss = make_loss(
        nn.CrossEntropyLoss(torch.tensor([1.0, 3.0]), ignore_index=9), output_shape=(2, 3), dtype=torch.float64
    )
    output, y = torch.zeros(2, 2, 3, dtype=torch.float64), torch.tensor([[0, 1, 9], [1, 1, 1]])
    output[0, 1, 1] = 1.0  # the position with weight 3: ln(1 + e) - 1
    assert loss.label_weights is not None
    expected = (math.log(2) + 3 * (math.log(1 + math.e) - 1)) / 4
    assert loss.per_row(output, y).tolist() == pytest.approx([expected, math.log(2)], rel=EXACT)
    assert loss.label_weights.of_rows(y, torch.float64).tolist() == [4.0, 9.0]


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_probabilities_of_classes(weight: Tensor | None, smoothing: float, space: tuple[int, ...]) -> None:
    output, _ = rows(space)
    share = torch.from_numpy(np.random.default_rng(3).normal(size=output.shape)).softmax(1)
    module = nn.CrossEntropyLoss(weight, label_smoothing=smoothing)
    loss = made(module, space, shares=True)
    value = loss.per_row(output, loss.prepare(share))
    assert value.shape == (N,)
    assert loss.known is None  # the compiled kernels take labels alone
    assert loss.label_weights is None
    torch.testing.assert_close(value.mean(), module(output, share), rtol=EXACT, atol=EXACT)


def test_a_name_takes_probabilities_as_well() -> None:
    output, _ = rows(())
    share = output.flip(1).softmax(1)
    loss = make_loss("log_loss", output_shape=(C,), dtype=torch.float64, shares=True)
    torch.testing.assert_close(
        loss.per_row(output, loss.prepare(share)).mean(), nn.CrossEntropyLoss()(output, share), rtol=EXACT, atol=EXACT
    )


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (
            torch.full((2, 3), 0.5),
            "must hold probabilities that add up to 1 over the classes for loss='CrossEntropyLoss'",
        ),
        (
            torch.tensor([[0.5, 0.5, 0.0], [2.0, -1.0, 0.0]]),
            "must hold probabilities for loss='CrossEntropyLoss', got 2 in row 1",
        ),
        (
            torch.tensor([[0.5, 0.5, 0.0], [1.0, float("nan"), 0.0]]),
            "must be finite in float32, got nan in row 1, column 1",
        ),
    ],
)
def test_what_is_no_probability_is_named(y: Tensor, words: str) -> None:
    loss = make_loss(nn.CrossEntropyLoss(), output_shape=(3,), shares=True)
    with pytest.raises(DataError) as said:
        loss.prepare(y)
    assert words in str(said.value)


@pytest.mark.parametrize(
    ("module", "y", "words"),
    [
        (
            nn.CrossEntropyLoss(),
            torch.tensor([[0, 4]]),
            "labels 0 to 2 for a model with 3 outputs, got 4 in row 0, column 1",
        ),
        (nn.CrossEntropyLoss(), torch.tensor([[0, -1]]), "got -1 in row 0, column 1"),
        (nn.NLLLoss(ignore_index=-1), torch.tensor([[0, -100]]), "got -100 in row 0, column 1"),
        (
            nn.CrossEntropyLoss(),
            torch.tensor([[0, 1, 2]]),
            "(n, 2) for loss='CrossEntropyLoss' and outputs of shape (n, 3, 2)",
        ),
        (
            nn.CrossEntropyLoss(),
            torch.zeros(1, 3, 2).long(),
            "for one-hot rows pass y.argmax(1), or y.float() as probabilities",
        ),
        (nn.CrossEntropyLoss(), torch.zeros(1, 1, 2).long(), "give one label for each position of the outputs"),
    ],
)
def test_labels_of_positions_that_do_not_fit_are_named(module: nn.Module, y: Tensor, words: str) -> None:
    with pytest.raises(DataError) as said:
        make_loss(module, output_shape=(3, 2)).prepare(y)
    assert words in str(said.value)


def test_small_whole_numbers_stay_small_and_255_is_not_minus_one() -> None:
    mask = torch.tensor([[0, 1, 156], [2, 2, 0]], dtype=torch.uint8)  # 156 is -100 in a byte
    with pytest.raises(DataError, match="got 156 in row 0, column 2"):
        make_loss(nn.CrossEntropyLoss(), output_shape=(3, 3)).prepare(mask)
    loss = make_loss(nn.CrossEntropyLoss(ignore_index=156), output_shape=(3, 3))
    prepared = loss.prepare(mask)
    assert prepared.dtype == torch.uint8
    assert torch.equal(loss.per_row(torch.zeros(2, 3, 3), prepared), torch.full((2,), math.log(3)).to(torch.float32))


BINARY = {
    "weight of a label": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 3.0])), (3,)),
    "one for all": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0)), (4, 2)),
    "one for one output": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0])), (1,)),
    "of a channel": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0]).reshape(2, 1, 1)), (2, 3, 2)),
    "with a leading 1": (nn.BCEWithLogitsLoss(weight=torch.rand(1, 2, 1, 1)), (2, 3, 2)),
    "of the last dimension": (nn.BCEWithLogitsLoss(weight=torch.rand(2)), (3, 2)),
    "a mask": (nn.BCEWithLogitsLoss(), (3, 2)),
    "labels": (nn.MultiLabelSoftMarginLoss(), (3,)),
    "labels with weights": (nn.MultiLabelSoftMarginLoss(weight=torch.rand(3)), (3,)),
}
REAL = {
    "squared, in space": (nn.MSELoss(), (3, 2)),
    "absolute, in space": (nn.L1Loss(), (3, 2)),
    "smooth, in space": (nn.SmoothL1Loss(beta=0.3), (2, 3, 2)),
    "huber, in space": (nn.HuberLoss(delta=0.3), (4, 1)),
    "poisson, in space": (nn.PoissonNLLLoss(full=True), (3, 2)),
}


@pytest.mark.parametrize("name", [*BINARY, *REAL])
def test_other_losses_in_space(name: str) -> None:
    module, shape = {**BINARY, **REAL}[name]
    chance = np.random.default_rng(12)
    output = torch.from_numpy(chance.normal(size=(N, *shape)))
    y = torch.from_numpy(chance.integers(0, 2, (N, *shape))).double()
    loss = make_loss(module, output_shape=shape, dtype=torch.float64)
    value = loss.per_row(output, loss.prepare(y))
    assert value.shape == (N,)
    torch.testing.assert_close(value.mean(), module(output, y), rtol=1e-6, atol=0)  # the weights are float32


@pytest.mark.parametrize("shape", [(2,), (3, 2, 1), (7, 2, 3)])
def test_a_weight_that_would_spread_over_rows_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PlanError, match="must have weight of the shape of one row's outputs"):
        make_loss(nn.BCEWithLogitsLoss(weight=torch.ones(shape)), output_shape=(2, 3))


def test_margins_have_weights_of_their_own() -> None:
    output, y = rows(())
    module = nn.MultiMarginLoss(weight=WEIGHT)
    loss = made(module, ())
    torch.testing.assert_close(loss.per_row(output, loss.prepare(y)).mean(), module(output, y), rtol=EXACT, atol=0)
    with pytest.raises(PlanError, match="must have one output a class"):
        made(module, (5,))
