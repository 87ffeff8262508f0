"""Law: the tensors that an architecture is said to have are those of the module that is built from it, and no others pass."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from mbgd.errors import SavedFileError
from mbgd.model.build import MLP, architecture, build
from mbgd.model.outline import check_tensors, outline
from mbgd.model.scaled import ScaledMLP
from mbgd.model.table import TableModel

EDGES = ((), (-1.0, 0.0, 0.5), (), (-2.0, 3.0))
MODELS: list[nn.Module] = [
    MLP(5),
    MLP(5, 3, hidden_layer_sizes=(), dropout=0.5),
    ScaledMLP(4, 2, hidden_layer_sizes=(7, 3), dropout=0.1),
    *(
        TableModel(4, cardinalities, outputs, hidden_layer_sizes=sizes, edges=edges, scaled=scaled, dropout=dropout)
        for cardinalities, outputs, sizes, edges, scaled, dropout in product(
            [(), (3, 12, 2, 30)], [1, 3], [(), (8, 6)], [(), EDGES], [False, True], [0.0, 0.2]
        )
    ),
    TableModel(0, (4, 20)),
    TableModel(2, (9, 10, 11), 2, hidden_layer_sizes=(4,), scaled=True, shared_members=3, embedding_size=5),
    nn.ModuleList([MLP(2), TableModel(1, (4,))]),
]


def facts(model: nn.Module) -> tuple[dict[str, Any], dict[str, tuple[int, ...]], dict[str, str]]:
    described, held = architecture(model), model.state_dict()
    assert described is not None
    return described, {name: tuple(tensor.shape) for name, tensor in held.items()}, dict.fromkeys(held, "F32")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_tensors_are_those_of_the_module(model: nn.Module) -> None:
    described, shapes, types = facts(model)
    assert outline(described) == shapes
    check_tensors(described, shapes, types)
    again = build(described, seed=None)
    assert {name: tuple(tensor.shape) for name, tensor in again.state_dict().items()} == shapes
    assert all(parameter.device.type == "meta" for parameter in again.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "softplus"}, "architecture.activation must be 'relu' or 'tanh' or 'gelu' or 'silu', got 'softplus'"),
        ({"hidden_layer_sizes": [8, 8]}, r"tensor 'body.2.weight' must be of shape \(8, 8\) by its architecture"),
        ({"hidden_layer_sizes": [0]}, r"architecture.hidden_layer_sizes\[0\] must be a whole number from 1 to 100000000, got 0"),
        ({"hidden_layer_sizes": [1 << 40]}, r"hidden_layer_sizes\[0\] must be a whole number from 1 to 100000000"),
        ({"n_numbers": -1}, "architecture.n_numbers must be a whole number from 0 to 100000000, got -1"),
        ({"n_numbers": True}, "architecture.n_numbers must be a whole number from 0"),
        ({"n_numbers": 3}, "architecture.edges must have an entry for each of the 3 numbers, got 4"),
        ({"cardinalities": [3, 1 << 26]}, r"tensor 'embeddings.0' must be of shape \(67108864, 8\) by its architecture"),
        ({"edges": [[], [0.0, 1.0], [], [*range(99)]]}, r"tensor 'number_embedding' must be of shape \(2, 98, 3\)"),
        ({"edges": [[], [1.0, 0.0], [], [0.0, 1.0]]}, r"architecture.edges\[1\] must rise from each entry to the next"),
        ({"edges": [[], [1.0], [], [0.0, 1.0]]}, "architecture.edges must be two for each number that is embedded"),
        ({"edges": [[], [0.0, float("nan")], [], []]}, r"architecture.edges\[1\]\[1\] must be a number of at least -1000"),
        ({"embedding_size": 9}, r"tensor 'embeddings.0' must be of shape \(12, 9\) by its architecture, it is of shape \(12, 8\)"),
        ({"shared_members": 2}, r"tensor 'scale' must be of shape \(2, 20\) by its architecture"),
        ({"dropout": 0.5}, "tensor 'body.3.weight' must be of shape .* by its architecture, it is absent"),
        ({"dropout": "0"}, "architecture.dropout must be a number of at least 0 and below 1, got '0'"),
        ({"kind": "tree"}, "architecture.kind must be 'mlp' or 'scaled_mlp' or 'table', got 'tree'"),
        ({"n_outputs": None}, "architecture.n_outputs must be a whole number"),
    ],
)  # fmt: skip
def test_another_architecture_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    described, shapes, types = facts(TableModel(4, (3, 12), 1, hidden_layer_sizes=(8,), edges=EDGES, scaled=True))
    with pytest.raises(ValueError, match=message):
        check_tensors({**described, **change}, shapes, types)
    if not message.startswith(("tensor", r"tensor")):
        with pytest.raises(SavedFileError, match="cannot be built"):
            build({**described, **change})


def test_tensors_left_over_missing_or_of_other_types_are_refused() -> None:
    described, shapes, types = facts(MLP(3, hidden_layer_sizes=(2,)))
    with pytest.raises(ValueError, match="tensor 'w' must be absent by its architecture"):
        check_tensors(described, {**shapes, "w": (1,)}, types)
    with pytest.raises(
        ValueError, match=r"tensor 'body.2.bias' must be of shape \(1,\) by its architecture, it is absent"
    ):
        check_tensors(described, {name: shape for name, shape in shapes.items() if name != "body.2.bias"}, types)
    with pytest.raises(ValueError, match="must have one floating type, they have F32, F64"):
        check_tensors(described, shapes, {**types, "body.0.bias": "F64"})
    with pytest.raises(ValueError, match="must have one floating type, they have I32"):
        check_tensors(described, shapes, dict.fromkeys(types, "I32"))


def test_several_models_are_named_by_their_number() -> None:
    described, _, _ = facts(nn.ModuleList([MLP(2), MLP(3)]))
    described["models"][1]["n_inputs"] = 0
    with pytest.raises(ValueError, match=r"architecture.models\[1\].n_inputs must be"):
        outline(described)
    for models in ([], None, {}, [1]):
        with pytest.raises(ValueError, match=r"architecture.models"):
            outline({"kind": "several", "models": models})


def test_a_module_without_start_values_takes_them_from_a_file() -> None:
    model = TableModel(4, (3, 12), 2, hidden_layer_sizes=(8,), edges=EDGES, scaled=True, seed=3).double()
    again = build(facts(model)[0], seed=None).double()
    again.load_state_dict(model.state_dict(), assign=True)
    x, codes = torch.randn(6, 4, dtype=torch.float64), torch.randint(0, 3, (6, 2))
    assert torch.equal(model(x, codes), again(x, codes))
