"""The knobs of `Plan` as keyword types, so that an editor completes them and a type checker knows them."""

from __future__ import annotations

from typing import Any, TypedDict


class Knobs(TypedDict, total=False):
    """What `fit` and `steps` take."""

    loss: Any
    optimizer: Any
    learning_rate: float | str
    momentum: float
    nesterov: bool
    weight_decay: float
    batch_size: int | str
    epochs: float | str
    steps: int
    time_limit: float | str
    target_loss: float
    patience: int
    metric: str
    restore_best: bool
    validation: Any
    schedule: str
    warmup: float
    sampling: str
    tail: str
    seed: int
    clip_norm: float
    ema_decay: float
    label_smoothing: float
    quantile: float
    huber_delta: float
    micro_batch: int
    allow_batch_norm: bool
    precision: str
    compile: bool
    device: str
    threads: int | str
    workers: int
    prefetch: int
    engine: str
    checkpoint_every: int | str


class TableKnobs(Knobs, total=False):
    """What `fit_table` takes: those and the table's own. `learning_rate`, `batch_size` and `epochs` may be "auto"."""

    task: str
    weight: str
    class_weight: str
    drop: tuple[str, ...]
    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    delimiter: str
    split: str
    test: float | str
    refit: bool
    hidden_layer_sizes: tuple[int, ...]
    dropout: float
