"""Every knob of a training run with its unit, bounds, default and help: words in, a checked frozen Plan out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mbgd.desk.bounds import (
    Bound,
    Choice,
    Device,
    Either,
    Given,
    Levels,
    Names,
    Number,
    Seconds,
    Share,
    Switch,
    Whole,
    check,
    shown,
)
from mbgd.desk.foreign import FOREIGN
from mbgd.errors import PlanError, did_you_mean

METRIC_NAMES = ("loss", "r2", "rmse", "mae", "accuracy", "balanced_accuracy", "log_loss", "roc_auc", "pinball")
THRESHOLD_NAMES = ("f1", "balanced_accuracy")
SCHEDULE_NAMES = ("constant", "step", "cosine", "one_cycle")


def _knob(
    default: Any, bound: Bound, help: str, *, group: str = "Training", first: bool = False, hint: str = ""
) -> Any:
    """A field with what the command line, the docs and the checks need to know of it. `first`: among the ten shown first;
    `hint`: the remedy for a value out of bounds, by default to leave it out."""
    hint = hint or ("leave it out if there is none" if default in (None, ()) else f"leave it out for {default!r}")
    return field(default=default, metadata={"bound": bound, "help": help, "group": group, "first": first, "hint": hint})


@dataclass(frozen=True)
class Plan:
    """What a run does, complete and checked; plan.json holds it, and --plan repeats it."""

    # the table
    target: Any = _knob(
        None,
        Either(Names(), Names(many=True)),
        "column to predict; several columns of numbers: a,b",
        group="Data",
        first=True,
        hint="name a column of the table",
    )
    task: str | None = _knob(None, Choice("regression", "classification"), "what the target is", group="Data")
    quantiles: tuple[float, ...] = _knob(
        (),
        Levels(),
        "levels to predict instead of a mean, as 0.05,0.5,0.95; pairs of them are widened until they hold",
        group="Data",
        hint="0.05,0.5,0.95 is usual; for one alone give loss='quantile' and quantile=0.9",
    )
    threshold_for: str | None = _knob(
        None,
        Choice(*THRESHOLD_NAMES),
        "choose the probability from which the rarer of two classes is predicted, for the best",
        group="Data",
        hint="leave it out for the likelier class",
    )
    weight: str | None = _knob(None, Names(), "column of row weights", group="Data")
    class_weight: str | None = _knob(
        None, Choice("balanced"), "balanced: weigh classes equally in training, not in scores", group="Data"
    )
    drop: tuple[str, ...] = _knob((), Names(many=True), "column to leave out; may be repeated", group="Data")
    categorical: tuple[str, ...] = _knob((), Names(many=True), "column to read as categories", group="Data")
    numeric: tuple[str, ...] = _knob((), Names(many=True), "column to read as numbers", group="Data")
    na_values: tuple[str, ...] = _knob(
        (), Names(many=True), "another word that means missing; may be repeated", group="Data"
    )
    keep_default_na: bool = _knob(
        True, Switch(), "read NA, None, null, ? and the like as missing; an empty cell always is", group="Data"
    )
    delimiter: str | None = _knob(None, Names(), "what separates CSV columns", group="Data")
    split: str = _knob(
        "random", Names(), "random, time:COLUMN, group:COLUMN or column:COLUMN", group="Data", first=True
    )
    test: Any = _knob(
        0.2,
        Either(Share(), Names()),
        "share or file never used but for the last score; none: no such rows",
        group="Data",
        hint="0.2 is every fifth row",
    )
    validation: Any = _knob(
        None,
        Either(Share(), Names(), Given("a mask or (X, y)")),
        "share or file that stops and picks weights; none: no such rows",
        group="Data",
        hint="0.1 is every tenth row",
    )
    refit: bool = _knob(False, Switch(), "train once more with the validation rows, as long as was best", group="Data")
    folds: int | None = _knob(
        None,
        Whole(2),
        "models, each trained on all folds of the rows but one, which stops it; their mean predicts",
        group="Data",
        hint="5 is usual",
    )
    # the model
    hidden_layer_sizes: tuple[int, ...] = _knob(
        (256, 256), Whole(1, many=True), "units of each hidden layer; none: a linear model", group="Model", first=True
    )
    dropout: Any = _knob(
        0.0,
        Either(Number(0, 1, open_high=True), Choice("auto")),
        "share of units left out in training",
        group="Model",
        hint="0.1 is usual, 0 is none",
    )
    dropout_fades: bool = _knob(False, Switch(), "from half of the steps on let dropout fade out", group="Model")
    number_embeddings: bool = _knob(False, Switch(), "let each number bend at quantiles of its values", group="Model")
    input_scales: bool = _knob(False, Switch(), "let each input of the first layer have a scale", group="Model")
    members: int = _knob(
        1, Whole(1), "models of the same rows, each by chance of its own, whose mean predicts", group="Model"
    )
    shared_members: int = _knob(
        1,
        Whole(1),
        "networks that share all but input scales and last layer; the mean of what they say predicts",
        group="Model",
    )
    preset: str | None = _knob(
        None,
        Choice("fast", "default", "best"),
        "values for what is not given, at a third, all and 8 times the seconds",
        group="Model",
    )
    # mini-batch gradient descent
    loss: Any = _knob(
        None,
        Either(Names(), Given("a torch.nn loss or a callable of one value a row")),
        "squared_error, absolute_error, huber, quantile, poisson, gamma, log_loss, cross_entropy or hinge",
        hint="'squared_error' for numbers, 'log_loss' for classes",
    )
    optimizer: Any = _knob(
        "sgd",
        Either(Names(), Given("a torch.optim class, partial or instance")),
        "sgd, adam, adamw, or tabular: adamw with a rate for each tensor",
        first=True,
        hint="'adamw' often needs the least care",
    )
    learning_rate: Any = _knob(
        None,
        Either(Number(0, math.inf, open_low=True), Choice("auto")),
        "step size eta, or auto",
        first=True,
        hint="0.1 is usual for sgd, 0.001 for adam",
    )
    momentum: float = _knob(0.0, Number(0, 1, open_high=True), "momentum of sgd", hint="0.9 is usual, 0 is none")
    nesterov: bool = _knob(False, Switch(), "Nesterov's form of momentum")
    weight_decay: float | None = _knob(None, Number(0, math.inf), "weight decay; the optimizer's own if not given")
    weight_decay_fades: bool = _knob(False, Switch(), "from half of the steps on let weight decay fade out")
    batch_size: Any = _knob(
        32,
        Either(Whole(1), Choice("full", "auto")),
        "rows an update, m; full: all of them, 1: SGD",
        first=True,
        hint="32 is usual",
    )
    epochs: Any = _knob(
        None,
        Either(Number(0, math.inf, open_low=True), Choice("auto")),
        "passes over the rows, or auto",
        first=True,
        hint="10 is usual, 0.5 is half a pass",
    )
    steps: int | None = _knob(None, Whole(1), "updates at most", group="Limits")
    time_limit: float | None = _knob(None, Seconds(), "seconds of training at most, as 90 or 90s", group="Limits")
    target_loss: float | None = _knob(None, Number(-math.inf, math.inf), "training loss that is enough", group="Limits")
    patience: Any = _knob(
        None,
        Either(Whole(1), Choice("auto")),
        "looks at validation without a better score before stopping",
        group="Limits",
        hint="10 is usual",
    )
    on_divergence: str = _knob("stop", Choice("stop", "recover"), "what a number not finite does", group="Limits")
    metric: str | None = _knob(None, Choice(*METRIC_NAMES), "what is scored, stops and picks weights", group="Limits")
    restore_best: bool = _knob(True, Switch(), "end with the weights of the best validation score", group="Limits")
    schedule: str = _knob("constant", Choice(*SCHEDULE_NAMES), "how the learning rate moves")
    warmup: float = _knob(0.0, Share(zero=True), "share of training with a rising learning rate", hint="0.05 is usual")
    sampling: str = _knob("reshuffle", Choice("reshuffle", "iid", "natural"), "how batches are drawn")
    tail: str = _knob("auto", Choice("auto", "short", "even", "drop"), "what becomes of the last, short batch")
    seed: int = _knob(0, Whole(0), "what all chance depends on", first=True, hint="any whole number will do")
    clip_norm: float | None = _knob(
        None, Number(0, math.inf, open_low=True), "greatest norm of a gradient", hint="1 is usual"
    )
    ema_decay: Any = _knob(
        None,
        Either(Number(0, 1, open_high=True), Choice("auto")),
        "decay of averaged weights, which are then used",
        hint="0.999 is usual",
    )
    label_smoothing: float = _knob(0.0, Number(0, 1, open_high=True), "share of a label spread over all classes")
    quantile: float = _knob(0.5, Share(), "the quantile of loss quantile")
    huber_delta: float = _knob(1.0, Number(0, math.inf, open_low=True), "where loss huber turns linear")
    # the machine
    micro_batch: int | None = _knob(
        None, Whole(1), "rows of one forward pass, where a batch exceeds memory", group="Machine"
    )
    allow_batch_norm: bool = _knob(False, Switch(), "let BatchNorm see micro-batches", group="Machine")
    precision: str = _knob("float32", Choice("float32", "bf16"), "bf16: autocast of the forward pass", group="Machine")
    compile: bool = _knob(False, Switch(), "run the model through torch.compile", group="Machine")
    device: str = _knob("auto", Device(), "auto, cpu, cuda, cuda:1 or mps", group="Machine")
    threads: Any = _knob(
        "auto",
        Either(Whole(1), Choice("auto")),
        "CPU threads; auto: by a step's work, beside nothing else",
        group="Machine",
    )
    workers: int = _knob(0, Whole(0), "processes that read a dataset", group="Machine")
    prefetch: int | None = _knob(
        None, Whole(0), "chunks made ahead; 0 where rows are drawn at random without workers", group="Machine"
    )
    engine: str = _knob(
        "auto", Choice("auto", "fused", "autograd"), "what makes the updates; auto: fused where it can", group="Machine"
    )
    checkpoint_every: Any = _knob(
        None, Either(Whole(1), Seconds(text=True)), "steps, or seconds as 30s", group="Machine", first=True
    )
    log: str | None = _knob(None, Choice("tensorboard", "mlflow"), "where history.jsonl goes as well", group="Output")

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns to predict: one, or several of numbers."""
        return () if self.target is None else (self.target,) if isinstance(self.target, str) else self.target

    def to_json(self) -> dict[str, Any]:
        """All knobs as JSON; what is no plain value is named, and has to be given again at resume."""
        return {name: plain(value) for name, value in shallow(self).items()}


def shallow(plan: Plan) -> dict[str, Any]:
    return {knob.name: getattr(plan, knob.name) for knob in fields(plan)}


def make_plan(words: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None) -> Plan:
    """A checked plan from words and values; None where a knob has to have a value stands for its default.

    Raises PlanError for an unknown or foreign word and for a value out of bounds.
    """
    knobs = {knob.name: knob for knob in fields(Plan)}
    chosen: dict[str, Any] = dict(defaults or {})
    for word, value in words.items():
        if word not in knobs:
            raise PlanError(unknown(word, knobs))
        if value is not None or knobs[word].default is None:
            chosen[word] = check(knobs[word].metadata["bound"], word, value, hint=knobs[word].metadata["hint"])
    plan = Plan(**chosen)
    _check_together(plan)
    return plan


def unknown(word: str, known: Mapping[str, Any]) -> str:
    if word in FOREIGN:
        return f"{word!r} is not an argument of MBGD; say {FOREIGN[word]} instead"
    return f"{word!r} is not an argument of MBGD{did_you_mean(word, known) or '; see help(mbgd.Plan) for all of them'}"


def _check_together(plan: Plan) -> None:
    """What two knobs exclude together."""
    if plan.nesterov and not plan.momentum:
        raise PlanError("nesterov needs momentum above 0, got momentum=0.0; give momentum=0.9")
    if plan.target is not None and len({*plan.targets}) != max(1, len(plan.targets)):
        raise PlanError(f"target must name different columns, got {shown(plan.target)}; name each of them once")
    if plan.patience not in (None, "auto") and plan.validation is None and plan.folds is None:
        raise PlanError("patience needs validation rows to look at, got none; give validation=0.1")
    if plan.metric is not None and plan.validation is None and plan.target is None:
        raise PlanError("metric needs validation rows to score, got none; give validation=0.1")


def plain(value: Any) -> Any:
    if isinstance(value, tuple) and all(isinstance(part, (int, float, str)) for part in value):
        return list(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    named = value if hasattr(value, "__qualname__") else type(value)  # a class or function, else what it is one of
    return {"object": f"{named.__module__}.{named.__qualname__}"}
