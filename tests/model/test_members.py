"""Law: members that share a body are as many networks of their own, tied where they share, and their mean is the output."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engines import Case, close, engine, target
from mbgd.data.order import Order
from mbgd.data.stream import chunks
from mbgd.errors import PlanError
from mbgd.model.arrays import network
from mbgd.model.build import architecture, build
from mbgd.model.start import start_from_data
from mbgd.model.table import TableModel

N, EXACT = 40, 1e-12  # float64: some hundred roundings of 1e-16 each on numbers of size 1
CARDINALITIES, EDGES = (4, 20), ((-1.0, 0.0, 0.5), (), (-2.0, 2.0))  # widths whose inverse is exact
OWN = ("scale", "body.4.weight", "body.4.bias")  # of each member


def shared(members: int, *, outputs: int = 1, dropout: float = 0.0, seed: int = 3) -> TableModel:
    model = TableModel(
        3,
        CARDINALITIES,
        outputs,
        hidden_layer_sizes=(9, 6),
        activation="silu",
        edges=EDGES,
        scaled=True,
        dropout=dropout,
        shared_members=members,
        seed=seed,
    ).double()
    with torch.no_grad():
        model.number_embedding.normal_(generator=torch.Generator().manual_seed(seed))
    return model


def alone(model: TableModel, member: int) -> TableModel:
    """One of the members as a model of its own, made by its sizes and by the numbers that belong to it."""
    one = shared(1, outputs=model.n_outputs)
    of_all = model.state_dict()
    one.load_state_dict({name: values[member] if name in OWN else values for name, values in of_all.items()})
    return one


def rows() -> tuple[Tensor, Tensor]:
    chance = np.random.default_rng(1)
    codes = np.stack([chance.integers(0, size, N) for size in CARDINALITIES], 1)
    return torch.tensor(chance.normal(size=(N, 3)) * 2), torch.tensor(codes)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("members", [2, 5])
def test_their_mean_is_the_output(members: int, outputs: int) -> None:
    model = shared(members, outputs=outputs)
    each = torch.stack([alone(model, k)(*rows()) for k in range(members)])
    torch.testing.assert_close(model.of_each(*rows()), each, rtol=0, atol=EXACT)
    for training in (True, False):
        torch.testing.assert_close(model.train(training)(*rows()), each.mean(0), rtol=0, atol=EXACT)
    assert each.std(0).mean() > 0.01  # else the mean would say nothing


@pytest.mark.parametrize(
    ("loss", "outputs"), [("squared_error", 1), ("huber", 3), ("log_loss", 1), ("log_loss", 3), ("quantile", 2)]
)
def test_the_gradient_is_the_mean_of_theirs(loss: str, outputs: int) -> None:
    """Of what they share the sum of what each member's own loss gives it, of what is theirs that of their own, over M."""
    members, model = 3, shared(3, outputs=outputs)
    levels = {"levels": (0.1, 0.8)} if loss == "quantile" else {}
    y = target(loss, N, 1 if levels else outputs)
    w = torch.tensor(np.random.default_rng(2).uniform(0.1, 3, N))
    made = Case(model, rows(), y, loss, w=w, m=16, outputs=(outputs,) if outputs > 1 else (), loss_options=levels)
    by = engine(made, fused=False)
    chunk = next(iter(chunks(made.source(), Order(N, seed=1), batch_size=16)))
    some = chunk.row_ids(1).tolist()
    found = dict(zip(dict(model.named_parameters()), split(by.engine.gradient(chunk, 1), model), strict=True))
    expected = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    prepared = made.source().data.y
    for k in range(members):
        one = alone(model, k)
        of_row = made.made_loss().per_row(one(*(part[some] for part in rows())), prepared[some])
        ((w[some] * of_row).sum() / (16 * w.mean()) / members).backward()
        for name, value in one.named_parameters():
            (expected[name][k] if name in OWN else expected[name]).add_(value.grad)
    for name, value in expected.items():
        close(found[name], value, within=EXACT)
        assert value.abs().max() > 1e-6


def split(flat: Tensor, model: nn.Module) -> list[Tensor]:
    parameters = list(model.parameters())
    each = flat.split([p.numel() for p in parameters])
    return [part.reshape(p.shape) for part, p in zip(each, parameters, strict=True)]


def test_losses_are_the_means_of_theirs() -> None:
    """Of a mean of outputs far from the members' own it would be another: 1 and -1 around a target of 0."""
    model = shared(2)
    with torch.no_grad():
        model.body[4].weight.zero_()
        model.body[4].bias.copy_(torch.tensor([[1.0], [-1.0]]))
    made = Case(model, rows(), torch.zeros(N), m=N, outputs=(), options={"learning_rate": 1e-9})
    by = engine(made, fused=False)
    chunk = next(iter(chunks(made.source(), Order(N, seed=1), batch_size=N)))
    found = by.engine.run(chunk, range(1), rate_factors=np.ones(1), steps_done=0)
    assert found.tolist() == [1.0] * N


def test_each_member_has_masks_of_its_own() -> None:
    model = shared(2, dropout=0.5)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name in ("scale", "body.6.weight", "body.6.bias"):
                value[1] = value[0]
    first, second = model.eval().of_each(*rows())
    assert torch.equal(first, second)
    first, second = model.train().of_each(*rows())
    assert not torch.equal(first, second)


def test_the_start_is_of_the_seed_alone_and_sets_members_apart() -> None:
    first, again, other = shared(4, seed=1), shared(4, seed=1), shared(4, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    for (name, a), b in zip(first.named_parameters(), other.parameters(), strict=True):
        assert not torch.equal(a, b), name
    for k in range(1, 4):
        assert not torch.equal(first.scale[0], first.scale[k])
        assert not torch.equal(first.body[4].weight[0], first.body[4].weight[k])
    bound = 6**-0.5
    assert 0.9 * bound < float(first.body[4].weight.detach().abs().max()) <= bound


def test_start_values_from_rows_give_shared_units_spread_1_over_all_members_and_each_head_over_its_own() -> None:
    model = shared(3, outputs=2)
    numbers, codes = rows()
    start_from_data(model, numbers, codes, seed=1)
    with torch.no_grad():
        u = model.of_members(model.inputs(numbers, codes))
        h = model.body[0](u).flatten(0, 1)
        assert h.std(0, correction=0).tolist() == pytest.approx([1.0] * 9)
        heads = model.of_each(numbers, codes)
        assert heads.std(1, correction=0).flatten().tolist() == pytest.approx([1.0] * 6)


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_file_makes_the_same_model_again_and_says_nothing_of_one_member(outputs: int) -> None:
    model = shared(3, outputs=outputs)
    described = architecture(model)
    assert described is not None
    assert described["shared_members"] == 3
    again = build(described).double()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(*rows()), model(*rows()))
    numpy = network(described, {name: values.numpy() for name, values in model.state_dict().items()})
    found = np.stack([numpy(x, c) for x, c in zip(rows()[0].numpy(), rows()[1].tolist(), strict=True)])
    np.testing.assert_allclose(found, model(*rows()).detach().numpy().reshape(N, -1), rtol=0, atol=EXACT)
    assert "shared_members" not in (architecture(shared(1)) or {})


@pytest.mark.parametrize("wrong", [{"hidden_layer_sizes": ()}, {"scaled": False}])
def test_what_cannot_be_shared_is_refused(wrong: dict[str, object]) -> None:
    given = {"hidden_layer_sizes": (4,), "scaled": True, "shared_members": 2} | wrong
    with pytest.raises(PlanError, match="shared_members must have hidden layers to share and scales to differ by"):
        TableModel(2, **given)  # type: ignore[arg-type]
