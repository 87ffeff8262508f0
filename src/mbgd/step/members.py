"""A model and a loss in, what training takes of them out: of members that share a network each one's outputs and mean loss.

B rows of a batch · M members
"""

from __future__ import annotations

from torch import Tensor, nn

from mbgd.model.table import TableModel
from mbgd.step.gradient import Forward, LossPerRow


def met_again(model: nn.Module) -> int:
    """Parameters of layers that members share, once for every member but the first: so many more does each row meet."""
    if not isinstance(model, TableModel):
        return 0
    shared: int = sum(p.numel() for layer in [*model.body][:-1] for p in layer.parameters())
    return (model.shared_members - 1) * shared


def taught(model: nn.Module, per_row: LossPerRow) -> tuple[Forward, LossPerRow]:
    """(forward, loss of each row) for training: each member is taught by itself, and a row's loss is the mean of theirs.

    The loss of their mean would teach them to make up for each other, and no member would predict anything.
    """
    if not isinstance(model, TableModel) or model.shared_members == 1:
        return model, per_row
    members = model.shared_members

    def mean_loss(output_MB: Tensor, y: Tensor) -> Tensor:
        total_B = per_row(output_MB[0], y)
        for output_B in output_MB[1:]:
            total_B = total_B + per_row(output_B, y)
        return total_B / members

    return model.of_each, mean_loss
