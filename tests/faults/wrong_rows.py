"""Rows that are wrong in one way or another, by a seed, through every door that hands them to kernels; also a program of its own.

    MBGD_CHECK_BOUNDS=1 python tests/faults/wrong_rows.py FIRST COUNT [without-bounds-check]

runs some of them with kernels whose every read and write is checked, names each as it begins, and ends with 0 where each of them
trained or predicted finite numbers, or raised an error that says why.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import mbgd
from mbgd.data import source
from mbgd.data.source import Rows
from mbgd.errors import MBGDError
from mbgd.model.table import TableModel
from mbgd.step.fused import bounds_check

N, WIDTH, CLASSES, CODES = 90, 5, 3, (4, 12)
Chance = np.random.Generator
FAR = (-1, -(2**40), CLASSES, 12, 999, 2**31, 2**62)  # as a label, a code or a column
FUSED: dict[str, Any] = {"engine": "fused", "threads": 1, "learning_rate": 0.01, "seed": 0}


def rows(chance: Chance, *, labels: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.tensor(chance.normal(size=(N, WIDTH)), dtype=torch.float32)
    y = torch.tensor(chance.integers(0, CLASSES, N)) if labels else x.sum(1)
    return x, y, torch.tensor(chance.uniform(0.5, 2, N), dtype=torch.float32)


def network(outputs: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, 6), nn.ReLU(), nn.Linear(6, outputs))


def table() -> TableModel:
    return TableModel(WIDTH, CODES, 1, hidden_layer_sizes=(6,), one_hot_up_to=5, embedding_size=3)


def batch_size(chance: Chance) -> Any:
    return [1, 7, 32, "full"][chance.integers(4)]


def spoilt(chance: Chance, leaf: Tensor) -> Tensor:
    """A tensor of another length, width, type or value."""
    flat, n = leaf.reshape(len(leaf), -1), len(leaf)
    ways: list[Callable[[], Tensor]] = [
        lambda: leaf[: n // 2],
        lambda: leaf[:0],
        lambda: leaf[:1],
        lambda: torch.cat([leaf, leaf]),
        lambda: flat[:, :0],
        lambda: flat[:, :1],
        lambda: torch.cat([flat, flat], 1),
        lambda: leaf.T,
        lambda: leaf.sum(),
        lambda: leaf.to(torch.float16),
        lambda: leaf.to(torch.float64),
        lambda: leaf.to(torch.int8),
        lambda: leaf.to(torch.int64) * 10**12,
        lambda: leaf.to(torch.bool),
        lambda: leaf[..., None],
        lambda: leaf * torch.nan,
        lambda: leaf.flip(0)[::2],
        lambda: torch.full_like(leaf, int(chance.choice(FAR[:5]))),
        lambda: leaf.expand(2, *leaf.shape),
    ]
    return ways[chance.integers(len(ways))]()


class Own:
    """A source of the user's own, whose reads go wrong from one of them on."""

    def __init__(self, chance: Chance, leaves: list[Tensor], *, inputs: int) -> None:
        self._leaves, self._inputs, self._reads = leaves, inputs, 0
        self._from, self._which, self._seed = (
            int(chance.integers(0, 6)),
            int(chance.integers(len(leaves))),
            chance.integers(99),
        )
        self.n_rows = N

    def read(self, wanted: Any) -> Rows:
        index = torch.from_numpy(np.arange(N)[wanted])
        leaves = [leaf[index] for leaf in self._leaves]
        self._reads += 1
        if self._reads > self._from:
            leaves[self._which] = spoilt(np.random.default_rng(self._seed), leaves[self._which])
        x = leaves[0] if self._inputs == 1 else tuple(leaves[: self._inputs])
        return Rows(x, leaves[self._inputs], leaves[self._inputs + 1] if len(leaves) > self._inputs + 1 else None)


def own_source(chance: Chance) -> None:
    labels = bool(chance.integers(2))
    leaves = list(rows(chance, labels=labels))[: 2 + int(chance.integers(2))]
    how = {"loss": "log_loss" if labels else "squared_error", "batch_size": batch_size(chance), "steps": 20}
    model = network(CLASSES if labels else 1)
    finite(model, mbgd.fit(model, Own(chance, leaves, inputs=1), **how, **FUSED).predict(leaves[0]))


def codes_of(chance: Chance) -> Tensor:
    return torch.tensor(np.stack([chance.integers(0, size, N) for size in CODES], 1))


def own_source_of_codes(chance: Chance) -> None:
    x, y, _ = rows(chance)
    model = table()
    mbgd.fit(
        model,
        Own(chance, [x, codes_of(chance), y], inputs=2),
        loss="squared_error",
        batch_size=batch_size(chance),
        steps=20,
        **FUSED,
    )
    finite(model)


def linear_source(chance: Chance) -> None:
    x, y, w = rows(chance)
    model = nn.Linear(WIDTH, 1)
    how = {"loss": "squared_error", "batch_size": batch_size(chance), "steps": 20}
    mbgd.fit(model, Own(chance, [x, y, w], inputs=1), **how, **FUSED)
    finite(model)


class Items(torch.utils.data.Dataset[Any]):
    def __init__(self, chance: Chance, leaves: tuple[Tensor, ...]) -> None:
        self._leaves, self._bad, self._many = leaves, int(chance.integers(N)), bool(chance.integers(2))
        self._which, self._seed = int(chance.integers(2)), int(chance.integers(99))
        if self._many:
            self.__getitems__ = self._several

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        item = [leaf[row] for leaf in self._leaves[:2]]
        if row == self._bad:
            wrong = spoilt(np.random.default_rng(self._seed), item[self._which].reshape(1, -1))
            item[self._which] = wrong[0] if wrong.ndim and len(wrong) else wrong
        return tuple(item)

    def _several(self, wanted: list[int]) -> Any:
        return [self[row] for row in wanted if row != self._bad]


def dataset(chance: Chance) -> None:
    model = network()
    mbgd.fit(model, Items(chance, rows(chance)), loss="squared_error", batch_size=batch_size(chance), epochs=2, **FUSED)
    finite(model)


def collated(chance: Chance) -> None:
    """A collate function that gives wrong tensors once it has been called some times."""
    x, y, w = rows(chance)
    begin, which, seed, calls = int(chance.integers(8)), int(chance.integers(2)), int(chance.integers(99)), [0]

    def collate(items: list[Any]) -> Any:
        leaves = [torch.stack(parts) for parts in zip(*items, strict=True)]
        calls[0] += 1
        if calls[0] > begin:
            leaves[which] = spoilt(np.random.default_rng(seed), leaves[which])
        return tuple(leaves)

    items = [tuple(item) for item in zip(x, y, w, strict=True)]
    loader = DataLoader(items, batch_size=int(chance.integers(1, 40)), collate_fn=collate)  # type: ignore[arg-type]  # a list
    if chance.integers(4) == 0:
        for batch in mbgd.batches(loader):
            assert all(isinstance(part, Tensor) for part in batch)
        return
    model = network()
    mbgd.fit(model, loader, loss="squared_error", epochs=2, **FUSED)
    finite(model)


def arrays(chance: Chance) -> None:
    """Arrays of other shapes, types and values from the start, to `fit`, to its validation, and to `predict`."""
    labels = bool(chance.integers(2))
    x, y, w = rows(chance, labels=labels)
    given = [x, y, w]
    which = int(chance.integers(3))
    given[which] = spoilt(chance, given[which])
    if chance.integers(2):
        given = [np.asfortranarray(part.numpy()) for part in given]
    model = network(CLASSES if labels else 1)
    how = {"loss": "log_loss" if labels else "squared_error", "batch_size": batch_size(chance), "epochs": 2, **FUSED}
    kind = chance.integers(4)
    if kind == 0:
        mbgd.fit(model, (x, y, w), validation=tuple(given[:2]), **how)
    elif kind == 1:
        other = spoilt(chance, x)  # of NaN comes NaN
        predicted = mbgd.fit(model, (x, y, w), **how).predict(other)
        finite(model, predicted if bool(torch.isfinite(other).all()) else None)
    elif kind == 2:
        for _ in mbgd.batches(tuple(given), batch_size=7):
            pass
    else:
        mbgd.fit(model, tuple(given), **how)
    finite(model)


def written_between(chance: Chance) -> None:
    """What the loop is lent is written to, replaced or resized between two of its yields."""
    labels, kind = bool(chance.integers(2)), int(chance.integers(8))
    x, y, _ = rows(chance, labels=labels)
    codes, model = codes_of(chance), table() if kind < 2 and not labels else network(CLASSES if labels else 1)
    data = ((x, codes) if isinstance(model, TableModel) else x, y)
    optimizer: list[torch.optim.Optimizer] = []

    def make(parameters: Any) -> torch.optim.Optimizer:
        optimizer.append(torch.optim.SGD(parameters, lr=0.01, momentum=0.9))
        return optimizer[0]

    how = {"loss": "log_loss" if labels else "squared_error", "batch_size": 7, "epochs": 3, "every": 2}
    how |= {"engine": "fused", "threads": 1, "seed": 0, "optimizer": make} if kind == 7 else FUSED
    for k, _ in enumerate(mbgd.steps(model, data, **how)):
        if k != 0:
            continue
        far = int(chance.choice(FAR))
        parameter = list(model.parameters())[int(chance.integers(4)) % len(list(model.parameters()))]
        if isinstance(model, TableModel):
            codes[int(chance.integers(N)), int(chance.integers(2))] = far
        elif kind < 4 and labels:
            y[int(chance.integers(N))] = far
        elif kind < 4:
            parameter.requires_grad_(False)
        elif kind == 4:
            parameter.data = parameter.data.reshape(-1)[: parameter.numel() // 2]
        elif kind == 5:
            parameter.data = torch.zeros(3, *parameter.shape)
        elif kind == 6:
            model[0] = nn.Linear(WIDTH, int(chance.integers(1, 9)))  # type: ignore[index]
        else:
            held = optimizer[0].state.get(parameter, {})
            for name, value in held.items():
                held[name] = value[:1] if isinstance(value, Tensor) and value.ndim else value
    finite(model)


def matrix(chance: Chance) -> Any:
    made = sp.random(N, 12, density=0.3, format="csr", dtype=np.float32, random_state=int(chance.integers(1 << 30)))
    return sp.csr_array(made)


def tampered(chance: Chance, x: Any) -> Any:
    """One of SciPy's matrices whose pieces do not belong together."""
    far, kind = int(chance.choice(FAR)), int(chance.integers(9))
    numbers = np.int32 if abs(far) < 2**31 else np.int64
    if kind == 0:
        x.indices = x.indices.astype(numbers)
        x.indices[int(chance.integers(x.nnz))] = far
    elif kind == 1:
        x.indptr = x.indptr.astype(numbers)
        x.indptr[int(chance.integers(len(x.indptr)))] = far
    elif kind == 2:
        x.data = x.data[: int(chance.integers(x.nnz))]
    elif kind == 3:
        x.indices = x.indices[: int(chance.integers(x.nnz))]
    elif kind == 4:
        x.indptr = x.indptr[: int(chance.integers(len(x.indptr)))]
    elif kind == 5:
        x.indices[:] = x.indices[::-1].copy()
        x.has_canonical_format = True
    elif kind == 6:
        x.indices[:] = 3
        x.has_sorted_indices = x.has_canonical_format = True
    elif kind == 7:
        x = x.tocoo()
        x.row[int(chance.integers(x.nnz))] = np.clip(far, -(2**31), 2**31 - 1)
    else:
        x = x.tocsc()
        x.indices[int(chance.integers(x.nnz))] = np.clip(far, -(2**31), 2**31 - 1)
    return x


def sparse_model(chance: Chance) -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(12, 1) if chance.integers(2) else nn.Sequential(nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 1))


def sparse(chance: Chance) -> None:
    model, x, y = sparse_model(chance), tampered(chance, matrix(chance)), chance.normal(size=N).astype(np.float32)
    how = {"loss": "squared_error", "batch_size": batch_size(chance), "epochs": 2, **FUSED}
    kind = chance.integers(3)
    if kind == 0:
        finite(model, mbgd.fit(model, (matrix(chance), y), **how).predict(x))
    elif kind == 1:
        mbgd.fit(model, (matrix(chance), y), validation=(x, y), **how)
    else:
        mbgd.fit(model, (x, y), **how)
    finite(model)


def sparse_written_between(chance: Chance) -> None:
    model, x, y = sparse_model(chance), matrix(chance), chance.normal(size=N).astype(np.float32)
    decay = float(chance.choice([0.0, 0.01]))
    how = {"loss": "squared_error", "batch_size": batch_size(chance), "epochs": 3, "every": 2, "weight_decay": decay}
    for k, _ in enumerate(mbgd.steps(model, (x, y), **how, **FUSED)):
        if k == 0:
            far = np.clip(int(chance.choice(FAR)), -(2**31), 2**31 - 1)
            pieces = x.indices if chance.integers(2) else x.indptr
            pieces[int(chance.integers(len(pieces)))] = far
    finite(model)


def estimators(chance: Chance) -> None:
    from mbgd import MBGDClassifier, MBGDRegressor

    x, y, _ = rows(chance, labels=True)
    X: Any = matrix(chance) if chance.integers(2) else x.numpy()
    bad = tampered(chance, X.copy()) if sp.issparse(X) else spoilt(chance, x).numpy()
    kind = chance.integers(4)
    made = (MBGDClassifier if chance.integers(2) else MBGDRegressor)(hidden_layer_sizes=(6,), epochs=2, random_state=0)
    if kind == 0:
        made.fit(bad, y.numpy())
        return
    if kind == 1:
        made.partial_fit(X, y.numpy(), **({"classes": [0, 1, 2]} if isinstance(made, MBGDClassifier) else {}))
        made.partial_fit(bad, y.numpy())
        return
    made.fit(X, y.numpy())
    assert np.isfinite(np.asarray(made.predict(bad), dtype=float)).all()


CASES = (own_source, own_source_of_codes, linear_source, dataset, collated, arrays, written_between, sparse,
         sparse_written_between, estimators)  # fmt: skip


def finite(model: nn.Module, predicted: Any = None) -> None:
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    assert predicted is None or np.isfinite(predicted).all()


def run(seed: int) -> str:
    """What became of a case: "finite", or the error's sentence."""
    case = CASES[seed % len(CASES)]
    try:
        case(np.random.default_rng(seed))
    except MBGDError as error:
        return str(error)
    except ValueError as error:
        if case is not estimators:
            raise
        return str(error)  # scikit-learn's own
    return "finite"


def main(first: int, count: int) -> int:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    wrong: list[int] = []
    seen = [first]
    sys.unraisablehook = lambda told: wrong.append(seen[-1]) or print(f"a leaf reads outside: {told.exc_value}")  # type: ignore[func-returns-value]
    for seed in range(first, first + count):
        print(f"case {seed}", flush=True)
        seen.append(seed)
        try:
            run(seed)
        except Exception as error:
            print(f"case {seed}, {CASES[seed % len(CASES)].__name__}: {type(error).__name__}: {error}", flush=True)
            wrong.append(seed)
    print(f"{count - len(set(wrong))} of {count} within bounds")
    return int(bool(wrong))


def without_bounds_check() -> None:
    """What the checks are there for: seen by taking them out."""
    bounds_check.BoundsCheck.check_chunk = lambda *_: None  # type: ignore[method-assign]
    source.CountedSource.read = lambda self, rows: self.rows.read(rows)  # type: ignore[method-assign]


if __name__ == "__main__":
    if "without-bounds-check" in sys.argv:
        without_bounds_check()
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
