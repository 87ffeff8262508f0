"""Every knob of a training run, with its unit, bounds, default and help; checked as a frozen Plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

from mbgd.desk import knobs as typed
from mbgd.desk.bounds import (
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
)
from mbgd.desk.exclusions import check_together
from mbgd.desk.foreign import unknown
from mbgd.desk.knob_field import documented, plain, shallow
from mbgd.desk.knob_field import knob as _knob
from mbgd.errors import PlanError
from mbgd.measure.own_metric import OwnBound


@documented
@dataclass(frozen=True)
class Plan:
    """What a run does, complete and checked; plan.json holds it, and --plan repeats it.

    `fit`, `steps`, `fit_table` and the command take these as arguments, the groups Data and Model for tables alone. Defaults
    are those of `fit`; docs/knobs.md has those of `fit_table` beside them."""

    # the table
    target: Any = _knob(
        None,
        Either(Names(), Names(many=True)),
        "column to predict; several columns of numbers: a,b",
        group="Data",
        first=True,
        hint="name a column of the table",
    )
    task: typed.Task | None = _knob(None, Choice(*get_args(typed.Task)), "what the target is", group="Data")
    quantiles: tuple[float, ...] = _knob(
        (),
        Levels(),
        "levels to predict instead of a mean, as 0.05,0.5,0.95; pairs of them are widened until they hold",
        group="Data",
        hint="0.05,0.5,0.95 is usual; for one alone give loss='quantile' and quantile=0.9",
    )
    threshold_for: typed.ThresholdFor | None = _knob(
        None,
        Choice(*get_args(typed.ThresholdFor)),
        "choose the probability from which the rarer of two classes is predicted, for the best",
        group="Data",
        hint="leave it out for the likelier class",
    )
    weight: str | None = _knob(None, Names(), "column of row weights", group="Data")
    class_weight: typed.ClassWeight | None = _knob(
        None,
        Choice(*get_args(typed.ClassWeight)),
        "balanced: weigh classes equally in training, not in scores",
        group="Data",
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
    header: bool = _knob(
        True, Switch(), "whether the first row of a CSV file is a header, with the names", group="Data"
    )
    columns: tuple[str, ...] = _knob((), Names(many=True), "names for a CSV file without a header: a,b,c", group="Data")
    comment: str | None = _knob(None, Names(), "what begins a comment in a CSV file, as '#'", group="Data")
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
    preset: typed.Preset | None = _knob(
        None,
        Choice(*get_args(typed.Preset)),
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
        "step size eta, or auto; not given, 0.1 for sgd, 0.001 for adam and adamw, 0.04 for tabular",
        first=True,
        hint="0.1 is usual for sgd, 0.001 for adam",
    )
    momentum: float = _knob(
        0.0,
        Number(0, 1, open_high=True),
        "momentum of sgd: share of the last step that is kept",
        hint="0.9 is usual, 0 is none",
    )
    nesterov: bool = _knob(False, Switch(), "Nesterov's form of momentum")
    weight_decay: float | None = _knob(
        None, Number(0, math.inf), "weight decay a step, times learning_rate; the optimizer's own if not given"
    )
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
        "passes over the rows, or auto; not given, 10 where nothing else ends a run",
        first=True,
        hint="10 is usual, 0.5 is half a pass",
    )
    steps: int | None = _knob(None, Whole(1, bits=63), "updates at most", group="Limits")
    time_limit: float | None = _knob(None, Seconds(), "seconds of training at most, as 90 or 90s", group="Limits")
    target_loss: float | None = _knob(
        None, Number(-math.inf, math.inf), "mean training loss a row that is enough", group="Limits"
    )
    patience: Any = _knob(
        None,
        Either(Whole(1), Choice("auto")),
        "looks at validation, one an epoch, without a better score before stopping",
        group="Limits",
        hint="10 is usual",
    )
    min_delta: float = _knob(
        0.0, Number(0, math.inf), "gain of the score, in its units, that patience takes for one", group="Limits"
    )
    on_divergence: typed.OnDivergence = _knob(
        "stop", Choice(*get_args(typed.OnDivergence)), "what a number not finite does", group="Limits"
    )
    metric: Any = _knob(
        None,
        Either(Choice(*get_args(typed.Metric)), OwnBound()),
        "what is scored, stops and picks weights; not given, the loss's own",
        group="Limits",
    )
    restore_best: bool = _knob(True, Switch(), "end with the weights of the best validation score", group="Limits")
    schedule: Any = _knob(
        "constant",
        Either(
            Choice(*get_args(typed.Schedule)),
            Given("a function of updates done or a torch.optim.lr_scheduler"),
        ),
        "how the learning rate moves",
    )
    schedule_every: typed.ScheduleEvery | None = _knob(
        None,
        Choice(*get_args(typed.ScheduleEvery)),
        "when a torch scheduler is stepped; OneCycleLR and CyclicLR each step, others each epoch",
    )
    warmup: float = _knob(
        0.0, Share(zero=True), "share of training with a rising learning rate, from 0 to 1", hint="0.05 is usual"
    )
    sampling: typed.Sampling = _knob("reshuffle", Choice(*get_args(typed.Sampling)), "how batches are drawn")
    tail: typed.Tail = _knob("auto", Choice(*get_args(typed.Tail)), "what becomes of the last, short batch")
    seed: int = _knob(0, Whole(0, bits=4096), "random seed", first=True, hint="any whole number will do")
    clip_norm: float | None = _knob(
        None, Number(0, math.inf, open_low=True), "greatest norm of a gradient", hint="1 is usual"
    )
    ema_decay: Any = _knob(
        None,
        Either(Number(0, 1, open_high=True), Choice("auto")),
        "decay, each update, of averaged weights, which are then used",
        hint="0.999 is usual",
    )
    label_smoothing: float = _knob(0.0, Number(0, 1, open_high=True), "share of a label spread over all classes")
    quantile: float = _knob(0.5, Share(), "the quantile of loss quantile")
    huber_delta: float = _knob(
        1.0, Number(0, math.inf, open_low=True), "error where loss huber turns linear, in the target's unit"
    )
    # the machine
    micro_batch: int | None = _knob(
        None, Whole(1), "rows of one forward pass, where a batch exceeds memory", group="Machine"
    )
    allow_batch_norm: bool = _knob(False, Switch(), "let BatchNorm see micro-batches", group="Machine")
    precision: typed.Precision = _knob(
        "float32", Choice(*get_args(typed.Precision)), "bf16: autocast of the forward pass", group="Machine"
    )
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
    engine: typed.Engine = _knob(
        "auto", Choice(*get_args(typed.Engine)), "what makes the updates; auto: fused where it can", group="Machine"
    )
    checkpoint_every: Any = _knob(
        None, Either(Whole(1), Seconds(text=True)), "steps, or seconds as 30s; else 60s", group="Machine", first=True
    )
    log: typed.Log | None = _knob(
        None, Choice(*get_args(typed.Log)), "where history.jsonl goes as well", group="Output"
    )

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns to predict: one, or several of numbers."""
        return () if self.target is None else (self.target,) if isinstance(self.target, str) else self.target

    def to_json(self) -> dict[str, Any]:
        """All knobs as JSON; what is no plain value is named, and has to be given again at resume."""
        return {name: plain(value) for name, value in shallow(self).items()}


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
    check_together(plan)
    return plan
