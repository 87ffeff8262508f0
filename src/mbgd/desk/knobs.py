"""The knobs of `Plan` as keyword types, so that an editor completes them and a type checker knows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypedDict

Task = Literal["regression", "classification"]
ThresholdFor = Literal["f1", "balanced_accuracy"]
ClassWeight = Literal["balanced"]
Preset = Literal["fast", "default", "best"]
OnDivergence = Literal["stop", "recover"]
Metric = Literal["loss", "r2", "rmse", "mae", "accuracy", "balanced_accuracy", "log_loss", "roc_auc", "pinball"]
Better = Literal["max", "min"]
Schedule = Literal["constant", "step", "cosine", "one_cycle"]
ScheduleEvery = Literal["epoch", "step"]
Sampling = Literal["reshuffle", "iid", "natural"]
Tail = Literal["auto", "short", "even", "drop"]
Precision = Literal["float32", "bf16"]
Engine = Literal["auto", "fused", "autograd"]
Log = Literal["tensorboard", "mlflow"]
Auto = Literal["auto"]


class HasState(Protocol):
    """What torch's optimizers and schedulers have in common; they are not named here, where torch would have to be loaded."""

    def state_dict(self) -> dict[str, Any]: ...


class Knobs(TypedDict, total=False):
    """What `fit` and `steps` take."""

    loss: Any
    optimizer: Any
    learning_rate: float | Auto | None
    momentum: float
    nesterov: bool
    weight_decay: float | None
    weight_decay_fades: bool
    batch_size: int | Literal["full", "auto"]
    epochs: float | Auto | None
    steps: int | None
    time_limit: float | str | None
    target_loss: float | None
    patience: int | Auto | None
    min_delta: float
    on_divergence: OnDivergence
    metric: Metric | Callable[..., Any] | tuple[Callable[..., Any], Better] | None
    restore_best: bool
    validation: Any
    schedule: Schedule | Callable[..., Any] | HasState
    schedule_every: ScheduleEvery | None
    warmup: float
    sampling: Sampling
    tail: Tail
    seed: int
    clip_norm: float | None
    ema_decay: float | Auto | None
    label_smoothing: float
    quantile: float
    huber_delta: float
    micro_batch: int | None
    allow_batch_norm: bool
    precision: Precision
    compile: bool
    device: Any
    threads: int | Auto
    workers: int
    prefetch: int | None
    engine: Engine
    checkpoint_every: int | str | None
    log: Log | None


class TableKnobs(Knobs, total=False):
    """What `fit_table` takes: those and the table's own. `learning_rate`, `batch_size`, `epochs`, `patience`
    and `ema_decay` may be "auto"."""

    quantiles: tuple[float, ...]
    threshold_for: ThresholdFor | None
    task: Task | None
    weight: str | None
    class_weight: ClassWeight | None
    drop: tuple[str, ...]
    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    na_values: Any
    keep_default_na: bool
    delimiter: str | None
    header: bool
    columns: tuple[str, ...]
    comment: str | None
    split: str
    test: float | str
    refit: bool
    folds: int | None
    hidden_layer_sizes: tuple[int, ...]
    dropout: float | Auto
    dropout_fades: bool
    number_embeddings: bool
    input_scales: bool
    members: int
    shared_members: int
    preset: Preset | None
