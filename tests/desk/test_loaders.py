"""fit of a DataLoader is the loop that everybody writes over it, and predict takes inputs alone.

The oracle of training is a plain torch loop over torch's own loader, of predictions the same rows as one array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

import mbgd
from mbgd import DataError, PlanError

N, WIDTH, M = 23, 3, 5
CHANCE = torch.Generator().manual_seed(0)
X = torch.randn(N, WIDTH, generator=CHANCE, dtype=torch.float64)
Y = X.sum(1)
WORDS: Any = {"loss": "squared_error", "learning_rate": 0.1, "epochs": 3}


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Linear(WIDTH, 1).double()


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


class Pairs(Dataset[Any]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return X[row], Y[row]


class Given(Sampler[int]):
    """The rows of one epoch after the other, as somebody has drawn them."""

    def __init__(self, epochs: list[list[int]]) -> None:
        self.epochs = epochs

    def __iter__(self) -> Iterator[int]:
        return iter(self.epochs.pop(0))

    def __len__(self) -> int:
        return len(self.epochs[0])


def by_hand(model: nn.Module, loader: Any, *, epochs: int = 3) -> Tensor:
    """Plain SGD; each batch is divided by the batch size, the short last one too."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            (((model(x)[:, 0] - y) ** 2).sum() / M).backward()
            optimizer.step()
    return flat(model)


def own(items: list[Any]) -> Any:
    x, y = default_collate(items)
    return 2 * x, y


def mixed(items: list[Any]) -> Any:
    """MixUp within the batch: what comes out depends on which items are in it."""
    x, y = default_collate(items)
    return 0.7 * x + 0.3 * x.flip(0), 0.7 * y + 0.3 * y.flip(0)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("collate", [None, own, mixed])
@pytest.mark.parametrize("tensors", [False, True])
def test_fit_of_a_loader_is_the_loop_over_it(engine: str, workers: int, collate: Any, tensors: bool) -> None:
    if workers and (tensors or engine == "fused"):
        return  # the same road as without them
    held: Dataset[Any] = TensorDataset(X, Y) if tensors else Pairs()
    ours = net()
    loader = DataLoader(held, batch_size=M, collate_fn=collate, num_workers=workers)
    run = mbgd.fit(ours, loader, engine=engine, **WORDS)
    assert run.resolved["engine"] == engine
    theirs = by_hand(net(), DataLoader(held, batch_size=M, collate_fn=collate))
    torch.testing.assert_close(flat(ours), theirs, rtol=1e-12, atol=1e-12)  # sums of 5 rows in another order


SAMPLERS: dict[str, Callable[[], Any]] = {
    "weighted": lambda: WeightedRandomSampler([1.0] * 7 + [0.0] * (N - 7), 30),
    "a subset": lambda: SubsetRandomSampler(range(3, 14)),
    "some": lambda: RandomSampler(range(N), num_samples=8),
    "by its generator": lambda: RandomSampler(range(N), replacement=True, generator=torch.Generator().manual_seed(1)),
    "the first of them": lambda: SequentialSampler(range(9)),
}


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_samplers_rows_and_no_others_are_trained_on(name: str, tensors: bool, engine: str) -> None:
    """The rows that it drew, trained on in a plain loop, give the same weights; `batches` of the seed draws the same."""
    held: Dataset[Any] = TensorDataset(X, Y) if tensors else Pairs()
    seed = {} if name == "by its generator" else {"seed": 6}
    drawn = mbgd.batches(DataLoader(TensorDataset(torch.arange(N)), M, sampler=SAMPLERS[name]()), **seed)
    rows = [torch.cat([batch for (batch,) in drawn]).tolist() for _ in range(3)]
    assert set(sum(rows, [])) <= set(SAMPLERS[name]()) | (set(range(N)) if "some" in name or "its" in name else set())
    ours = net()
    run = mbgd.fit(ours, DataLoader(held, M, sampler=SAMPLERS[name]()), engine=engine, **seed, **WORDS)
    assert run.steps_done == 3 * -(-len(rows[0]) // M)
    theirs = by_hand(net(), DataLoader(Pairs(), batch_size=M, sampler=Given(rows)))
    torch.testing.assert_close(flat(ours), theirs, rtol=1e-12, atol=1e-12)


class Stopping(Pairs):
    """Somebody presses Ctrl-C while its k-th row is read."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __getitem__(self, row: int) -> Any:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().__getitem__(row)


@pytest.mark.parametrize("collate", [None, mixed])
@pytest.mark.parametrize("left", [34, 58, 80])
def test_a_sampler_draws_the_same_after_a_resume(tmp_path: Path, left: int, collate: Any) -> None:
    def loader(held: Dataset[Any]) -> DataLoader[Any]:
        return DataLoader(held, batch_size=M, sampler=SAMPLERS["weighted"](), collate_fn=collate)

    words: Any = {**WORDS, "checkpoint_every": 1}
    whole, broken, again = net(), net(), net()
    mbgd.fit(whole, loader(Pairs()), **words)
    with pytest.raises(KeyboardInterrupt):
        mbgd.fit(broken, loader(Stopping(left)), out=tmp_path / "run", **words)
    run = mbgd.resume(tmp_path / "run", again, loader(Pairs()))
    assert run.steps_done == 3 * 6
    assert torch.equal(flat(again), flat(whole))


def test_a_collate_function_gets_the_items_of_one_batch_and_no_others() -> None:
    seen: list[int] = []

    def counted(items: list[Any]) -> Any:
        seen.append(len(items))
        return default_collate(items)

    loader = DataLoader(Pairs(), batch_size=M, shuffle=True, collate_fn=counted)
    run = mbgd.fit(net(), loader, validation=0.5, **WORDS)
    assert run.steps_done == 3 * 3
    assert set(seen) == {5, 2, 1}  # 12 rows to train on, 11 held out
    run.predict(loader)
    assert max(seen) == M


class Words(nn.Module):
    """Takes rows of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = nn.Embedding(7, 4).double(), nn.Linear(4, 1).double()

    def forward(self, codes: Tensor) -> Any:
        return self.last(self.table(codes).mean(1))


class Ragged(Dataset[Any]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return torch.full((1 + row % 5,), row % 7), Y[row]


def padded(items: list[Any]) -> Any:
    x, y = zip(*items, strict=True)
    return pad_sequence(list(x), batch_first=True), torch.stack(y)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_padded_to_their_longest_differ_in_width(workers: int) -> None:
    torch.manual_seed(0)
    ours = Words()
    theirs = Words()
    theirs.load_state_dict(ours.state_dict())
    loader = DataLoader(Ragged(), batch_size=M, collate_fn=padded, num_workers=workers)
    run = mbgd.fit(ours, loader, validation=loader, **WORDS)
    by_hand(theirs, DataLoader(Ragged(), batch_size=M, collate_fn=padded))
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        wanted = torch.cat([theirs(x)[:, 0] for x, _ in DataLoader(Ragged(), batch_size=M, collate_fn=padded)])
    np.testing.assert_allclose(run.predict(loader), wanted.numpy(), rtol=1e-12)
    assert run.scores["validation"]["rmse"] == pytest.approx(float((wanted - Y).square().mean().sqrt()), rel=1e-9)


def some(items: list[Any]) -> Any:
    return default_collate(items[:-1] if len(items) == M else items)


def fewer_y(items: list[Any]) -> Any:
    x, y = default_collate(items)
    return x, y[:-1]


def one_y(items: list[Any]) -> Any:
    x, y = default_collate(items)
    return x, y.sum()


class Changing(Pairs):
    """What a read gives depends on which rows it asks for."""

    def __init__(self, late: Callable[[int], Any]) -> None:
        self.late = late

    def __getitem__(self, row: int) -> Any:
        return super().__getitem__(row) if row < 10 else self.late(row)


class Fewer(Pairs):
    def __getitems__(self, rows: list[int]) -> list[Any]:
        return [self[row] for row in rows if row != 15]


def loaded(collate: Any) -> Callable[[], Any]:
    return lambda: DataLoader(Pairs(), batch_size=M, collate_fn=collate)


READS: dict[str, tuple[Callable[[], Any], str]] = {
    "fewer rows": (
        loaded(some),
        "collate_fn must give one row of x for each of the 5 rows asked for, got 4 rows; leave",
    ),
    "fewer targets": (
        loaded(fewer_y),
        "collate_fn must give one row of y for each of the 5 rows asked for, got 4 rows",
    ),
    "one target": (
        loaded(one_y),
        "collate_fn must give one row of y for each of the 5 rows asked for, got a single num",
    ),
    "fewer items": (Fewer, "__getitems__ must give one item for each of the 23 rows asked for, got 22 items"),
    "another width": (
        lambda: Subset(Changing(lambda i: (X[i, :2], Y[i])), [*range(10), *[11] * 10]),
        "items of a dataset must be tensors, arrays or numbers of equal shapes, got what cannot be stacked: ",
    ),
    "another type": (
        lambda: Changing(lambda i: (X[i].float(), Y[i])),
        "items of a dataset must have the same parts, shapes and types in each read, got x float64 of shape (3,) at first and "
        "float32 of shape (3,) in rows ",
    ),
    "another width in a later read": (
        lambda: Changing(lambda i: (X[i, :2], Y[i])),
        "items of a dataset must have the same parts, shapes and types in each read, got x float64 of shape (3,) at first and "
        "float64 of shape (2,) in rows ",
    ),
    "another structure": (
        lambda: Changing(lambda i: ({"a": X[i]}, Y[i])),
        "items of a dataset must have the same parts, shapes and types in each read, got x, y at first and x['a'], y in rows ",
    ),
}


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("name", READS)
def test_a_read_that_gives_something_else_is_one_sentence(name: str, engine: str) -> None:
    make, said = READS[name]
    data, words = make(), {}
    if isinstance(
        data, Changing
    ):  # in natural order, ten rows at a time: those that differ come in a read of their own
        data, words = DataLoader(data, batch_size=10), {"checkpoint_every": 1}
    with pytest.raises(DataError) as caught:
        mbgd.fit(net(), data, engine=engine, **{**WORDS, **words})
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


# --- predict ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run() -> Any:
    return mbgd.fit(net(), (X, Y), **WORDS)


def rows(k: int) -> list[list[float]]:
    return [[i + 0.5, 1.0 + i, -i] for i in range(k)]


LISTS: dict[str, Callable[[list[list[float]]], Any]] = {
    "lists": lambda listed: listed,
    "tuples": lambda listed: [tuple(row) for row in listed],
    "arrays": lambda listed: [np.array(row) for row in listed],
    "tensors": lambda listed: [torch.tensor(row) for row in listed],
    "a tuple of one input": lambda listed: (np.array(listed),),
    "a named input": lambda listed: {"input": np.array(listed)},
    "a frame": lambda listed: pd.DataFrame(listed),
    "a dataset": lambda listed: TensorDataset(torch.tensor(listed)),
    "a dataset of pairs": lambda listed: TensorDataset(torch.tensor(listed), torch.zeros(len(listed))),
    "a loader": lambda listed: DataLoader(TensorDataset(torch.tensor(listed)), batch_size=2, shuffle=True),
}


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("name", LISTS)
def test_rows_are_rows_however_few_and_however_held(run: Any, tmp_path: Path, name: str, k: int) -> None:
    wanted = run.predict(np.array(rows(k)))
    assert wanted.shape == (k,)
    np.testing.assert_allclose(
        run.predict(LISTS[name](rows(k))), wanted, rtol=1e-6
    )  # tensors of Python's floats: float32
    loaded = mbgd.load(run.save(tmp_path / "model"), net())
    np.testing.assert_allclose(loaded.predict(LISTS[name](rows(k))), wanted, rtol=1e-6)


def test_whole_numbers_are_rows_as_well(run: Any) -> None:
    wanted = run.predict(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    for held in ([[1, 2, 3], [4, 5, 6]], np.array([[1, 2, 3], [4, 5, 6]]), pd.DataFrame([[1, 2, 3], [4, 5, 6]])):
        np.testing.assert_array_equal(run.predict(held), wanted)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((X, Y), r"X must fit the model, got rows of shape \(3,\) float64, \(\) float64, which its forward refuses: "),
        (
            {"input": X, "labels": Y},
            r"X must fit the model, got rows of shape input \(3,\) float64, labels \(\) float64",
        ),
        (np.ones((2, WIDTH + 1)), r"X must fit the model, got rows of shape \(4,\) float64, which its forward refuses"),
        (
            np.ones(WIDTH),
            r"X must have one output a row, got 1 for 3 rows of shape \(\); give \(n, ...\), one row as X",
        ),
        ([], "data must have at least 1 row, got 0"),
        ((), "X must hold at least one input, got none"),
        ([X, Y], "X must have rows of one shape, got list of several"),
        ([(X[0], Y[0]), (X[1], Y[1])], "X must have rows of one shape, got list of several"),
    ],
)
def test_targets_are_no_inputs(run: Any, given: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"^{said}") as caught:
        run.predict(given)
    assert "\n" not in str(caught.value)


def test_classes_take_lists_of_rows_too() -> None:
    torch.manual_seed(0)
    run = mbgd.fit(nn.Linear(WIDTH, 3), (X.float(), torch.arange(N) % 3), loss="log_loss", learning_rate=0.1, epochs=1)
    for k in (1, 2, 3):
        wanted = run.predictor.predict_proba(np.array(rows(k), np.float32))
        assert wanted.shape == (k, 3)
        np.testing.assert_allclose(run.predictor.predict_proba(rows(k)), wanted, rtol=1e-6)


def test_two_inputs_are_a_tuple() -> None:
    model = nn.Bilinear(WIDTH, WIDTH, 1).double()
    run = mbgd.fit(model, ((X, X), Y), **{**WORDS, "learning_rate": 1e-3})
    with torch.no_grad():
        np.testing.assert_allclose(run.predict((X, X)), model(X, X)[:, 0].numpy(), rtol=1e-12)
        np.testing.assert_allclose(run.predict((X.tolist(), X)), model(X, X)[:, 0].numpy(), rtol=1e-12)


def test_a_few_arrays_in_a_list_may_be_rows_or_x_and_y() -> None:
    for data in ([X, Y], [X, Y, Y], [X.numpy(), Y.numpy()], [pd.DataFrame(X.numpy()), pd.Series(Y.numpy())]):
        with pytest.raises(
            DataError, match=r"^data must say what its parts are, got a list of \d arrays, which may be rows"
        ):
            mbgd.fit(net(), data, **WORDS)
    for pairs in ([(X[0], Y[0])], [(X[0], Y[0]), (X[1], Y[1])], list(zip(X, Y, strict=True))):
        assert mbgd.fit(net(), pairs, **WORDS).resolved["training_rows"] == len(pairs)


@pytest.mark.parametrize("by_batches", [False, True])
def test_the_rows_of_a_validation_loader_are_those_that_its_sampler_draws(by_batches: bool) -> None:
    """As tutorials split rows: SubsetRandomSampler for training, another for validation."""
    kept, held = list(range(3, N)), [0, 1, 2]
    how: Any = (
        {"batch_sampler": [[2, 0], [1]]} if by_batches else {"batch_size": 2, "sampler": SubsetRandomSampler(held)}
    )
    for data in (Pairs(), TensorDataset(X, Y)):
        loader = DataLoader(data, batch_size=M, sampler=SubsetRandomSampler(kept))
        run = mbgd.fit(net(), loader, validation=DataLoader(data, **how), **WORDS)
        wanted = float(np.square(run.predict(X[held]) - Y[held].numpy()).mean())
        assert run.scores["validation"]["rmse"] == pytest.approx(wanted**0.5, rel=1e-9)
        with pytest.raises(
            DataError, match=r"^data must be rows in their order to predict for, got a DataLoader with Sub"
        ):
            run.predict(loader)


def test_a_loader_without_a_batch_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"^data must have at least one batch, got a DataLoader with drop_last and batch_"
    ):
        mbgd.fit(net(), DataLoader(Pairs(), batch_size=N + 1, drop_last=True), **WORDS)


def test_a_sampler_that_draws_another_number_is_refused() -> None:
    class Longer(Given):
        def __len__(self) -> int:
            return 9

    loader = DataLoader(Pairs(), batch_size=M, sampler=Longer([[0, 1, 2]] * 9))
    with pytest.raises(
        DataError, match=r"^a sampler must draw as many rows each epoch as its len\(\) says, 9, got 3 in"
    ):
        mbgd.fit(net(), loader, **WORDS)
    for sampler in ([0, N], [0, -1]):
        with pytest.raises(DataError, match=r"^list must draw rows 0 to 22, got "):
            mbgd.fit(net(), DataLoader(TensorDataset(X, Y), batch_size=M, sampler=sampler), **WORDS)
    with pytest.raises(
        PlanError, match=r"^validation must be \(X, y\) for a loader with list, which would draw the rows"
    ):
        mbgd.fit(net(), DataLoader(Pairs(), sampler=[0, 1]), validation=0.5, **WORDS)


def collated(batch: Callable[[Any, Any], Any]) -> DataLoader[Any]:
    pairs = list(zip(X, Y, strict=True))
    return DataLoader(pairs, batch_size=M, collate_fn=lambda items: batch(*default_collate(items)))


def test_a_collate_fn_may_return_numpys_arrays() -> None:
    ours, theirs = net(), net()
    mbgd.fit(ours, collated(lambda x, y: (x.numpy(), y.numpy())), **WORDS)
    mbgd.fit(theirs, collated(lambda x, y: (x, y)), **WORDS)
    assert torch.equal(flat(ours), flat(theirs))


class Odd(Dataset[Any]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return X[row], Y[row]

    def __getitems__(self, rows: list[int]) -> Any:
        return None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: collated(lambda x, y: None), "collate_fn must return the batch that it makes of its items, got None"),
        (Odd, "__getitems__ must give one item for each of the 2 rows asked for, got 0 items"),
        (lambda: DataLoader(TensorDataset(X, Y), sampler=[]), "list must draw at least 1 row an epoch, got a len"),
        (lambda: DataLoader(TensorDataset(X, Y), sampler=[1.5]), r"list must draw row numbers, got \[1.5\] in epoch 1"),
        (lambda: "rows.csv", "data must be rows in memory, got str 'rows.csv'; a file goes to fit_table"),
        (lambda: TensorDataset(X), "data must be"),
        (lambda: Subset(list(zip(X)), range(5)), "data must have a target, got inputs alone"),
        (lambda: None, "got NoneType; give arrays or tensors, a map-style dataset or a DataLoader"),
    ],
)
def test_what_is_no_data_is_refused_in_one_sentence(data: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        mbgd.fit(net(), data(), **WORDS)


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, a: Tensor, b: Tensor) -> Any:
        return self.inner(torch.cat([a, b], 1))


def test_items_of_inputs_alone_are_rows_to_predict_for() -> None:
    run = mbgd.fit(net(), (X, Y), **WORDS)
    want = run.predict(X)
    assert np.array_equal(run.predict(ConcatDataset([TensorDataset(X[:9]), TensorDataset(X[9:])])), want)
    assert np.array_equal(run.predict(list(X)), want)
    named = mbgd.fit(Named(), {"a": X[:, :2], "b": X[:, 2:], "labels": Y}, **WORDS)
    want = named.predict({"a": X[:, :2], "b": X[:, 2:]})
    items = [{"b": row[2:], "a": row[:2]} for row in X]
    assert np.array_equal(named.predict(items), want)
    assert np.array_equal(named.predict([item | {"labels": 0.0} for item in items]), want)
    for odd in ("rows.csv", None, 3.0):
        with pytest.raises(DataError, match="^data must"):
            run.predict(odd)
    with pytest.raises(DataError, match=r"X must fit the model, got rows of shape (\(\) float64, ){4}\.\.\., which"):
        run.predict(tuple(np.zeros((99, 2))))


def test_a_table_of_single_values_is_refused() -> None:
    frame = {"a": X[:, 0].numpy(), "t": ["u", "v"] * (N // 2) + ["u"], "y": Y.numpy()}
    run = mbgd.fit_table(frame, "y", epochs=1, hidden_layer_sizes=(), validation=None, test="none")
    for row in ({"a": 1.0, "t": ["u"]}, {"a": [1.0], "t": "u"}):
        with pytest.raises(
            DataError, match=r"must hold a value for each row, got one (float|str); give a list of values"
        ):
            run.predict(row)
