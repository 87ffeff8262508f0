"""Law: dropout that is lent a generator drops what torch's own drops, to the last bit, and leaves the global one alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mbgd.step.dropout import drawing_from, is_plain, plain_dropouts


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_it_drops_what_torch_drops(dtype: torch.dtype, rate: float, inplace: bool, training: bool) -> None:
    layer = nn.Dropout(rate, inplace=inplace).train(training)
    found, global_state = [], torch.get_rng_state()
    for own in (False, True):
        x = torch.linspace(-3, 3, 1001, dtype=dtype, requires_grad=True)
        generator = torch.Generator().manual_seed(5)
        if own:
            with drawing_from(generator, [layer]):
                y = layer(x * 1)
            assert torch.equal(torch.get_rng_state(), global_state)
        else:
            torch.manual_seed(5)
            y = layer(x * 1)
            torch.set_rng_state(global_state)
        y.backward(torch.linspace(1, 2, 1001, dtype=dtype))
        assert x.grad is not None
        found.append((y.detach(), x.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("shape", [(0,), (3, 0), (2, 3, 4, 5)])
def test_any_shape_and_a_transposed_tensor(shape: tuple[int, ...]) -> None:
    layer, x = nn.Dropout(0.4), torch.ones(shape).transpose(0, -1)
    torch.manual_seed(3)
    expected = layer(x)
    with drawing_from(torch.Generator().manual_seed(3), [layer]):
        assert torch.equal(layer(x), expected)


def test_layers_are_as_before_whatever_happens_inside() -> None:
    layer = nn.Dropout(0.4)
    before = dict(vars(layer))
    with pytest.raises(KeyError), drawing_from(torch.Generator(), [layer]):
        raise KeyError
    assert vars(layer) == before
    assert repr(copy.deepcopy(layer)) == repr(layer)


def test_only_torchs_own_layer_is_meant() -> None:
    class Own(nn.Dropout):
        pass

    replaced = nn.Dropout(0.4)
    replaced.forward = lambda input: input + torch.rand(1)  # type: ignore[method-assign]  # as a user may
    model = nn.Sequential(nn.Dropout(0.4), nn.Dropout(0.0), nn.Dropout1d(0.4), nn.AlphaDropout(0.4), Own(0.4), replaced)
    assert plain_dropouts(model) == [model[0]]
    assert [is_plain(layer) for layer in model] == [True, True, False, False, False, False]
