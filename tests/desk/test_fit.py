"""Law: fit on a module equals a loop written by hand over the same batches. Then every kind of data, model, loss and limit.

B rows of a batch
"""

from __future__ import annotations

import copy
import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, WeightedRandomSampler

import mbgd
from mbgd import DataError, DivergenceError, PlanError, StopReason
from mbgd.loop.stop import Best
from problems import arrays, flat, mlp

N, WIDTH, M = 50, 4, 8  # six batches of 8 and one of 2
ROUNDING = 1e-12  # float64: some 60 updates, each a few hundred operations of 1e-16 relative error
X, Y, W = (torch.tensor(part) for part in arrays(N, WIDTH))
LABELS = (Y > 0).long()


def net(**options: Any) -> nn.Sequential:
    return mlp(WIDTH, **options)


def floats(**options: Any) -> nn.Sequential:
    return mlp(WIDTH, dtype=torch.float32, **options)


def by_hand(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    criterion: Callable[[Tensor, Tensor], Tensor],
    data: Any = (X, Y),
    before_step: Callable[[], Any] = lambda: None,
    after_step: Callable[[], Any] = lambda: None,
    **how: Any,
) -> nn.Module:
    """The loop of every tutorial, over `mbgd.batches`; the mean over a batch times its share of a full one."""
    loader = mbgd.batches(data, with_scale=True, **{"batch_size": M, "seed": 3, **how})
    for _ in range(epochs):
        for x, y, scale in loader:
            optimizer.zero_grad()
            (criterion(model(x), y) * scale).backward()
            before_step()
            optimizer.step()
            after_step()
    return model


def mean_squared(output: Tensor, y: Tensor) -> Tensor:
    return ((output[:, 0] - y) ** 2).mean()


OPTIMIZERS: dict[str, tuple[dict[str, Any], Any]] = {
    "sgd": ({"optimizer": "sgd", "learning_rate": 0.05}, partial(torch.optim.SGD, lr=0.05)),
    "momentum": (
        {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9},
        partial(torch.optim.SGD, lr=0.05, momentum=0.9),
    ),
    "nesterov": (
        {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "adam": ({"optimizer": "adam", "learning_rate": 0.02}, partial(torch.optim.Adam, lr=0.02)),
    "adamw": (
        {"optimizer": "adamw", "learning_rate": 0.02, "weight_decay": 0.3},
        partial(torch.optim.AdamW, lr=0.02, weight_decay=0.3),
    ),
    "a class": ({"optimizer": torch.optim.RMSprop, "learning_rate": 0.01}, partial(torch.optim.RMSprop, lr=0.01)),
    "a partial": (
        {"optimizer": partial(torch.optim.Adam, betas=(0.5, 0.9)), "learning_rate": 0.01},
        partial(torch.optim.Adam, betas=(0.5, 0.9), lr=0.01),
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fit_equals_a_loop_by_hand(name: str) -> None:
    words, optimizer = OPTIMIZERS[name]
    ours, theirs = net(), net()
    mbgd.fit(ours, (X, Y), loss="squared_error", batch_size=M, epochs=4, seed=3, **words)
    by_hand(theirs, optimizer(theirs.parameters()), epochs=4, criterion=mean_squared)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=ROUNDING, atol=ROUNDING)


def test_an_optimizer_instance_is_used_as_it_is_and_keeps_its_rates() -> None:
    ours, theirs = net(), net()
    optimizer = torch.optim.Adam(
        [{"params": ours[0].parameters()}, {"params": ours[2].parameters(), "lr": 0.1}], lr=0.02
    )
    mbgd.fit(ours, (X, Y), loss="squared_error", optimizer=optimizer, batch_size=M, epochs=2, seed=3)
    same = torch.optim.Adam(
        [{"params": theirs[0].parameters()}, {"params": theirs[2].parameters(), "lr": 0.1}], lr=0.02
    )
    by_hand(theirs, same, epochs=2, criterion=mean_squared)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=ROUNDING, atol=ROUNDING)
    mbgd.fit(ours, (X, Y), loss="squared_error", optimizer=optimizer, batch_size=M, epochs=1, schedule="one_cycle")
    assert [group["lr"] for group in optimizer.param_groups] == [0.02, 0.1]  # a schedule has not eaten them
    assert optimizer.state[ours[0].weight]["step"] == 21


@pytest.mark.parametrize("tail", ["short", "even", "drop"])
@pytest.mark.parametrize("sampling", ["reshuffle", "iid", "natural"])
def test_every_order_and_tail_equals_the_loop_by_hand(sampling: Any, tail: Any) -> None:
    ours, theirs = net(), net()
    mbgd.fit(
        ours,
        (X, Y),
        loss="squared_error",
        batch_size=M,
        epochs=3,
        seed=3,
        learning_rate=0.1,
        sampling=sampling,
        tail=tail,
    )
    by_hand(
        theirs,
        torch.optim.SGD(theirs.parameters(), lr=0.1),
        epochs=3,
        criterion=mean_squared,
        sampling=sampling,
        tail=tail,
    )
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=ROUNDING, atol=ROUNDING)


def test_clipping_equals_torchs() -> None:
    ours, theirs = net(), net()
    mbgd.fit(ours, (X, Y), loss="squared_error", batch_size=M, epochs=3, seed=3, learning_rate=0.1, clip_norm=0.1)
    clip = partial(nn.utils.clip_grad_norm_, list(theirs.parameters()), 0.1)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    by_hand(theirs, optimizer, epochs=3, criterion=mean_squared, before_step=clip)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=ROUNDING, atol=ROUNDING)
    unclipped = net()
    mbgd.fit(unclipped, (X, Y), loss="squared_error", batch_size=M, epochs=3, seed=3, learning_rate=0.1)
    assert not torch.allclose(flat(ours), flat(unclipped), rtol=1e-3)


def test_averaged_weights_equal_an_average_by_hand_and_are_those_used() -> None:
    ours, theirs = net(), net()
    words: Any = {"batch_size": M, "epochs": 3, "seed": 3, "learning_rate": 0.1, "ema_decay": 0.8}
    run = mbgd.fit(ours, (X, Y), loss="squared_error", validation=(X, Y), restore_best=False, **words)
    average = flat(theirs)

    def follow() -> None:
        average.mul_(0.8).add_(0.2 * flat(theirs))

    by_hand(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1), epochs=3, criterion=mean_squared, after_step=follow)
    torch.testing.assert_close(flat(ours), average, rtol=ROUNDING, atol=ROUNDING)
    with torch.no_grad():
        assert run.history["validation_loss"][-1] == pytest.approx(float(mean_squared(ours(X), Y)), rel=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one_cycle"])
def test_schedules_reach_the_optimizer(schedule: str) -> None:
    """The bias of a model without inputs under the loss `output`: its gradient is 1, so its way is the sum of the rates."""

    class Bias(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return self.bias.expand(len(x))

    model = Bias()
    seen: list[float] = []
    for done in mbgd.steps(
        model, (X, Y), loss=lambda o, y: o, batch_size=10, epochs=4, learning_rate=0.5, schedule=schedule, warmup=0.0
    ):
        seen += done.rate_factors.tolist()
    assert len(seen) == 20
    assert float(model.bias.detach()) == pytest.approx(-0.5 * sum(seen), rel=1e-12)
    t = np.arange(20) / 20
    expected = {
        "constant": np.ones(20),
        "step": np.where(t < 0.5, 1, np.where(t < 0.75, 0.1, 0.01)),
        "cosine": (1 + np.cos(np.pi * t)) / 2,  # to 4e-6 of the way
        "one_cycle": np.where(
            t < 0.25, 0.52 - 0.48 * np.cos(4 * np.pi * t), (1 + np.cos(np.pi * (t - 0.25) / 0.75)) / 2
        ),
    }[schedule]
    np.testing.assert_allclose(seen, expected, atol=1e-5)


def test_micro_batches_change_nothing() -> None:
    words: Any = {"loss": "squared_error", "batch_size": M, "epochs": 3, "seed": 3, "learning_rate": 0.1}
    whole, parts = net(), net()
    mbgd.fit(whole, (X, Y, W), **words)
    mbgd.fit(parts, (X, Y, W), micro_batch=3, **words)
    torch.testing.assert_close(flat(parts), flat(whole), rtol=1e-12, atol=1e-12)  # the same sums in another order


def test_micro_batches_with_batch_norm_are_refused_unless_allowed() -> None:
    words: Any = {"loss": "squared_error", "epochs": 1, "micro_batch": 3, "learning_rate": 0.01}
    for model in (net(norm=True), net(norm=True).eval()):  # in evaluation mode it would be trained in training mode
        with pytest.raises(
            PlanError, match=r"^micro_batch must be None for a model with BatchNorm, got 3: .*allow_batch"
        ):
            mbgd.fit(model, (X, Y), **words)
        mbgd.fit(model, (X, Y), allow_batch_norm=True, **words)
    frozen = net(norm=True)
    frozen[1].eval()  # its statistics are fixed: parts of a batch are then the same model
    mbgd.fit(frozen, (X, Y), **words)


def test_batch_norm_never_meets_a_single_row() -> None:
    for model in (net(norm=True), net(norm=True).eval()):
        run = mbgd.fit(model, (X, Y), loss="squared_error", batch_size=7, epochs=1, learning_rate=0.01)  # 50 = 7*7 + 1
        assert run.resolved["tail"] == "even"
    assert mbgd.fit(net(), (X, Y), loss="squared_error", batch_size=7, epochs=1).resolved["tail"] == "short"


def test_bf16_trains_about_the_same() -> None:
    losses = {}
    for precision in ("float32", "bf16"):
        run = mbgd.fit(
            floats(), (X, Y), loss="squared_error", batch_size=M, epochs=20, precision=precision, learning_rate=0.1
        )
        losses[precision] = run.history["loss"]
    assert losses["bf16"] != losses["float32"]
    assert losses["bf16"][-1] < 0.5 * losses["bf16"][0]
    assert losses["bf16"][-1] == pytest.approx(losses["float32"][-1], rel=0.2)  # 8 bits of mantissa: some percent a row


def test_row_weights_pull_as_many_times() -> None:
    """A weight of k is k copies of a row, after the mean weight is divided out: batch gradient descent shows it exactly."""
    counts = torch.tensor([1, 2, 3] * 16 + [1, 1])
    repeated = torch.repeat_interleave(torch.arange(N), counts)
    words: Any = {"loss": "squared_error", "batch_size": "full", "epochs": 20, "learning_rate": 0.1}
    ours, theirs, third = net(), net(), net()
    mbgd.fit(ours, (X, Y), sample_weight=counts, **words)
    mbgd.fit(theirs, (X[repeated], Y[repeated]), **words)
    mbgd.fit(third, (X, Y, counts.double()), **words)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-11, atol=1e-11)  # sums over 50 and 99 rows
    assert torch.equal(flat(ours), flat(third))


# --- data of every make -------------------------------------------------------------------------------------------------


class Pairs(Dataset[Any]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return X[row], Y[row]


HOLDERS: dict[str, Any] = {
    "arrays": (X.numpy(), Y.numpy()),
    "a list of pairs": list(zip(X, Y, strict=True)),
    "a DataLoader of pairs": DataLoader(list(zip(X, Y, strict=True)), batch_size=M, shuffle=True),  # type: ignore[arg-type]
    "lists": (X.tolist(), Y.tolist()),
    "y in a column": (X, Y[:, None]),
    "a frame and a series": (pd.DataFrame(X.numpy()), pd.Series(Y.numpy())),
    "a TensorDataset": TensorDataset(X, Y),
    "a Subset": Subset(TensorDataset(X.repeat(2, 1), Y.repeat(2)), range(N)),
    "a Subset of a Subset": Subset(Subset(TensorDataset(X.flip(0), Y.flip(0)), range(N)), range(N - 1, -1, -1)),
    "a dataset": Pairs(),
    "a DataLoader": DataLoader(Pairs(), batch_size=M, shuffle=True),
    "a DataLoader of tensors": DataLoader(TensorDataset(X, Y), batch_size=M, shuffle=True),
    "Fortran order": (np.asfortranarray(X.numpy()), Y.numpy()),
}
WORDS: Any = {"loss": "squared_error", "batch_size": M, "epochs": 2, "seed": 3, "learning_rate": 0.1}


@pytest.mark.parametrize("name", HOLDERS)
def test_however_the_rows_are_held_the_weights_are_the_same_bits(name: str) -> None:
    ours, theirs = net(), net()
    mbgd.fit(ours, HOLDERS[name], **WORDS)
    mbgd.fit(theirs, (X, Y), **WORDS)
    assert torch.equal(flat(ours), flat(theirs))


def test_workers_prefetch_and_validation_beside_dropout_change_no_bit() -> None:
    """Loader workers draw a seed, and validation reads the dataset while the next chunk is fetched: neither may show."""

    def end(data: Any, **how: Any) -> Tensor:
        model = net(dropout=0.5)
        mbgd.fit(model, data, validation=0.3, restore_best=False, **{**WORDS, "epochs": 6}, **how)
        return flat(model)

    plain = end((X, Y))
    assert torch.equal(end(Pairs(), workers=2), plain)
    assert torch.equal(end(Pairs(), workers=1, prefetch=4), plain)
    assert torch.equal(end(Pairs(), prefetch=2), plain)
    assert torch.equal(end((X, Y), prefetch=3), plain)


def test_a_loader_stands_for_its_batch_size_order_and_tail() -> None:
    ours, theirs = net(), net()
    loader = DataLoader(TensorDataset(X, Y), batch_size=16, drop_last=True)
    run = mbgd.fit(ours, loader, loss="squared_error", epochs=2, learning_rate=0.1)
    assert (run.resolved["batch_size"], run.resolved["tail"], run.steps_done) == (16, "drop", 6)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            mean_squared(theirs(x), y).backward()
            optimizer.step()
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=ROUNDING, atol=ROUNDING)
    assert mbgd.fit(net(), loader, loss="squared_error", epochs=1, batch_size=5).resolved["batch_size"] == 5


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.codes = nn.Linear(WIDTH, 1).double(), nn.Embedding(3, 1).double()

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        return self.a(numbers) + self.codes(codes)


def two_inputs() -> TwoInputs:
    torch.manual_seed(4)
    return TwoInputs()


CODES = torch.arange(N) % 3


class Dicts(Dataset[Any]):
    """Items as Hugging Face's datasets have them: one dict, the target among its entries."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return {"codes": CODES[row], "label": float(Y[row]), "numbers": X[row].numpy()}

    def __getitems__(self, rows: list[int]) -> list[Any]:
        return [self[row] for row in rows]


@pytest.mark.parametrize(
    "data",
    [
        ((X, CODES), Y),
        ({"codes": CODES, "numbers": X}, Y),
        {"codes": CODES, "numbers": X, "labels": Y},
        TensorDataset(X, CODES, Y),
        Dicts(),
        DataLoader(Dicts(), batch_size=M, shuffle=True),
    ],
    ids=["a tuple", "a dict", "a dict with its target", "a TensorDataset", "items that are dicts", "a loader of them"],
)
def test_several_inputs(data: Any) -> None:
    ours, theirs = two_inputs(), two_inputs()
    mbgd.fit(ours, data, **WORDS)
    mbgd.fit(theirs, ((X, CODES), Y), **WORDS)
    assert torch.equal(flat(ours), flat(theirs))


@pytest.mark.parametrize(
    "given",
    [X.numpy().astype(np.float16), (X * 5).int(), (X > 0), (X * 5).to(torch.uint8).numpy()],
    ids=["half", "whole numbers", "booleans", "bytes"],
)
def test_inputs_of_another_type_become_the_models(given: Any) -> None:
    ours, theirs = net(), net()
    run = mbgd.fit(ours, (given, Y), **WORDS)
    mbgd.fit(theirs, (torch.as_tensor(given).double(), Y), **WORDS)
    assert torch.equal(flat(ours), flat(theirs))
    assert run.ending.reason is StopReason.EPOCHS


def test_float64_rows_train_a_float32_model_in_float32() -> None:
    ours, theirs = floats(), floats()
    mbgd.fit(ours, (X.numpy(), Y.numpy()), validation=(X, Y), restore_best=False, **WORDS)
    mbgd.fit(theirs, (X.float(), Y.float()), **WORDS)
    assert torch.equal(flat(ours), flat(theirs))
    assert next(ours.parameters()).dtype == torch.float32


def test_labels_may_be_whole_numbers_for_one_output_or_two() -> None:
    for column in (LABELS, LABELS[:, None], LABELS.numpy().astype(np.int8), LABELS.bool(), LABELS.double()):
        one, same = net(), net()
        mbgd.fit(one, (X, column), **{**WORDS, "loss": "log_loss"})
        mbgd.fit(same, (X, LABELS.double()), **{**WORDS, "loss": nn.BCEWithLogitsLoss()})
        torch.testing.assert_close(flat(one), flat(same), rtol=ROUNDING, atol=ROUNDING)
    torch.manual_seed(1)
    two = nn.Linear(WIDTH, 2).double()
    other = copy.deepcopy(two)
    run = mbgd.fit(two, (X, LABELS[:, None].int()), **{**WORDS, "loss": "cross_entropy"})
    by_hand(
        other, torch.optim.SGD(other.parameters(), lr=0.1), epochs=2, criterion=nn.CrossEntropyLoss(), data=(X, LABELS)
    )
    torch.testing.assert_close(flat(two), flat(other), rtol=ROUNDING, atol=ROUNDING)
    assert run.predict_proba(X).shape == (N, 2)
    assert set(run.predict(X)) <= {0, 1}


LOSSES: dict[str, tuple[Any, Callable[[Tensor, Tensor], Tensor]]] = {
    "MSELoss": (nn.MSELoss(), mean_squared),
    "L1Loss": (nn.L1Loss(), lambda o, y: (o[:, 0] - y).abs().mean()),
    "HuberLoss": (nn.HuberLoss(delta=0.3), lambda o, y: nn.functional.huber_loss(o[:, 0], y, delta=0.3)),
    "SmoothL1Loss": (nn.SmoothL1Loss(), lambda o, y: nn.functional.smooth_l1_loss(o[:, 0], y)),
    "a function": (lambda o, y: (o[:, 0] - y) ** 4, lambda o, y: ((o[:, 0] - y) ** 4).mean()),
    "a module of one's own": (
        type("Quartic", (nn.Module,), {"forward": lambda self, o, y: (o[:, 0] - y) ** 4})(),
        lambda o, y: ((o[:, 0] - y) ** 4).mean(),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_torch_and_of_ones_own(name: str) -> None:
    loss, criterion = LOSSES[name]
    ours, theirs = net(), net()
    mbgd.fit(ours, (X, Y), **{**WORDS, "loss": loss, "learning_rate": 0.01})
    by_hand(theirs, torch.optim.SGD(theirs.parameters(), lr=0.01), epochs=2, criterion=criterion)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=ROUNDING, atol=ROUNDING)


def test_class_weights_of_a_torch_loss_are_row_weights_in_training_and_not_in_scores() -> None:
    weight = torch.tensor([1.0, 3.0], dtype=torch.float64)
    torch.manual_seed(1)
    ours, theirs = nn.Linear(WIDTH, 2).double(), nn.Linear(WIDTH, 2).double()
    theirs.load_state_dict(ours.state_dict())
    words = {**WORDS, "batch_size": "full", "restore_best": False}
    run = mbgd.fit(ours, (X, LABELS), validation=(X, LABELS), **{**words, "loss": nn.CrossEntropyLoss(weight=weight)})
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(2):  # one batch of all rows: torch divides by the sum of their weights, and so do we
        optimizer.zero_grad()
        nn.CrossEntropyLoss(weight=weight)(theirs(X), LABELS).backward()
        optimizer.step()
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=ROUNDING, atol=ROUNDING)
    with torch.no_grad():
        plain = float(nn.functional.cross_entropy(theirs(X), LABELS))
    assert run.scores["validation"]["loss"] == pytest.approx(plain, rel=1e-9)
    masked = mbgd.fit(
        nn.Linear(WIDTH, 2).double(),
        (X, LABELS),
        validation=0.3,
        **{**words, "loss": nn.CrossEntropyLoss(weight=weight)},
    )
    assert masked.scores["validation"]["accuracy"] * 15 == pytest.approx(
        round(masked.scores["validation"]["accuracy"] * 15)
    )


# --- what the caller finds afterwards -----------------------------------------------------------------------------------


def test_generators_threads_modes_and_gradients_are_as_they_were() -> None:
    model = net(dropout=0.5, norm=True)
    model[1].eval()  # a frozen BatchNorm
    modes = [module.training for module in model.modules()]
    torch.set_num_threads(2)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index]
    mbgd.fit(model, (X, Y), threads=1, validation=0.2, **WORDS)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # type: ignore[index]
    assert random.getstate() == before[2]
    assert torch.get_num_threads() == 2
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    statistics = model[1].running_mean.clone()
    mixed = model.eval()
    mixed[3].train()
    modes = [module.training for module in mixed.modules()]
    mbgd.fit(mixed, (X, Y), **WORDS)
    assert [module.training for module in mixed.modules()] == modes
    assert not torch.equal(model[1].running_mean, statistics)  # trained in training mode, all of it


def test_gradients_left_by_the_caller_do_not_count() -> None:
    ours, theirs = net(), net()
    (ours(X) * 1e6).sum().backward()  # type: ignore[no-untyped-call]
    mbgd.fit(ours, (X, Y), **WORDS)
    mbgd.fit(theirs, (X, Y), **WORDS)
    assert torch.equal(flat(ours), flat(theirs))


def test_under_no_grad_it_trains_all_the_same() -> None:
    ours, theirs = net(), net()
    with torch.no_grad():
        mbgd.fit(ours, (X, Y), **WORDS)
        assert not torch.is_grad_enabled()
    mbgd.fit(theirs, (X, Y), **WORDS)
    assert torch.equal(flat(ours), flat(theirs))


def test_frozen_parameters_stay() -> None:
    model = net()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    mbgd.fit(model, (X, Y), optimizer="adamw", **WORDS)
    assert torch.equal(model[0].weight, before)
    assert not torch.equal(model[2].weight, net()[2].weight)
    model.requires_grad_(False)
    with pytest.raises(
        PlanError, match=r"^model must have at least one parameter that requires a gradient, got none; unfr"
    ):
        mbgd.fit(model, (X, Y), **WORDS)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = (nn.Linear(WIDTH, k).double() for k in (WIDTH, WIDTH, 1))
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))


def test_tied_weights_stay_tied_and_equal_the_loop_by_hand(tmp_path: Any) -> None:
    torch.manual_seed(3)
    ours = Tied()
    theirs = copy.deepcopy(ours)
    run = mbgd.fit(ours, (X, Y), **WORDS)
    by_hand(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1), epochs=2, criterion=mean_squared)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=ROUNDING, atol=ROUNDING)
    assert ours.second.weight is ours.first.weight
    fresh = Tied()
    mbgd.load(run.save(tmp_path / "tied.safetensors"), fresh)
    assert torch.equal(fresh(X), ours(X))


def test_lazy_modules_are_made_and_trained() -> None:
    model = nn.Sequential(nn.LazyLinear(5), nn.Tanh(), nn.LazyLinear(1))
    state = torch.get_rng_state()
    run = mbgd.fit(model, (X, Y), validation=0.2, **{**WORDS, "epochs": 30})
    assert torch.equal(torch.get_rng_state(), state)
    assert run.history["loss"][-1] < 0.5 * run.history["loss"][0]


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script_method.*:DeprecationWarning"
)  # torch's own, in what compiling imports
def test_a_compiled_model_learns_the_same() -> None:
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    ours, theirs = net(), net()
    mbgd.fit(ours, (X, Y), compile=True, **WORDS)
    mbgd.fit(theirs, (X, Y), **WORDS)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
def test_what_torch_compiles_counts_as_no_time_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is on disk: to compile takes several times the limit, the steps a small part of it."""
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    model = nn.Sequential(nn.Linear(WIDTH, 3), nn.Tanh(), nn.Linear(3, 1)).double()  # no other test has compiled it
    started, limit = time.perf_counter(), 2.0
    run = mbgd.fit(model, (X, Y), compile=True, **{**WORDS, "epochs": None, "steps": 20, "time_limit": limit})
    if time.perf_counter() - started < limit:
        pytest.skip("this machine compiles within the limit")
    assert run.ending.reason is StopReason.STEPS
    assert run.seconds < limit


# --- validation: what stops, what comes back ----------------------------------------------------------------------------


def test_the_best_weights_come_back_and_patience_stops() -> None:
    """The oracle trains for as many epochs and no longer, each time from the start, and scores with torch by hand."""
    train, held = slice(0, 30), slice(30, N)
    words: Any = {"loss": "squared_error", "batch_size": M, "seed": 3, "optimizer": "adam", "learning_rate": 0.1}
    model = net(hidden=32)
    run = mbgd.fit(model, (X[train], Y[train]), validation=(X[held], Y[held]), patience=3, epochs=60, **words)
    scores = []
    for epochs in range(1, len(run.history) + 1):
        twin = net(hidden=32)
        mbgd.fit(twin, (X[train], Y[train]), epochs=epochs, **words)
        with torch.no_grad():
            scores.append(float(mean_squared(twin(X[held]), Y[held])) ** 0.5)
    np.testing.assert_allclose(run.history["validation_rmse"], scores, rtol=1e-9)
    best = int(np.argmin(scores))
    assert run.ending.reason is StopReason.NO_PROGRESS
    assert len(scores) == best + 1 + 3
    assert best > 0
    assert run.ending.facts["best_epoch"] == best + 1
    assert run.scores["validation"]["rmse"] == pytest.approx(scores[best], rel=1e-9)
    again = net(hidden=32)
    mbgd.fit(again, (X[train], Y[train]), epochs=best + 1, **words)
    assert torch.equal(flat(model), flat(again))
    last = net(hidden=32)
    words |= {"validation": (X[held], Y[held]), "restore_best": False}
    mbgd.fit(last, (X[train], Y[train]), patience=3, epochs=60, **words)
    assert not torch.equal(flat(last), flat(model))


MASK = np.arange(N) % 5 == 0


@pytest.mark.parametrize(
    "mask", [MASK, torch.tensor(MASK), MASK.tolist(), pd.Series(MASK)], ids=["array", "tensor", "list", "series"]
)
def test_a_mask_holds_its_rows_out(mask: Any) -> None:
    ours, theirs = net(), net()
    run = mbgd.fit(ours, (X, Y), validation=mask, restore_best=False, **WORDS)
    assert run.resolved["training_rows"] == 40
    mbgd.fit(theirs, (X[~MASK], Y[~MASK]), **WORDS)
    assert torch.equal(flat(ours), flat(theirs))
    with torch.no_grad():
        held = float(mean_squared(ours(X[MASK]), Y[MASK]))
    assert run.scores["validation"]["loss"] == pytest.approx(held, rel=1e-12)


def test_a_share_holds_that_many_rows_out() -> None:
    run = mbgd.fit(net(), (X, Y), validation=0.3, **WORDS)
    assert run.resolved["training_rows"] == 35
    assert run.steps_done == 2 * 5
    assert "validation_rmse" in run.history


@pytest.mark.parametrize("how", ["share", "mask", "pair", "metric"])
def test_nothing_of_the_validation_rows_reaches_training(how: str) -> None:
    """Their inputs, targets and weights are made anew: the weights of the model are the same bits."""
    held = MASK if how != "share" else _held_out(0.25)
    ends = []
    for change in (False, True):
        x, y, w = X.clone(), LABELS.clone(), W.clone()
        if change:
            x[held], y[held], w[held] = 1e3 * torch.randn(int(held.sum()), WIDTH).double(), 1 - y[held], 7 * w[held]
        model = net(dropout=0.3, norm=True)
        words: Any = {**WORDS, "loss": "log_loss", "epochs": 5, "restore_best": False, "ema_decay": 0.9}
        if how == "pair":
            mbgd.fit(model, (X[~MASK], LABELS[~MASK], W[~MASK]), validation=(x[held], y[held], w[held]), **words)
        elif how == "metric":
            mbgd.fit(model, (x, y, w), validation=MASK, metric="roc_auc", **words)
        else:
            mbgd.fit(model, (x, y, w), validation=0.25 if how == "share" else MASK, **words)
        ends.append(flat(model))
    assert torch.equal(*ends)


def _held_out(share: float) -> Any:
    """Which rows a share holds out, found from outside: those whose loss alone can be changed by a target of 1e9."""
    seen = np.zeros(N, bool)
    plain = net()
    words: Any = {**WORDS, "steps": 7, "restore_best": False}
    mbgd.fit(plain, (X, Y), validation=share, **words)
    for row in range(N):
        y = Y.clone()
        y[row] += 1.0
        model = net()
        mbgd.fit(model, (X, y), validation=share, **words)
        seen[row] = torch.equal(flat(model), flat(plain))
    assert seen.sum() == round(share * N)
    return seen


def test_a_score_that_is_not_a_number_is_never_the_best() -> None:
    """One class alone in validation: the area under the curve is undefined at every look, and that is said at the first."""
    words: Any = {**WORDS, "loss": "log_loss", "epochs": 9, "metric": "roc_auc"}
    with pytest.raises(PlanError, match="metric must be defined for the validation rows, got 'roc_auc'"):
        mbgd.fit(net(), (X, LABELS), validation=(X[:3], torch.zeros(3)), patience=2, **words)
    best = Best().after(float("nan"), steps_done=1, epoch=1, greater_is_better=True)
    best = best.after(0.3, steps_done=2, epoch=2, greater_is_better=True)
    assert best == Best(0.3, 2, 2, 0, to_beat=0.3)
    assert best.after(float("nan"), steps_done=3, epoch=3, greater_is_better=True) == Best(0.3, 2, 2, 1, to_beat=0.3)
    tie = best.after(0.3, steps_done=3, epoch=3, greater_is_better=False)
    assert tie == Best(0.3, 3, 3, 1, to_beat=0.3)  # the later of two equals, but no progress
    assert tie.after(0.2, steps_done=4, epoch=4, greater_is_better=False) == Best(0.2, 4, 4, 0, to_beat=0.2)
    assert tie.after(0.2, steps_done=4, epoch=4, greater_is_better=True) == Best(0.3, 3, 3, 2, to_beat=0.3)


# --- limits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "steps", "reason"),
    [
        ({"epochs": 2}, 14, StopReason.EPOCHS),
        ({"epochs": 0.5}, 4, StopReason.EPOCHS),  # ceil(3.5)
        ({"epochs": 1.1}, 8, StopReason.EPOCHS),
        ({"epochs": 1e-9}, 1, StopReason.EPOCHS),
        ({"steps": 5}, 5, StopReason.STEPS),
        ({"steps": 5, "epochs": 9}, 5, StopReason.STEPS),
        ({"steps": 99, "epochs": 1}, 7, StopReason.EPOCHS),
        ({}, 70, StopReason.EPOCHS),
        ({"time_limit": 1e-9}, None, StopReason.TIME),
        ({"time_limit": "0.001s", "epochs": 1e6}, None, StopReason.TIME),
        ({"target_loss": 1e9}, None, StopReason.TARGET_LOSS),
        ({"target_loss": 0.5, "epochs": 400}, None, StopReason.TARGET_LOSS),
    ],
    ids=str,
)
def test_limits(limits: dict[str, Any], steps: int | None, reason: StopReason) -> None:
    run = mbgd.fit(net(), (X, Y), loss="squared_error", batch_size=M, learning_rate=0.05, **limits)
    assert run.ending.reason is reason
    assert str(run.ending) == reason.value
    assert steps is None or run.steps_done == steps
    assert run.history["step"][-1] == run.steps_done
    if "target_loss" in limits:
        assert run.history["loss"][-1] <= limits["target_loss"]
        assert all(loss > limits["target_loss"] for loss in run.history["loss"][:-1])


def test_the_whole_batch_is_gradient_descent() -> None:
    ours, theirs, third = net(), net(), net()
    words: Any = {"loss": "squared_error", "epochs": 20, "learning_rate": 0.1}
    run = mbgd.fit(ours, (X, Y), batch_size="full", **words)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        mean_squared(theirs(X), Y).backward()
        optimizer.step()
    assert run.steps_done == 20
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=ROUNDING, atol=ROUNDING)
    mbgd.fit(third, (X, Y), batch_size=10**9, **words)
    assert torch.equal(flat(third), flat(ours))


def test_history_says_what_was_seen() -> None:
    run = mbgd.fit(net(), (X, Y), validation=0.2, **WORDS)
    assert run.history.columns[:6] == ["step", "epoch", "rows_seen", "loss", "learning_rate", "seconds"]
    assert run.history["epoch"] == [1.0, 2.0]
    assert run.history["rows_seen"] == [40, 80]
    assert run.history["learning_rate"] == [0.1, 0.1]
    assert len(mbgd.fit(net(), (X, Y), **{**WORDS, "steps": 10}).history) == 2
    means = []
    model = net()
    long = {**WORDS, "epochs": 50, "schedule": "cosine", "engine": "autograd"}
    for done in mbgd.steps(model, (X, Y), **long):  # chunks of many epochs
        means += done.losses.tolist()
    run = mbgd.fit(net(), (X, Y), **long)
    sizes = np.array([*[M] * 6, 2])
    assert [row["step"] for row in run.history if row["epoch"] == int(row["epoch"])] == list(range(7, 351, 7))
    by_epoch = {row["step"]: row for row in run.history}
    for epoch in (1, 36):  # the first chunk ends after 256 steps, in epoch 37
        mean = float(np.average(means[7 * epoch - 7 : 7 * epoch], weights=sizes))
        assert by_epoch[7 * epoch]["loss"] == pytest.approx(mean, rel=1e-12)
        assert by_epoch[7 * epoch]["rows_seen"] == N * epoch
        rate = 0.05 * (1 + np.cos(np.pi * (N * epoch - 2) / (50 * N)))  # by rows seen before the epoch's last step
        assert by_epoch[7 * epoch]["learning_rate"] == pytest.approx(rate, rel=1e-3)
    assert by_epoch[256]["epoch"] == pytest.approx(36 + 32 / 50)
    assert round(run.seconds, 4) >= run.history["seconds"][-1] > 0  # as history writes it: rounded up it may be above


# --- divergence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad_row", [0, 17, 49])
def test_a_loss_that_is_not_finite_stops_before_its_update(bad_row: int, tmp_path: Any) -> None:
    x = X.clone()
    x[bad_row, 1] = float("nan")
    order = [int(row) for batch in mbgd.batches(torch.arange(N), batch_size=M, seed=3) for row in batch]
    step = order.index(bad_row) // M + 1
    model, before = net(norm=True, dropout=0.2), net(norm=True, dropout=0.2)
    words: Any = {**WORDS, "optimizer": "adam", "epochs": 3}
    with pytest.raises(
        DivergenceError, match=rf"^loss or gradient must be finite, got .* in step {step} \(epoch 1, rows"
    ) as e:
        mbgd.fit(model, (x, Y), out=tmp_path / "run", **words)
    assert e.value.step == step
    assert bad_row in e.value.rows
    assert sorted(e.value.rows) == sorted(order[(step - 1) * M : step * M])
    if step > 1:
        mbgd.fit(before, (X, Y), steps=step - 1, **words)
    assert torch.equal(flat(model), flat(before))
    assert torch.isfinite(flat(model)).all()
    assert model.training
    with pytest.raises(DivergenceError, match=rf"step {step} "):
        mbgd.resume(tmp_path / "run", net(norm=True, dropout=0.2), (x, Y))


def test_a_rate_far_too_large_is_announced_and_leaves_finite_weights() -> None:
    model = net()
    with pytest.raises(DivergenceError, match="lower learning_rate"):
        mbgd.fit(model, (X * 100, Y), **{**WORDS, "learning_rate": 1e10, "epochs": 100})
    assert torch.isfinite(flat(model)).all()


# --- bad input ----------------------------------------------------------------------------------------------------------


class Many(nn.Module):
    def __init__(self, out: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(WIDTH, 3).double(), out

    def forward(self, x: Tensor) -> Any:
        return self.out(self.inner(x))


class Texts(Pairs):
    def __getitem__(self, row: int) -> Any:
        return {"text": "abc", "numbers": X[row], "label": 1.0}


class Ragged(Pairs):
    def __getitem__(self, row: int) -> Any:
        return X[row, : 1 + row % 2], Y[row]


class BadLabel(Pairs):
    def __getitem__(self, row: int) -> Any:
        return X[row], 7 if row == 33 else int(LABELS[row])


def linear(outputs: int) -> nn.Linear:
    return nn.Linear(WIDTH, outputs).double()


BAD: dict[str, tuple[Any, Any, dict[str, Any], type[Exception], str]] = {
    "no model": (
        len,
        (X, Y),
        {},
        PlanError,
        "model must be a torch.nn.Module, got builtin_function_or_method; wrap a function",
    ),
    "no loss": (
        None,
        (X, Y),
        {"loss": None},
        PlanError,
        "loss must be given, got none; 'squared_error' for numbers, 'log_loss'",
    ),
    "a foreign loss": (
        None,
        (X, Y),
        {"loss": "mse"},
        PlanError,
        "loss must be a known name, got 'mse'; here it is called 'squared",
    ),
    "a misspelt loss": (None, (X, Y), {"loss": "squared_eror"}, PlanError, "did you mean 'squared_error'?"),
    "a loss class": (None, (X, Y), {"loss": nn.MSELoss}, PlanError, "loss must"),
    "a loss that is a mean": (
        None,
        (X, Y),
        {"loss": lambda o, y: ((o[:, 0] - y) ** 2).mean()},
        PlanError,
        "loss must return one value a row, shape (B,), got a single number; leave out the mean",
    ),
    "a loss that broadcasts": (
        None,
        (X, Y),
        {"loss": lambda o, y: (o - y) ** 2},
        PlanError,
        "loss must return one value a row, shape (8,), got (8, 8)",
    ),
    "a foreign optimizer": (None, (X, Y), {"optimizer": "Adam"}, PlanError, "got 'Adam'; did you mean 'adam'?"),
    "an optimizer of another model": (
        None,
        (X, Y),
        {"optimizer": torch.optim.SGD(net().parameters(), lr=0.1)},
        PlanError,
        "optimizer holds none of the model's parameters; make it from model.parameters() of this very model",
    ),
    "momentum of adam": (
        None,
        (X, Y),
        {"optimizer": "adam", "momentum": 0.9},
        PlanError,
        "momentum and nesterov belong to optim",
    ),
    "a foreign word": (
        None,
        (X, Y),
        {"lr": 0.1},
        PlanError,
        "'lr' is not an argument of MBGD; say learning_rate instead",
    ),
    "a table's word": (
        None,
        (X, Y),
        {"dropout": 0.5},
        PlanError,
        "dropout belongs to fit_table, got it with a module of your own; ",
    ),
    "a table's target": (
        None,
        (X, Y),
        {"target": "y"},
        PlanError,
        "target belongs to fit_table, got it with a module of your own; ",
    ),
    "no parameters": (
        nn.Flatten(0),
        (X[:, 0], Y),
        {},
        PlanError,
        "model must have at least one parameter that requires a",
    ),
    "a device that is not": (
        None,
        (X, Y),
        {"device": "gpu"},
        PlanError,
        "device must be auto, cpu, cuda, cuda:1 or mps, got 'gpu'; ",
    ),
    "epochs auto": (None, (X, Y), {"epochs": "auto"}, PlanError, "epochs='auto' belongs to fit_table"),
    "a horizon unknown": (
        None,
        (X, Y),
        {"schedule": "cosine", "time_limit": 3, "epochs": None},
        PlanError,
        "schedule must know",
    ),
    "two outputs": (
        Many(lambda o: (o, o)),
        (X, Y),
        {},
        PlanError,
        "model must return one tensor for loss=squared_error, got a tuple of 2; give a function loss(outputs, y) of one",
    ),
    "one for all": (
        Many(lambda o: o.sum()),
        (X, Y),
        {},
        PlanError,
        "model must return one output a row, got shape () for 2 rows",
    ),
    "turned": (
        Many(lambda o: o.T),
        (X, Y),
        {},
        PlanError,
        "model must return one output a row, got shape (3, 2) for 2 rows",
    ),
    "a wrong width": (
        nn.Linear(9, 1).double(),
        (X, Y),
        {},
        DataError,
        "X must fit the model, got rows of shape (4,) float64, which its forward refuses: mat1 and mat2",
    ),
    "one input too many": (
        None,
        ((X, X), Y),
        {},
        DataError,
        "X must fit the model, got rows of shape (4,) float64, (4,) float64, which its forward refuses: ",
    ),
    "an input of another name": (
        two_inputs(),
        ({"numbers": X, "code": CODES}, Y),
        {},
        DataError,
        "X must fit the model, got rows of shape numbers (4,) float64, code () int64, which its forward refuses: ",
    ),
    "a code too large": (
        two_inputs(),
        ((X, CODES + 3), Y),
        {},
        DataError,
        "which its forward refuses: index out of range in self",
    ),
    "y of three columns": (
        None,
        (X, X[:, :3]),
        {},
        DataError,
        "y must have shape (n,) for loss='squared_error' and outputs",
    ),
    "no y": (None, X, {}, DataError, "data must be (X, y), got one Tensor without a target; pass (X, y)"),
    "other lengths": (
        None,
        (X, Y[:5]),
        {},
        DataError,
        "X, y and weight must have the same number of rows, got shapes (50, 4), (5,)",
    ),
    "text": (
        None,
        (np.array([["a"]] * N), Y),
        {},
        DataError,
        "X must hold numbers, got dtype <U1; convert it, or give the table to",
    ),
    "ragged lists": (
        None,
        ([[1.0], [1.0, 2.0]], [1.0, 2.0]),
        {},
        DataError,
        "X must have rows of one shape, got list of several",
    ),
    "a sparse tensor": (
        None,
        (X.to_sparse(), Y),
        {},
        DataError,
        "X must be dense, got a tensor of layout torch.sparse_coo; pass X.",
    ),
    "labels too large": (
        linear(2),
        (X, LABELS + 1),
        {"loss": "log_loss"},
        DataError,
        "y must hold class labels 0 to 1 for a model with 2 outputs, got 2 in row ",
    ),
    "three classes, one output": (
        None,
        (X, CODES),
        {"loss": "log_loss"},
        DataError,
        "y must be 0 or 1, or a probability between, for loss='log_loss' with one output, got 2 in row 2; for more than two",
    ),
    "a bad label in a dataset": (
        linear(2),
        BadLabel(),
        {"loss": "log_loss"},
        DataError,
        "y must hold class labels 0 to 1 for a model with 2 outputs, got 7 in row 33; ",
    ),
    "y not finite": (None, (X, Y / 0), {}, DataError, "y must be finite in float64, got "),
    "negative weights": (None, (X, Y, -W), {}, DataError, "weight must be finite and at least 0, got -"),
    "weights of another length": (
        None,
        (X, Y),
        {"sample_weight": [1.0]},
        DataError,
        "sample_weight must have one entry a row, got 1",
    ),
    "weights that leave nothing to train": (
        None,
        (X, Y, torch.tensor(MASK).double()),
        {"validation": MASK},
        DataError,
        "weight must be positive in at least one training row, got only zeros; leave weights out for equal rows",
    ),
    "a sampler and a share": (
        None,
        DataLoader(Pairs(), sampler=WeightedRandomSampler([1.0] * N, N)),
        {"validation": 0.2},
        PlanError,
        "validation must be (X, y) for a loader with WeightedRandomSampler, which would draw the rows held out, got a share",
    ),
    "a sampler and sampling": (
        None,
        DataLoader(Pairs(), sampler=WeightedRandomSampler([1.0] * N, N)),
        {"sampling": "iid"},
        PlanError,
        "sampling is what the loader's WeightedRandomSampler does, got 'iid' as well; leave one out",
    ),
    "batches of one's own": (
        None,
        DataLoader(Pairs(), batch_sampler=[[0, 1], [2]]),
        {},
        DataError,
        "data must be a DataLoader whose batches are cut from the rows of a sampler, got list as its batch_sampler; give its",
    ),
    "a loader without batches": (
        None,
        DataLoader(Pairs(), batch_size=None),
        {},
        DataError,
        "data must be a DataLoader that makes batches, got batch_size=None; give it one, or pass its dataset",
    ),
    "items of text": (
        two_inputs(),
        Texts(),
        {},
        DataError,
        "items of a dataset must hold tensors, arrays or numbers, got text or ",
    ),
    "ragged items": (
        None,
        Ragged(),
        {},
        DataError,
        "items of a dataset must be tensors, arrays or numbers of equal shapes, got",
    ),
    "validation of text": (
        None,
        (X, Y),
        {"validation": "file.csv"},
        PlanError,
        "validation must be a share, a mask or (X, y), got the",
    ),
    "a mask of another length": (
        None,
        (X, Y),
        {"validation": MASK[:9]},
        PlanError,
        "validation must be a boolean mask of shape (50,) that leaves rows on both sides, got shape (9,) with 2 True; True holds",
    ),
    "a mask of all": (
        None,
        (X, Y),
        {"validation": MASK | True},
        PlanError,
        "that leaves rows on both sides, got shape (50,) with 50",
    ),
    "validation of another width": (
        None,
        (X, Y),
        {"validation": (X[:, :2], Y)},
        DataError,
        "X of validation must fit the model, got rows of shape (2,) float64, which its forward refuses: mat1",
    ),
    "a share of one row": (
        None,
        (X[:1], Y[:1]),
        {"validation": 0.5},
        PlanError,
        "validation must leave rows on both sides, got 0.5",
    ),
    "a metric of classes": (None, (X, Y), {"validation": 0.1, "metric": "accuracy"}, PlanError, "metric"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_sentence_and_trains_nothing(name: str) -> None:
    model, data, words, kind, said = BAD[name]
    model = net() if model is None else model
    before = flat(model) if isinstance(model, nn.Module) and list(model.parameters()) else None
    with pytest.raises(kind) as caught:
        mbgd.fit(model, data, **{"loss": "squared_error", "epochs": 1, "batch_size": M, **words})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert before is None or torch.equal(flat(model), before)


def test_out_must_be_new(tmp_path: Any) -> None:
    words: Any = {"loss": "squared_error", "epochs": 1}
    mbgd.fit(net(), (X, Y), out=tmp_path / "run", **words)
    with pytest.raises(
        PlanError, match=r"^out must be a new folder, got .*run, which exists; 'mbgd resume .*run' goes on"
    ):
        mbgd.fit(net(), (X, Y), out=tmp_path / "run", **words)
    with pytest.raises(PlanError, match="loss must be given"):
        mbgd.fit(net(), (X, Y), out=tmp_path / "other", epochs=1)
    assert not (tmp_path / "other").exists()
