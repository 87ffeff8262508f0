"""A network on paper and the rows of a batch in, an error out where no memory of this machine would hold its members."""

from __future__ import annotations

from mbgd.errors import PlanError
from mbgd.model.body import memory_of_machine
from mbgd.model.table import TableModel

ROWS_OF_A_BLOCK = 64  # the fewest that the fused engine keeps outputs of; autograd keeps those of a batch
MOMENTS = {"adam": 2, "adamw": 2, "tabular": 2}  # numbers that an optimizer keeps of each weight


def check_members(model: TableModel, *, batch_rows: int, optimizer: object) -> None:
    """Raises PlanError for more members than memory holds of what each adds, from below: weights, their gradient and what the
    optimizer keeps of them, and each row's inputs and units. What members share is not counted, nor refused here."""
    has, members = memory_of_machine(), model.shared_members
    if has is None or members == 1:
        return
    own = model.scale.numel() + sum(p.numel() for p in [*model.body][-1].parameters())
    copies = 2 + (MOMENTS.get(optimizer, 0) if isinstance(optimizer, str) else 0)
    rows = min(ROWS_OF_A_BLOCK, batch_rows)
    size = 4 * (copies * own + members * rows * (model.width + sum(model.hidden_layer_sizes)))
    if size > has:
        raise PlanError(
            f"shared_members must fit in memory, got {members:,} that take {size / 1e9:,.0f} GB at least where there are "
            f"{has / 1e9:,.0f} GB; 4 to 32 are usual"
        )
