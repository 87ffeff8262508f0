"""Law: a category code that a model has no place for is refused by every door and engine, as a class label is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import mbgd
from mbgd.errors import DataError
from mbgd.model.table import TableModel

N, CODES = 24, (4, 17)  # a column that becomes ones and zeros, and one that is embedded
Change = Callable[[Tensor], Tensor]


def rows(change: Change = lambda codes: codes) -> tuple[tuple[Tensor, Tensor], Tensor]:
    x = torch.randn(N, 3, generator=torch.Generator().manual_seed(0))
    codes = torch.stack([torch.arange(N) % size for size in CODES], 1)
    return (x, change(codes)), x.sum(1)


def model() -> TableModel:
    return TableModel(3, CODES, 1, hidden_layer_sizes=(4,), one_hot_up_to=5, embedding_size=2)


def put(code: int, column: int) -> Change:
    def change(codes: Tensor) -> Tensor:
        codes[5, column] = code
        return codes

    return change


WRONG: dict[str, tuple[Change, str]] = {
    "the first that is none, one-hot": (put(4, 0), "codes must lie within 0 to 3 in column 0, got 4"),
    "the first that is none, embedded": (put(17, 1), "codes must lie within 0 to 16 in column 1, got 17"),
    "below 0, one-hot": (put(-1, 0), "codes must lie within 0 to 3 in column 0, got -1"),
    "below 0, embedded": (put(-1, 1), "codes must lie within 0 to 16 in column 1, got -1"),
    "far away": (put(2**62, 0), f"codes must lie within 0 to 3 in column 0, got {2**62}"),
    "a column too many": (lambda codes: torch.cat([codes, codes[:, :1]], 1), "codes must "),
    "a column too many, of codes that all columns have": (
        lambda codes: torch.cat([codes % 4] * 3, 1)[:, :3],
        "codes must ",
    ),
}
HOW: Any = {"loss": "squared_error", "batch_size": 8, "epochs": 2, "seed": 0}


def fit(wrong: Any, engine: Any) -> None:
    mbgd.fit(model(), wrong, engine=engine, **HOW)


def steps(wrong: Any, engine: Any) -> None:
    list(mbgd.steps(model(), wrong, engine=engine, **HOW))


def validation(wrong: Any, engine: Any) -> None:
    mbgd.fit(model(), rows(), validation=wrong, engine=engine, **HOW)


def prediction(wrong: Any, engine: Any) -> None:
    mbgd.fit(model(), rows(), engine=engine, **HOW).predict(wrong[0])


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("door", [fit, steps, validation, prediction])
@pytest.mark.parametrize("which", WRONG)
def test_it_is_refused(door: Callable[[Any, Any], None], which: str, engine: str) -> None:
    change, said = WRONG[which]
    with pytest.raises(DataError, match=f"^{said}"):
        door(rows(change), engine)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("door", [fit, steps, validation, prediction])
def test_the_last_of_each_column_is_taken(door: Callable[[Any, Any], None], engine: str) -> None:
    door(rows(lambda codes: torch.cat([codes[:-1], torch.tensor([[3, 16]])])), engine)


def test_codes_of_32_bits_are_refused_alike() -> None:
    """Kernels take int64 alone: these are autograd's."""
    fit(rows(lambda codes: codes.int()), "auto")
    with pytest.raises(DataError, match="codes must lie within 0 to 3 in column 0, got 4"):
        fit(rows(lambda codes: put(4, 0)(codes).int()), "auto")
