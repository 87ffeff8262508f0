"""fit and steps of an iterable dataset are the loop that everybody writes over it, read as far as it is trained on.

The oracle is a plain torch loop over the same stream that divides each batch by the batch size.
"""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info

import mbgd
from mbgd import DataError, PlanError, StopReason

N, WIDTH, M = 53, 3, 5
CHANCE = torch.Generator().manual_seed(0)
X = torch.randn(N, WIDTH, generator=CHANCE, dtype=torch.float64)
Y = X.sum(1) + 0.1
W = torch.rand(N, generator=CHANCE, dtype=torch.float64) + 0.5
WORDS: Any = {"loss": "squared_error", "learning_rate": 0.05, "momentum": 0.9, "batch_size": M}
ENGINES = ("fused", "autograd")
# an update adds some ten products in another order than torch does: rounding in float64, over 33 updates
CLOSE: Any = {"rtol": 1e-11, "atol": 1e-13}


class Rows(IterableDataset[Any]):
    """The first rows, or all of them again and again; `drawn` counts what was taken."""

    def __init__(self, n: int = N, *, endless: bool = False, weight: bool = False) -> None:
        self.n, self.endless, self.weight, self.drawn = n, endless, weight, 0

    def __iter__(self) -> Iterator[Any]:
        while True:
            for row in range(self.n):
                self.drawn += 1
                yield (X[row], Y[row], W[row]) if self.weight else (X[row], Y[row])
            if not self.endless:
                return


class Shared(IterableDataset[Any]):
    """Each worker yields its share of the rows."""

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        yield from ((X[row], Y[row]) for row in range(first, N, step))


class Once(IterableDataset[Any]):
    """A generator that has ended yields nothing more."""

    def __init__(self) -> None:
        self.items = iter([(X[row], Y[row]) for row in range(N)])

    def __iter__(self) -> Iterator[Any]:
        return self.items


class Sized(Rows):
    def __len__(self) -> int:
        return self.n


def net(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(*layers, nn.Linear(WIDTH, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def by_hand(model: nn.Module, loader: Any, *, passes: int = 1, steps: int = 1 << 30) -> list[Tensor]:
    """SGD with momentum; the parameters after each update, of which the short last batch is one divided by M."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    after, weight_sum, n_rows = [], 0.0, 0
    for _ in range(passes):
        for x, y, *w in loader:
            if len(after) == steps:
                return after
            weight = w[0] if w else torch.ones_like(y)
            weight_sum, n_rows = weight_sum + float(weight.sum()), n_rows + len(y)
            optimizer.zero_grad()
            ((weight * (model(x)[:, 0] - y) ** 2).sum() / (M * weight_sum / n_rows)).backward()
            optimizer.step()
            after.append(flat(model).clone())
    return after


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("weight", [False, True])
def test_each_step_is_that_of_a_plain_loop_over_the_same_stream(engine: Any, weight: bool) -> None:
    data, model = Rows(weight=weight), net()
    expected = by_hand(net(), DataLoader(data, batch_size=M), passes=3)
    going = mbgd.steps(model, data, engine=engine, epochs=3, every=1, **WORDS)
    seen = [(flat(model).clone(), done.progress, done.sizes.tolist()) for done in going]
    assert len(seen) == 3 * 11 == len(expected)
    for (now, progress, sizes), then in zip(seen, expected, strict=True):
        torch.testing.assert_close(now, then, **CLOSE)
        assert sizes == [3 if progress.cursor.row == 0 else M]  # 53 = 10 * 5 + 3
    assert [at.cursor.epoch for _, at, _ in seen if at.cursor.row == 0] == [1, 2, 3]


@pytest.mark.parametrize("engine", ENGINES)
def test_how_many_batches_are_read_at_once_changes_no_bit(engine: Any) -> None:
    ends = []
    for every in (None, 1, 3, 4, 7, "epoch"):
        model = net()
        list(mbgd.steps(model, Rows(weight=True), engine=engine, epochs=2, every=every, **WORDS))
        ends.append(flat(model))
    assert all(torch.equal(end, ends[0]) for end in ends)


@pytest.mark.parametrize("engine", ENGINES)
def test_by_default_it_is_gone_through_once_and_the_run_says_what_a_stream_is(engine: Any) -> None:
    model, data = net(), Rows()
    run = mbgd.fit(model, data, engine=engine, **WORDS)
    torch.testing.assert_close(flat(model), by_hand(net(), DataLoader(data, batch_size=M))[-1], **CLOSE)
    assert run.ending.reason is StopReason.EPOCHS
    assert (run.resolved["epochs_done"], run.resolved["rows_seen"], run.steps_done) == (1, N, 11)
    assert run.resolved["training_rows"] is None
    assert run.resolved["engine"] == engine
    assert "not shuffled here" in run.notices[0]
    assert "cannot be resumed" in run.notices[0]
    assert run.summary()["epochs"] == 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("door", ["fit", "steps"])
def test_an_endless_stream_is_read_one_batch_ahead(engine: Any, door: str) -> None:
    data, model = Rows(endless=True), net()
    if door == "fit":
        run = mbgd.fit(model, data, engine=engine, steps=50, **WORDS)
        assert run.ending.reason is StopReason.STEPS
    else:
        assert sum(map(len, mbgd.steps(model, data, engine=engine, steps=50, **WORDS))) == 50
    assert data.drawn <= 51 * M
    expected = by_hand(net(), DataLoader(Rows(endless=True), batch_size=M), steps=50)
    torch.testing.assert_close(flat(model), expected[-1], **CLOSE)


def test_time_and_a_target_loss_end_an_endless_stream() -> None:
    assert mbgd.fit(net(), Rows(endless=True), time_limit=0.05, **WORDS).ending.reason is StopReason.TIME
    run = mbgd.fit(net(), Rows(endless=True), target_loss=1e3, **WORDS)
    assert run.ending.reason is StopReason.TARGET_LOSS
    assert mbgd.fit(net(), Rows(endless=True), callback=lambda look: True, steps=7, **WORDS).steps_done == 7


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stream_that_ends_early_ends_the_run_and_says_so(engine: Any) -> None:
    run = mbgd.fit(net(), Rows(), engine=engine, steps=50, **WORDS)
    assert run.ending.reason is StopReason.ROWS
    assert run.steps_done == 11
    assert "no more rows" in str(run.ending)
    again = mbgd.fit(net(), Once(), engine=engine, epochs=3, **WORDS)
    assert again.ending.reason is StopReason.ROWS
    assert again.resolved["epochs_done"] == 1
    assert sum(map(len, mbgd.steps(net(), Rows(), engine=engine, steps=50, every="epoch", **WORDS))) == 11


def test_it_is_shown_as_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    mbgd.fit(net(), Rows(), epochs=3, progress=True, **WORDS)
    assert "epoch 3.00/3" in capsys.readouterr().err
    mbgd.fit(net(), Rows(endless=True), steps=300, progress=True, **WORDS)
    assert "epoch 0.00  step 256" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ENGINES)
def test_a_schedule_falls_over_the_planned_steps(engine: Any) -> None:
    """Half a cosine over 20 updates of M rows each, from 1 to 4e-6."""
    going = mbgd.steps(net(), Rows(endless=True), engine=engine, steps=20, schedule="cosine", **WORDS)
    factors = np.concatenate([done.rate_factors for done in going])
    expected = 4e-6 + (1 - 4e-6) * (1 + np.cos(np.pi * np.arange(20) / 20)) / 2
    np.testing.assert_allclose(factors, expected, rtol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_over_one_keeps_its_batches_tail_and_workers(engine: Any, workers: int) -> None:
    def loader() -> Any:
        return DataLoader(Shared(), batch_size=M, drop_last=True, num_workers=workers)

    model = net()
    words = {name: value for name, value in WORDS.items() if name != "batch_size"}
    run = mbgd.fit(model, loader(), engine=engine, epochs=2, **words)
    torch.testing.assert_close(flat(model), by_hand(net(), loader(), passes=2)[-1], **CLOSE)
    assert run.resolved["tail"] == "drop"
    assert any("get_worker_info" in said for said in run.notices) == (workers == 2)


def padded(items: list[Any]) -> Any:
    """To the longest of the batch."""
    return pad_sequence([x for x, _ in items], batch_first=True), default_collate([y for _, y in items])


class Ragged(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from ((torch.full((1 + row % 7,), Y[row].item(), dtype=torch.float64), Y[row]) for row in range(N))


class Summed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.last = nn.Linear(1, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x.sum(1, keepdim=True))


def test_a_collate_fn_of_ones_own_gets_the_items_of_one_batch() -> None:
    model = Summed()
    mbgd.fit(
        model,
        DataLoader(Ragged(), batch_size=M, collate_fn=padded),
        loss="squared_error",
        learning_rate=0.01,
        momentum=0.9,
    )
    other = Summed()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.01, momentum=0.9)
    for x, y in DataLoader(Ragged(), batch_size=M, collate_fn=padded):
        optimizer.zero_grad()
        (((other(x)[:, 0] - y) ** 2).sum() / M).backward()
        optimizer.step()
    torch.testing.assert_close(flat(model), flat(other), **CLOSE)


def test_labels_with_positions_divide_by_their_mean_number_so_far() -> None:
    """Tokens (B, T), some ignored: torch's mean over a batch, for a stream whose batches all have as many that count."""

    class Tokens(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            for row in range(20):
                y = torch.tensor([row % 3, (row + 1) % 3, -100])
                yield X[row], y

    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(3)
            self.last = nn.Linear(WIDTH, 9).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x).reshape(-1, 3, 3)

    model, other = Positions(), Positions()
    run = mbgd.fit(model, Tokens(), loss=nn.CrossEntropyLoss(), learning_rate=0.1, batch_size=4)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    for x, y in DataLoader(Tokens(), batch_size=4):
        optimizer.zero_grad()
        nn.CrossEntropyLoss()(other(x), y).backward()
        optimizer.step()
    torch.testing.assert_close(flat(model), flat(other), **CLOSE)
    assert any("mean weight of the rows read so far" in said for said in run.notices)


def test_validation_rows_are_looked_at_after_each_pass() -> None:
    looks: list[Any] = []
    run = mbgd.fit(net(), Rows(), validation=(X, Y), epochs=3, callback=looks.append, **WORDS)
    assert [look.epoch for look in looks] == [1, 2, 3]
    assert all(look.scores for look in looks)
    assert "validation" in run.scores
    assert run.history["step"][-1] == 33
    assert run.history["epoch"][-1] == 3


def test_batch_norm_leaves_a_short_batch_out_and_says_so() -> None:
    model = net(nn.BatchNorm1d(WIDTH))
    run = mbgd.fit(model, Rows(51), **WORDS)  # 51 = 10 * 5 + 1
    assert run.steps_done == 10
    assert run.resolved["tail"] == "drop"
    assert any("BatchNorm" in said for said in run.notices)


def test_what_the_caller_draws_stays_as_it_was() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    mbgd.fit(net(), Rows(), **WORDS)
    net_after = torch.rand(3)
    torch.manual_seed(1)
    assert not torch.equal(expected, net_after)  # net() seeds torch itself
    model = net()
    torch.manual_seed(7)
    mbgd.fit(model, Rows(), **WORDS)
    assert torch.equal(torch.rand(3), expected)


class Noisy(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from ((X[row] + torch.randn(WIDTH), Y[row] + np.random.normal()) for row in range(N))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_it_draws_at_random_is_a_function_of_the_seed(workers: int) -> None:
    def end(seed: int) -> Tensor:
        model = net()
        np.random.seed(workers + seed)
        torch.manual_seed(17 * seed + workers)  # neither of them counts
        mbgd.fit(model, Noisy(), seed=seed, workers=workers, epochs=2, **WORDS)
        return flat(model)

    assert torch.equal(end(3), end(3))
    assert not torch.equal(end(3), end(4))


def test_the_workers_of_an_endless_stream_end_with_the_run() -> None:
    mbgd.fit(net(), Rows(endless=True), workers=2, steps=3, **WORDS)
    assert not multiprocessing.active_children()


class Growing(IterableDataset[Any]):
    """One column more from row `at` on."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __iter__(self) -> Iterator[Any]:
        yield from ((torch.ones(WIDTH + (row >= self.at)).double(), Y[row]) for row in range(N))


class Mixed(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from ((X[row] if row < 20 else X[row].float(), Y[row]) for row in range(N))


class Labels(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from ((X[row], 7 if row == 33 else row % 2) for row in range(N))


def shorter(items: list[Any]) -> Any:
    return default_collate(items[:-1])


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no rows": (lambda: Rows(0), "data must have at least 1 row, got an iterable dataset"),
    "another shape within a batch": (lambda: Growing(12), "cannot be stacked"),
    "another shape in a later batch": (
        lambda: Growing(20),
        r"x float64 of shape \(3,\) at first and .* \(4,\) in rows 20, 21",
    ),
    "another type in a later batch": (Mixed, r"at first and float32 of shape \(3,\) in rows 20"),
    "fewer rows of a collate_fn": (
        lambda: DataLoader(Rows(), batch_size=M, collate_fn=shorter),
        "collate_fn must give one row of x for each of the 5 rows asked for, got 4",
    ),
    "no target": (lambda: DataLoader(Rows(), batch_size=M, collate_fn=len), "tensors"),
    "a loader without batches": (lambda: DataLoader(Rows(), batch_size=None), "batch_size=None"),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", WRONG)
def test_a_stream_of_wrong_items_is_one_sentence(case: str, engine: Any) -> None:
    make, said = WRONG[case]
    words = {name: value for name, value in WORDS.items() if name != "batch_size"} | {"batch_size": M}
    with pytest.raises(DataError, match=said) as caught:
        mbgd.fit(net(), make(), engine=engine, **words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("every", [1, 4, None])
def test_a_wrong_label_is_named_by_its_row_in_the_pass(every: Any) -> None:
    model = nn.Linear(WIDTH, 2).double()
    with pytest.raises(DataError, match="in row 33"):
        list(mbgd.steps(model, Labels(), every=every, batch_size=M, loss="log_loss", learning_rate=0.1))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "all at once": ({"batch_size": "full"}, "batch_size must go without .* got 'full'; give a number"),
    "shuffled": ({"sampling": "reshuffle"}, "sampling must go without .* shuffle in the dataset"),
    "drawn": ({"sampling": "iid"}, "sampling must go without"),
    "even": ({"tail": "even"}, "tail must go without .* give 'short' or 'drop'"),
    "half a pass": ({"epochs": 0.5}, "epochs must be whole .* got 0.5; give steps"),
    "auto": ({"epochs": "auto"}, "epochs='auto' belongs to fit_table"),
    "a cosine": ({"schedule": "cosine"}, "schedule needs a planned end, got 'cosine' .* give steps"),
    "one cycle": ({"schedule": "one_cycle", "epochs": 2}, "schedule needs a planned end"),
    "warm-up": ({"warmup": 0.1}, "warmup needs a planned end, got 0.1 .* give steps"),
    "fading decay": ({"weight_decay": 0.1, "weight_decay_fades": True}, "weight_decay_fades needs a planned end"),
    "a share": ({"validation": 0.1}, r"validation must be \(X, y\) .* got the share 0.1"),
    "a mask": ({"validation": np.arange(N) < 5}, r"validation must be \(X, y\) .* got a mask"),
    "weights": ({"sample_weight": W}, r"sample_weight needs rows by number, .* let it yield \(x, y, weight\)"),
    "going back": ({"on_divergence": "recover"}, "on_divergence must go without"),
}


@pytest.mark.parametrize("loader", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_what_needs_rows_by_number_is_refused_by_name(case: str, loader: bool) -> None:
    words, said = REFUSED[case]
    with pytest.raises(PlanError, match=said) as caught:
        mbgd.fit(net(), DataLoader(Rows(), batch_size=M) if loader else Rows(), **WORDS | words)
    assert "\n" not in str(caught.value)


def test_a_folder_needs_rows_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"out needs rows by number .* run.save\(path\)"):
        mbgd.fit(net(), Rows(), out=tmp_path / "run", **WORDS)
    assert not (tmp_path / "run").exists()
    mbgd.fit(net(), (X, Y), out=tmp_path / "run", steps=2, **WORDS)
    with pytest.raises(PlanError, match="resume needs rows by number"):
        mbgd.resume(tmp_path / "run", net(), Rows())
    run = mbgd.fit(net(), Rows(), **WORDS)
    loaded = mbgd.load(run.save(tmp_path / "model.safetensors"), net())
    np.testing.assert_array_equal(loaded.predict(X), run.predict(X))


def test_batch_norm_and_a_short_batch_are_refused() -> None:
    with pytest.raises(PlanError, match="tail must be 'drop' for a model with BatchNorm"):
        mbgd.fit(net(nn.BatchNorm1d(WIDTH)), Rows(51), tail="short", **WORDS)


@pytest.mark.parametrize("door", ["validation", "predict"])
def test_elsewhere_an_iterable_dataset_is_refused_also_with_a_length(door: str) -> None:
    with warnings.catch_warnings(), pytest.raises(DataError, match="has no order"):
        if door == "validation":
            mbgd.fit(net(), (X, Y), validation=Sized(), **WORDS)
        else:
            mbgd.fit(net(), (X, Y), steps=1, **WORDS).predict(Sized())
