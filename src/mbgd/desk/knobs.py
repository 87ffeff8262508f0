"""The knobs of `Plan` as keyword types, so that an editor completes them and a type checker knows them."""

from __future__ import annotations

from typing import Any, TypedDict


class Knobs(TypedDict, total=False):
    """What `fit` and `steps` take."""

    loss: Any
    optimizer: Any
    learning_rate: float | str | None
    momentum: float
    nesterov: bool
    weight_decay: float | None
    weight_decay_fades: bool
    batch_size: int | str
    epochs: float | str | None
    steps: int | None
    time_limit: float | str | None
    target_loss: float | None
    patience: int | str | None
    on_divergence: str
    metric: str | None
    restore_best: bool
    validation: Any
    schedule: str
    warmup: float
    sampling: str
    tail: str
    seed: int
    clip_norm: float | None
    ema_decay: float | str | None
    label_smoothing: float
    quantile: float
    huber_delta: float
    micro_batch: int | None
    allow_batch_norm: bool
    precision: str
    compile: bool
    device: Any
    threads: int | str
    workers: int
    prefetch: int | None
    engine: str
    checkpoint_every: int | str | None
    log: str | None


class TableKnobs(Knobs, total=False):
    """What `fit_table` takes: those and the table's own. `learning_rate`, `batch_size`, `epochs`, `patience`
    and `ema_decay` may be "auto"."""

    quantiles: tuple[float, ...]
    threshold_for: str | None
    task: str | None
    weight: str | None
    class_weight: str | None
    drop: tuple[str, ...]
    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    na_values: Any
    keep_default_na: bool
    delimiter: str | None
    split: str
    test: float | str
    refit: bool
    folds: int | None
    hidden_layer_sizes: tuple[int, ...]
    dropout: float | str
    dropout_fades: bool
    number_embeddings: bool
    input_scales: bool
    members: int
    shared_members: int
    preset: str | None
