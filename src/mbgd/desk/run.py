"""The doors to training a module: a module and rows in, a finished Run out; the loop itself for whoever wants it."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Unpack

from torch import nn
from torch.utils.data import DataLoader

from mbgd.data.loader import loading
from mbgd.desk.bounds import Choice, Either, Whole, check
from mbgd.desk.card import write_card
from mbgd.desk.ended import write_result
from mbgd.desk.engine import check_engine
from mbgd.desk.fingerprint import check_same, fingerprint
from mbgd.desk.folder import MODEL, go_on, new_recorder, open_existing, open_new, write_plan
from mbgd.desk.going import borrowed, going
from mbgd.desk.knobs import Knobs
from mbgd.desk.machine import computing
from mbgd.desk.parts import Parts
from mbgd.desk.plan import Plan, make_plan
from mbgd.desk.planned import from_json
from mbgd.desk.predictor import Predictor
from mbgd.desk.prepare import prepare
from mbgd.desk.progress import watch
from mbgd.desk.recorder import Recorder
from mbgd.desk.recover import recovered
from mbgd.desk.result import Run
from mbgd.desk.standing import Standing
from mbgd.desk.train import Look, Trained, scored
from mbgd.errors import DataError, DivergenceError, PlanError
from mbgd.loop.progress import Progress
from mbgd.loop.steps import Steps, joined
from mbgd.loop.steps import steps as loop_steps
from mbgd.record.loggers import check_logger
from mbgd.step.update import take_average

Fitting = Generator[Look, None, Run]
EVERY = Either(Whole(1), Choice("epoch"))  # updates between two yields of `steps`


def fit(
    model: nn.Module,
    data: Any,
    *,
    out: str | os.PathLike[str] | None = None,
    sample_weight: Any = None,
    progress: bool = False,
    **knobs: Unpack[Knobs],
) -> Run:
    """Train `model` in place on the rows of `data` by mini-batch gradient descent.

    data: (X, y), (X, y, weight), a TensorDataset, a map-style dataset, or a DataLoader, which stands for its dataset,
    batch_size, drop_last, shuffle and workers where the knobs say nothing else. X is an array or tensor (n, ...), or a
    tuple or dict of them. The knobs are those of `Plan`: loss (must be given), optimizer
    ("sgd"), learning_rate, batch_size (32; "full" is batch gradient descent, 1 is SGD), epochs (10 where nothing else
    ends the run), momentum, schedule, validation, patience, seed and so on. Each update is

        theta := theta - eta * (1 / (m wbar)) * sum over the batch of w_i grad l_i

    with m the batch size (also of the short last batch of an epoch), l_i the loss of row i and wbar the mean row weight.
    `loss` is a name, one of torch's losses, or a function loss(outputs, y) of one value a row, shape (B,). Of torch's losses
    l_i is the mean over a row's elements. Labels may have positions, outputs (B, C, *) with y (B, *), an ignore_index and
    weights of classes, also beside label_smoothing: l_i is then the weighted mean over the row's positions, and w_i is times
    their mean weight, so that wbar stands for torch's divisor, the sum of weights in a batch, at its mean over all training
    rows. CrossEntropyLoss also takes class probabilities, y in the shape of the outputs. `out` names a new
    folder for checkpoints, history and the model; `progress` shows how it goes. Raises PlanError and DataError;
    DivergenceError before an update that would not be finite; KeyboardInterrupt after Ctrl-C, with the weights on a step
    boundary and, with `out`, saved.

    A dataset may draw at random, from torch's, NumPy's or Python's global generator: its draws are a function of `seed`
    and the step, by chunks of updates, and repeat at a resume with the same `checkpoint_every`. Read it with prefetch=0
    (the default without workers) or with workers; a thread of this process that read ahead would share those generators
    with dropout, and neither would repeat.
    """
    plan = module_plan(knobs, data)
    return watch(fitting(model, data, plan=plan, out=out, sample_weight=sample_weight), quiet=not progress)


def steps(
    model: nn.Module,
    data: Any,
    *,
    every: int | Literal["epoch"] | None = None,
    sample_weight: Any = None,
    **knobs: Unpack[Knobs],
) -> Generator[Steps, None, None]:
    """The loop that `fit` goes round: yields one `Steps` for some updates, with losses, rates and the position after them.

    every: how many updates lie between two yields, or "epoch" for one yield at the end of each epoch; the last comes with
    the last planned update in any case. By default the loop chooses what is quickest: some hundreds or thousands of updates,
    which of a small data set may be all of the training. How often it yields changes no bit of the result, unless the data
    set draws at random (see `fit`).

    Between two of them look at the model, score it, save it or stop; it ends with the planned steps. What you set there on
    the optimizer that you gave (its rate, momentum, weight decay, parameter groups) holds from the next update on, with
    either engine; a rate raises PlanError where `schedule` or `warmup` sets it. Threads and random numbers are yours there:
    they change only while the loop computes. The model is in training mode. After the last of them averaged weights
    (`ema_decay`) take their place in the model.
    """
    check(EVERY, "every", every, hint="'epoch' is once an epoch, 100 every hundred updates")
    plan = module_plan(knobs, data)
    for word in ("validation", "patience", "target_loss", "time_limit", "checkpoint_every", "metric", "log"):
        if getattr(plan, word) is not None:
            raise PlanError(f"{word} belongs to fit, got it with steps; look and stop between two steps instead")
    parts = prepare(model, data, plan=plan, sample_weight=sample_weight)
    if every == "epoch":
        parts = replace(parts, ends=replace(parts.ends, at_epoch_end=True))
    elif every is not None:
        parts = replace(parts, ends=replace(parts.ends, every_steps=(*parts.ends.every_steps, every)))
    return _steps(parts, every)


def _steps(parts: Parts, every: int | str | None) -> Generator[Steps, None, None]:
    coming = parts.chunks(Progress())
    going = loop_steps(coming, parts.engine, rate_factor=parts.rate_factor)
    unseen: list[Steps] = []  # a chunk may end before anybody looks
    try:
        with borrowed(parts):
            while True:
                try:
                    with computing(parts.device, parts.threads):
                        unseen.append(next(going))
                except DivergenceError:
                    if unseen:
                        yield joined(unseen)
                    raise
                at = unseen[-1].progress
                if at.steps_done == parts.total_steps or _is_looked_at(at, every):
                    yield joined(unseen)
                    unseen = []
                if at.steps_done == parts.total_steps:
                    return take_average(parts.engine.updater)
    finally:
        going.close()
        coming.close()


def _is_looked_at(at: Progress, every: int | str | None) -> bool:
    if every is None:
        return True
    return at.cursor.row == 0 if isinstance(every, str) else at.steps_done % every == 0


_ELSEWHERE = {  # knobs of a table -> what to do with a module of one's own
    "target": "pass (X, y)",
    "weight": "pass sample_weight",
    "class_weight": "pass a torch loss with weight, or sample_weight",
    "hidden_layer_sizes": "build the model so",
    "dropout": "build the model so",
    "dropout_fades": "set the rates between two of its steps",
    "number_embeddings": "build the model so",
    "input_scales": "build the model so",
    "shared_members": "build the model so",
    "test": "keep test rows out of data",
    "quantiles": "loss='quantile' trains one of them, or several outputs of one level",
    "threshold_for": "choose it from predict_proba of rows held out",
}


def module_plan(words: Mapping[str, Any], data: Any) -> Plan:
    """A checked plan for a module of the user's own. Raises PlanError also for what only a table has."""
    plan = make_plan({**_of_loader(data, words), **words})
    for word in words:
        if word not in Knobs.__annotations__:
            remedy = _ELSEWHERE.get(word, "leave it out")
            raise PlanError(f"{word} belongs to fit_table, got it with a module of your own; {remedy}")
    return plan


def _of_loader(data: Any, words: Mapping[str, Any]) -> dict[str, Any]:
    """What a DataLoader was made to do, as words of a plan; its sampler draws the rows where it is one of your own."""
    if not isinstance(data, DataLoader):
        return {}
    found = loading(data)
    if found.batch_sampler is not None:
        raise DataError(
            f"data must be a DataLoader whose batches are cut from the rows of a sampler, got {type(found.batch_sampler).__name__} "
            "as its batch_sampler; give its sampler and batch_size, or write the loop around mbgd.batches, which takes it"
        )
    if found.sampler is not None and "sampling" in words:
        raise PlanError(
            f"sampling is what the loader's {type(found.sampler).__name__} does, got {words['sampling']!r} as well; leave one out"
        )
    return {word: value for word, value in found.words.items() if value is not None}


def fitting(model: nn.Module, data: Any, *, plan: Plan, out: Any = None, sample_weight: Any = None) -> Fitting:
    """`fit`, look by look."""
    path = None if out is None else Path(out)
    check_logger(plan.log, path)
    parts = prepare(model, data, plan=plan, sample_weight=sample_weight)
    with open_new(path) as folder:
        recorder = new_recorder(folder, plan)
        with recorder.at_work():
            recorder.save(parts.engine, Standing())  # the caller's weights: nothing else could give them back
        recorder.wait_or_raise()
        if folder is not None:  # last, since it makes the folder a run
            seen = fingerprint(parts.source, parts.validation)
            write_plan(folder, command="fit", plan=plan, resolved={**parts.resolved, "data": seen})
        trained = yield from going(parts, plan, recorder=recorder, start=Standing())
        return _run(parts, plan, trained, recorder=recorder, folder=folder)


def resuming(model: nn.Module, data: Any, *, folder: Path, sample_weight: Any, again: dict[str, Any]) -> Fitting:
    """A run of `fit` gone on with, look by look; the model and rows are given again."""
    with open_existing(folder, command="fit") as saved:
        then = saved["resolved"]
        plan = from_json(saved["plan"], **{"threads": then["threads"], **again})
        check_logger(plan.log, folder)
        parts = prepare(model, data, plan=plan, sample_weight=sample_weight)
        check_same(then.get("data"), fingerprint(parts.source, parts.validation))
        check_engine(model, parts.resolved["engine"], then["engine"])
        start, recorder, notices = go_on(folder, parts, plan, saved)
        notices += tuple(
            f"{name} is {parts.resolved[name]}, the run was begun with {then[name]}: bits may differ"
            for name in ("device", "threads", "engine")
            if parts.resolved[name] != then[name]
        )
        trained = yield from going(parts, plan, recorder=recorder, start=start)
        return _run(parts, plan, trained, recorder=recorder, folder=folder, notices=notices)


def _run(
    parts: Parts,
    plan: Plan,
    trained: Trained,
    *,
    recorder: Recorder,
    folder: Path | None,
    notices: tuple[str, ...] = (),
) -> Run:
    scores = {}
    if parts.validation is not None:
        with computing(parts.device, parts.threads):
            scores["validation"] = scored(parts, parts.validation)
    run = Run(
        predictor=Predictor(parts.model, parts.loss, parts.output_shape),
        plan=plan,
        history=recorder.lines,
        ending=trained.ending,
        scores=scores,
        resolved=parts.resolved,
        seconds=trained.standing.seconds,
        folder=folder,
        notices=(*parts.notices, *notices, *recovered(trained.standing), *recorder.notices),
    )
    if folder is not None:
        with recorder.last_step_named():
            run.save(folder / MODEL)
            write_card(run)
            write_result(folder, run.summary(), files=recorder.written)
    return run
