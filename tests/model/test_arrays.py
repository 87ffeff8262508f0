"""A network in NumPy gives the outputs that torch gives, for every architecture that a file can describe."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mbgd.model.arrays import Network, network
from mbgd.model.body import ACTIVATIONS
from mbgd.model.build import MLP, architecture
from mbgd.model.table import TableModel

EDGES = ((), (-1.0, 0.0, 0.5), (), (-2.0, 3.0))


def in_numpy(model: nn.Module) -> Network:
    described = architecture(model)
    assert described is not None
    return network(described, arrays(model))


def arrays(model: nn.Module) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_multilayer_perceptrons(activation: str, dtype: torch.dtype) -> None:
    model = MLP(5, 3, hidden_layer_sizes=(17, 9), activation=activation, dropout=0.3, seed=2).to(dtype).eval()
    x = torch.randn(20, 5, dtype=dtype) * 30  # far out, where activations are flat or overflow
    with torch.no_grad():
        expected = model(x).numpy()
    found = np.stack([in_numpy(model)(row) for row in x.numpy()])
    assert found.dtype == expected.dtype
    # sums of 17 products in another order
    assert found == pytest.approx(expected, rel=1e-4 if dtype is torch.float32 else 1e-12, abs=1e-5)


@pytest.mark.parametrize("edges", [(), EDGES])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("sizes", [(), (8,), (16, 16)])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("cardinalities", [(), (3,), (3, 12, 2, 30)])
def test_table_models(edges: Any, scaled: bool, sizes: Any, outputs: int, cardinalities: tuple[int, ...]) -> None:
    model = TableModel(4, cardinalities, outputs, hidden_layer_sizes=sizes, edges=edges, scaled=scaled, seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-1, 1)  # embeddings and scales start at 0 and 1
    x = torch.randn(30, 4) * 2
    x[0] = torch.tensor([-1.0, 0.0, 0.5, 3.0])  # on the edges
    codes = (
        torch.stack([torch.randint(0, size, (30,)) for size in cardinalities], 1)
        if cardinalities
        else torch.zeros(30, 0)
    )
    codes = codes.long()
    with torch.no_grad():
        expected = model(x, codes).reshape(30, outputs).numpy()
    found = np.stack([in_numpy(model)(row, c) for row, c in zip(x.numpy(), codes.tolist(), strict=True)])
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_categories_alone() -> None:
    model = TableModel(0, (4, 20), 1, hidden_layer_sizes=(4,), seed=1).eval()
    codes = torch.tensor([[0, 0], [3, 19], [1, 7]])
    with torch.no_grad():
        expected = model(torch.zeros(3, 0), codes).tolist()
    empty = np.zeros(0, np.float32)
    assert [float(in_numpy(model)(empty, c)[0]) for c in codes.tolist()] == pytest.approx(expected, rel=1e-5)


def test_arrays_are_not_copied() -> None:
    model = MLP(3, 2, hidden_layer_sizes=(4,))
    found = in_numpy(model)
    with torch.no_grad():
        model.body[2].bias.add_(5.0)
        expected = model(torch.ones(1, 3))[0].tolist()
    assert found(np.ones(3, np.float32)).tolist() == pytest.approx(expected, rel=1e-5)
