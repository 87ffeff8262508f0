"""The number of updates that a run is planned to make, and the rows that its schedule counts on."""

from __future__ import annotations

import math

from mbgd.data.order import Tail, steps_per_epoch
from mbgd.desk.plan import Plan
from mbgd.errors import PlanError

EPOCHS = 10.0  # where nothing else ends a run
MOST_EPOCHS = 1_000.0  # where patience or a target loss is to end it: as many as scikit-learn's SGD and Lightning have

MOST_STEPS = 2**63 - 1


def length(plan: Plan, per_epoch: int | None) -> tuple[int | None, str]:
    """(updates in all or None, which limit gives them): the earlier of `epochs` and `steps`. Where neither they nor a time limit
    end it, 10 epochs; but at most 1,000 where it waits for a score or loss, which may go on getting better by ever less. An
    iterable dataset, of which nobody knows `per_epoch`, counts its passes itself."""
    epochs = plan.epochs
    if epochs == "auto":
        raise PlanError("epochs='auto' belongs to fit_table, whose default model it was measured on; give a number")
    for word in ("patience", "ema_decay"):
        if getattr(plan, word) == "auto":
            raise PlanError(
                f"{word}='auto' belongs to fit_table, whose default model it was measured on; give a number"
            )
    if per_epoch is None:
        return plan.steps, "epochs" if plan.steps is None else "steps"
    if epochs is None and plan.steps is None and plan.time_limit is None:
        epochs = MOST_EPOCHS if _waits(plan) else EPOCHS
    of_epochs = None if epochs is None else _steps_of(epochs, per_epoch)
    if of_epochs is None:
        return plan.steps, "steps" if plan.steps is not None else "none"
    if plan.steps is not None and plan.steps < of_epochs:
        return plan.steps, "steps"
    return of_epochs, "epochs"


def _steps_of(epochs: float, per_epoch: int) -> int:
    """The updates of so many passes, at least one; more than 2^63 are counted as that many, which nobody waits for."""
    return MOST_STEPS if epochs > MOST_STEPS / per_epoch else max(1, math.ceil(round(epochs * per_epoch, 6)))


def _waits(plan: Plan) -> bool:
    """Whether the run ends once a score stops getting better or a loss is low enough, and nothing fades or falls towards a
    planned end."""
    to_an_end = plan.schedule != "constant" or plan.warmup or plan.weight_decay_fades or plan.dropout_fades
    return (plan.patience is not None or plan.target_loss is not None) and not to_an_end


def rows_planned(total_steps: int | None, n_rows: int, batch_size: int, tail: Tail) -> int | None:
    """Rows seen at the planned end: the horizon of a schedule."""
    if total_steps is None:
        return None
    per_epoch = steps_per_epoch(n_rows, batch_size=batch_size, tail=tail)
    whole, rest = divmod(total_steps, per_epoch)
    return whole * (per_epoch * batch_size if tail == "drop" else n_rows) + rest * batch_size
