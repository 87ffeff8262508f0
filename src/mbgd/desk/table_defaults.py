"""A number of training rows in, the defaults of a table out: what few rows need is not what many need.

From RealMLP (Holzmueller et al. 2024), and from trials on fourteen tables and the flights: there AdamW with one rate did
better than RealMLP's rate for each tensor, which `tabular` is; bench/accuracy has the means to try again.
"""

from __future__ import annotations

import math
from typing import Any

from mbgd.desk.presets import SHARE_OF_PASSES

FEW, MANY = 30_000, 200_000  # rows: up to the one a network has to be held back, from the other on it must not be
RATE_OF_CLASSES, RATE_OF_FEW, RATE_OF_MANY = 0.04, 0.2, 0.05
DROPOUT, DECAY = 0.15, 0.02
ADAM_RATE, ADAM_BATCH = 8e-3, 256  # a rate goes with the root of the batch size (Malladi et al. 2022, section 4)


def default_batch_size(n_rows: int) -> int:
    """64 up to 1,024 rows, 128 up to 8,192, then 256."""
    return 64 if n_rows <= 1_024 else 128 if n_rows <= 8_192 else 256


def default_epochs(n_rows: int, batch_size: int, *, preset: str | None = None, later: bool = False) -> float:
    """2.9 million rows in all, but at least 12 and at most 64 passes, and at least 1,000 updates within 256 passes; of all
    that the preset's share.

    A third as many passes, or a fifth of few rows, where `later` rows are to be predicted: what is peculiar to a time is
    learnt last, and the model is trained once more for as long as was best.
    """
    passes = min(max(0.96e6 / n_rows, 4.0), 12.8) if later else min(max(2.9e6 / n_rows, 12.0), 64.0)
    per_epoch = -(-n_rows // batch_size)
    planned = min(256, max(round(passes), math.ceil(1_000 / per_epoch)))
    return float(math.ceil(planned * SHARE_OF_PASSES.get(preset or "default", 1.0)))


def default_patience(epochs: float | None) -> int | None:
    """A quarter of the planned passes, 16 at the least: where there is little to learn, the best of 64 is among the first 20."""
    return None if epochs is None else max(16, math.ceil(epochs / 4))


def default_average(steps: int | None, epochs: float | None, per_epoch: int) -> float | None:
    """The decay of the average: over the last 100 updates, or a tenth of so few as are planned; none over five or fewer.

    The best pass is often one of the first half, at a high rate: the average takes the noise out of its weights.
    """
    limits = [steps, None if epochs is None else epochs * per_epoch]
    planned = min((limit for limit in limits if limit is not None), default=math.inf)
    last = min(100.0, planned / 10)
    return 1 - 1 / last if last > 5 else None


def default_rate(optimizer: Any, n_rows: int, batch_size: int, *, classes: bool) -> float | None:
    """Of Adam 0.008 sqrt(m / 256), at most 0.008. Of `tabular` 0.04 for classes; for numbers 0.2, falling to 0.05 where
    there are many rows."""
    if optimizer == "tabular":
        return RATE_OF_CLASSES if classes else RATE_OF_FEW * (RATE_OF_MANY / RATE_OF_FEW) ** _how_many(n_rows)
    return ADAM_RATE * math.sqrt(min(1.0, batch_size / ADAM_BATCH)) if optimizer in ("adam", "adamw") else None


def default_dropout(n_rows: int, *, classes: bool, later: bool = False) -> float:
    """0.15 for classes, none where there are many rows; none for numbers, whose averaged weights do without, unless `later` rows
    are to be predicted."""
    if later:
        return DROPOUT
    return DROPOUT * (1 - _how_many(n_rows)) if classes else 0.0


def default_decay(n_rows: int) -> float:
    """0.02, none where there are many rows."""
    return DECAY * (1 - _how_many(n_rows))


def _how_many(n_rows: int) -> float:
    """0 up to FEW rows, 1 from MANY on, by their logarithm between."""
    return min(1.0, max(0.0, math.log(max(n_rows, 1) / FEW) / math.log(MANY / FEW)))
