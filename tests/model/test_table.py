"""Numbers that bend: a hand-made column, every column's own bins, bounds beyond the edges; scales and start values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mbgd.errors import PlanError
from mbgd.model.build import architecture, build
from mbgd.model.start import start_from_data
from mbgd.model.table import TableModel

NO_CODES = torch.zeros(6, 0, dtype=torch.int64)


def test_a_hand_made_column() -> None:
    """Edges 0, 1, 3 and V = 10, 4: up to 10 at 1, then 4 more at 3, the same beyond."""
    model = TableModel(1, edges=((0.0, 1.0, 3.0),), number_size=1, hidden_layer_sizes=())
    with torch.no_grad():
        model.number_embedding[:] = torch.tensor([[[10.0], [4.0]]])
    x = torch.tensor([[-5.0], [0.0], [0.25], [1.0], [2.0], [99.0]])
    assert model.inputs(x, NO_CODES).tolist() == [[-5, 0], [0, 0], [0.25, 2.5], [1, 10], [2, 12], [99, 14]]


def test_each_number_bends_at_its_own_edges_as_numpy_interpolates() -> None:
    edges = ((-1.0, 0.5), (), (0.0, 0.25, 1.0, 4.0))
    model = TableModel(3, edges=edges, number_size=2, hidden_layer_sizes=()).double()
    chance = np.random.default_rng(0)
    with torch.no_grad():
        model.number_embedding.copy_(torch.tensor(chance.normal(size=model.number_embedding.shape)))
    x = chance.normal(size=(6, 3)) * 3
    found = model.inputs(torch.tensor(x), NO_CODES).detach().numpy()
    place = 3
    for e, column in enumerate((0, 2)):
        for k in range(2):
            bins = len(edges[column]) - 1
            heights = np.concatenate([[0], np.cumsum(model.number_embedding[e, :bins, k].detach().numpy())])
            assert found[:, place] == pytest.approx(np.interp(x[:, column], edges[column], heights))
            place += 1


def test_scales_multiply_every_input() -> None:
    model = TableModel(2, (3,), scaled=True, hidden_layer_sizes=())
    with torch.no_grad():
        model.scale.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert model.inputs(torch.tensor([[5.0, 6.0]]), torch.tensor([[2]])).tolist() == [[5, 12, 0, 4]]


def test_each_input_is_made_of_the_column_that_it_is_said_to_be_of() -> None:
    """Another value in one column moves those inputs and no other: numbers, bent ones, 0/1 columns, embeddings."""
    model = TableModel(3, (4, 30, 12), edges=((0.0, 1.0, 2.0), (), (0.0, 2.0)), number_size=2, scaled=True)
    numbers, codes = model.origins()
    assert len(numbers) + len(codes) == model.width
    x, c = torch.full((1, 3), 0.5), torch.ones(1, 3, dtype=torch.int64)
    before = model.inputs(x, c)
    with torch.no_grad():
        model.number_embedding.fill_(1.0)
        before = model.inputs(x, c)
        for column in range(3):
            there, coded = x.clone(), c.clone()
            there[0, column], coded[0, column] = 1.5, 2
            moved = (model.inputs(there, c) != before)[0].nonzero()[:, 0].tolist()
            assert moved == [place for place, of in enumerate(numbers) if of == column]
            moved = [place - len(numbers) for place in (model.inputs(x, coded) != before)[0].nonzero()[:, 0].tolist()]
            of_it = [place for place, of in enumerate(codes) if of == column]
            assert moved == (of_it if column else of_it[:2])  # of codes 1, 2, 3 two change


@pytest.mark.parametrize("edges", [((0.0,),), ((1.0, 1.0),), ((2.0, 1.0),), ((), ())])
def test_edges_must_rise_and_belong_to_a_number_each(edges: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(PlanError, match="edges must"):
        TableModel(1, edges=edges)


def test_the_architecture_makes_the_same_model_again() -> None:
    model = TableModel(
        2, (12,), edges=((0.0, 0.1, 3.0), ()), number_size=4, scaled=True, hidden_layer_sizes=(5,), seed=3
    )
    described = architecture(model)
    assert described is not None
    again = build(described)
    again.load_state_dict(model.state_dict())
    x, codes = torch.randn(6, 2), torch.arange(6)[:, None]
    assert torch.equal(again(x, codes), model(x, codes))


def test_start_values_from_rows_give_every_unit_spread_1_and_a_kink_among_them() -> None:
    chance = np.random.default_rng(0)
    x = torch.tensor(chance.normal(size=(2000, 3)) * [1, 30, 0.01], dtype=torch.float32)
    codes = torch.zeros(2000, 0, dtype=torch.int64)
    model = TableModel(3, hidden_layer_sizes=(40, 30), dropout=0.5, scaled=True)
    start_from_data(model, x, codes, seed=1)
    u = model.inputs(x, codes).detach()
    for layer in model.body:
        if isinstance(layer, nn.Linear):
            h = layer(u).detach()
            assert h.std(0, correction=0) == pytest.approx(torch.ones(h.shape[1]), abs=1e-3)
            assert ((h.min(0).values < 0) & (h.max(0).values > 0)).all()
        u = u if isinstance(layer, nn.Dropout) else layer(u).detach()
    first = [p.detach().clone() for p in model.parameters()]
    start_from_data(model, x, codes, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first, model.parameters(), strict=True))
