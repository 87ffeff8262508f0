"""A model and some training rows in, start values that suit them: every unit has spread 1, and its kink lies among the rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mbgd.model.body import Heads
from mbgd.model.table import TableModel
from mbgd.seeds import Purpose, counter

ROWS = 4096  # enough for a spread to within a few per cent
ROWS_OF_A_KINK = 5


@torch.no_grad()
def start_from_data(model: TableModel, numbers_RF: Tensor, codes_RC: Tensor, *, seed: int) -> None:
    """Set weights and biases of the body, layer by layer (Holzmueller et al. 2024, appendix A, "std" and "he+5").

    With h = u W over the rows: W ~ N(0, 1), each column divided by the spread of its h; the bias of unit k is minus a
    random mean of h over five rows, so that it bends where there are rows. Dropout is left out. Of several members the
    layers that they share see the rows as all of them do, and each of the last layers as its own does.
    """
    generator = torch.Generator().manual_seed(int(counter(seed, Purpose.INIT, 1).random_raw()))
    u = model.inputs(numbers_RF, codes_RC)
    u = u if model.shared_members == 1 else model.of_members(u)
    for layer in model.body:
        if isinstance(layer, Heads):
            for weight, bias, u_of_it in zip(layer.weight, layer.bias, u, strict=True):
                _start(weight, bias, u_of_it, generator)
            return
        if isinstance(layer, nn.Linear):
            _start(layer.weight, layer.bias, u.flatten(0, -2), generator)
        if not isinstance(layer, nn.Dropout):
            u = layer(u)


def _start(weight: Tensor, bias: Tensor, u: Tensor, generator: torch.Generator) -> None:
    drawn = torch.empty(weight.shape, dtype=torch.float64).normal_(generator=generator)
    h = u.double() @ drawn.T.to(u.device)
    spread = h.std(0, correction=0)
    spread = torch.where(spread > 0, spread, spread.new_tensor(1.0))
    weight.copy_(drawn / spread.cpu()[:, None])
    units = len(weight)
    rows = torch.randint(len(h), (ROWS_OF_A_KINK, units), generator=generator)
    shares = torch.empty(ROWS_OF_A_KINK, units, dtype=torch.float64).exponential_(generator=generator)
    shares /= shares.sum(0)
    picked = (h / spread).gather(0, rows.to(h.device)).cpu()
    bias.copy_(-(shares * picked).sum(0))
