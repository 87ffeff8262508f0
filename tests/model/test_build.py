"""Law: a built model computes what its sizes say, from start values that are a function of the seed alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mbgd.errors import PlanError, SavedFileError
from mbgd.model.build import MLP, architecture, build, linear, mlp
from mbgd.model.table import TableModel

B, F = 11, 3
CARDINALITIES = (4, 17, 1, 9, 10, 2)  # with code 0: the 17 and the 10 are embedded, the others spread out
HOT = [(0, 1), (0, 2), (0, 3), *((3, code) for code in range(1, 9)), (5, 1)]


def table_model(**more: object) -> TableModel:
    return TableModel(F, CARDINALITIES, **{"hidden_layer_sizes": (6, 5), **more})  # type: ignore[arg-type]


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    codes = torch.stack([torch.randint(0, size, (B,), generator=draw) for size in CARDINALITIES], dim=1)
    codes[0] = 0  # nothing known of the first row
    return torch.randn(B, F, generator=draw), codes


def by_hand(model: nn.Module, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Layer after layer in float64: x W' + b, cut off at 0 but for the last."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    for i, layer in enumerate(layers):
        x = x @ layer.weight.detach().numpy().astype(np.float64).T + layer.bias.detach().numpy()
        x = np.maximum(x, 0) if i < len(layers) - 1 else x
    return x


@pytest.mark.parametrize("n_outputs", [1, 4])
def test_a_table_model_computes_what_a_slow_loop_does(n_outputs: int) -> None:
    model = table_model(n_outputs=n_outputs)
    numbers, codes = inputs()
    embedded = dict(zip((1, 4), model.embeddings, strict=True))
    rows = []
    for row in range(B):
        ones = [float(codes[row, column] == code) for column, code in HOT]
        tables = [embedded[column][codes[row, column]].tolist() for column in (1, 4)]
        rows.append([*numbers[row].tolist(), *ones, *tables[0], *tables[1]])
    expected = by_hand(model, np.array(rows))
    output = model(numbers, codes)
    assert output.shape == ((B,) if n_outputs == 1 else (B, n_outputs))
    # float32 sums of at most 31 terms of size 1
    np.testing.assert_allclose(output.detach().numpy().reshape(B, -1), expected, atol=2e-6)


def test_an_unknown_category_is_all_zeros_where_spread_out_and_a_row_of_its_own_where_embedded() -> None:
    model = TableModel(0, (3, 30), hidden_layer_sizes=())
    unknown = model(torch.zeros(1, 0), torch.zeros(1, 2, dtype=torch.int64))
    body = model.body[0]
    assert isinstance(body, nn.Linear)
    expected = body.weight[0, 2:] @ model.embeddings[0][0] + body.bias[0]
    torch.testing.assert_close(unknown[0], expected)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("sizes", [(), (7,), (7, 6, 5)])
def test_an_mlp_computes_what_numpy_does(n_outputs: int, sizes: tuple[int, ...]) -> None:
    model = mlp(F, n_outputs, hidden_layer_sizes=sizes)
    x = inputs()[0]
    output = model(x).detach()
    assert output.shape == ((B,) if n_outputs == 1 else (B, n_outputs))
    np.testing.assert_allclose(output.numpy().reshape(B, -1), by_hand(model, x.double().numpy()), atol=1e-6)


def test_the_linear_model_is_an_mlp_without_hidden_layers() -> None:
    assert architecture(linear(5, 2)) == architecture(MLP(5, 2, hidden_layer_sizes=()))
    assert [tuple(p.shape) for p in linear(5, 2).parameters()] == [(2, 5), (2,)]


def test_every_parameter_gets_a_gradient_and_dropout_is_gone_in_eval_mode() -> None:
    model = table_model(dropout=0.5)
    numbers, codes = inputs()
    assert not torch.equal(model(numbers, codes), model(numbers, codes))
    model(numbers, codes).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    model.eval()
    assert torch.equal(model(numbers, codes), model(numbers, codes))


def test_start_values_are_a_function_of_the_seed_and_touch_no_global_generator() -> None:
    before = torch.get_rng_state()
    models = [table_model(seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12345)
    models.append(table_model(seed=0))
    same, again, other, later = ([p.detach() for p in model.parameters()] for model in models)
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(same, again, later, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(same, other, strict=True))


def test_start_values_follow_torchs_own_rule() -> None:
    model = TableModel(100, (500,), hidden_layer_sizes=(400,), seed=3)
    ours = model.body[0]
    torch.manual_seed(0)
    theirs = nn.Linear(108, 400)
    assert isinstance(ours, nn.Linear)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        ends = torch.stack((a.detach().abs().max(), b.detach().abs().max()))
        assert (ends < 108**-0.5).all()
        assert (ends > 0.98 * 108**-0.5).all()  # 400 uniform draws all below 0.98: probability 3e-4, the seed is fixed
        assert abs(a.detach().mean()) < 4 * 108**-0.5 / (3 * a.numel()) ** 0.5  # four standard errors
    spread = model.embeddings[0].detach()  # 4000 normal draws of spread 0.1
    assert abs(spread.mean()) < 4 * 0.1 / 4000**0.5
    assert abs(spread.std() / 0.1 - 1) < 4 / 8000**0.5


def test_the_default_dtype_and_device_are_taken_as_torch_would() -> None:
    torch.set_default_dtype(torch.float64)
    model = table_model()
    numbers, codes = inputs()
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert model(numbers.double(), codes).dtype == torch.float64
    with torch.device("meta"):
        assert {p.device.type for p in table_model().parameters()} == {"meta"}


def test_numbers_alone_and_categories_alone_will_do() -> None:
    numbers, codes = inputs()
    assert TableModel(F)(numbers, torch.zeros(B, 0, dtype=torch.int64)).shape == (B,)
    assert TableModel(0, CARDINALITIES)(torch.zeros(B, 0), codes).shape == (B,)


@pytest.mark.parametrize(
    "model",
    [linear(3), mlp(4, 2, hidden_layer_sizes=(5,), activation="gelu", dropout=0.25), table_model(n_outputs=3)],
    ids=["linear", "mlp", "table"],
)
def test_an_architecture_goes_through_json_and_builds_the_same_module(model: nn.Module) -> None:
    described = json.loads(json.dumps(architecture(model)))
    again = build(described)
    assert architecture(again) == described
    assert str(again) == str(model)
    assert {n: p.shape for n, p in again.state_dict().items()} == {n: p.shape for n, p in model.state_dict().items()}


def test_a_users_module_has_no_architecture() -> None:
    class Mine(MLP):
        pass

    assert architecture(nn.Linear(2, 1)) is None
    assert architecture(Mine(2)) is None  # its forward may be another


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes must be a whole number of at least 1, got 0"),
        ({"n_outputs": 0}, "n_outputs must be a whole number of at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"activation": "rellu"}, "did you mean 'relu'"),
        ({"embedding_size": -1}, "embedding_size must be"),
    ],
)
def test_wrong_sizes_get_one_sentence(words: dict[str, object], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        table_model(**words)
    with pytest.raises(PlanError, match="at least one input"):
        TableModel(0)


def test_a_description_of_another_version_or_a_damaged_one_gets_one_sentence() -> None:
    with pytest.raises(SavedFileError, match="'table', got 'transformer', which a later mbgd may write"):
        build({"kind": "transformer"})
    with pytest.raises(SavedFileError, match="cannot be built"):
        build({"kind": "mlp", "n_inputs": 3})
