"""Train a module: `fit`, which returns a finished Run, and `steps`, the loop itself."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Unpack

from torch import nn

from mbgd.desk.bounds import Choice, Either, Whole, check
from mbgd.desk.callback import Callback, check_callback, in_evaluation
from mbgd.desk.card import write_card
from mbgd.desk.ended import write_result
from mbgd.desk.engine import check_engine
from mbgd.desk.fingerprint import check_same, fingerprint
from mbgd.desk.folder import go_on, new_recorder, open_existing, write_plan
from mbgd.desk.going import borrowed, going
from mbgd.desk.iterable_plan import check_numbered
from mbgd.desk.knobs import Knobs
from mbgd.desk.machine import computing
from mbgd.desk.module_plan import module_plan
from mbgd.desk.new_folder import open_new
from mbgd.desk.parts import EACH_EPOCH, Parts
from mbgd.desk.plan import Plan
from mbgd.desk.planned import check_same_objects, from_json
from mbgd.desk.predictor import Predictor
from mbgd.desk.prepare import prepare
from mbgd.desk.progress import watch
from mbgd.desk.recorder import Recorder
from mbgd.desk.recover import recovered
from mbgd.desk.result import Run
from mbgd.desk.run_files import MODEL
from mbgd.desk.same_schedule import check_same_rate
from mbgd.desk.signatures import shows_knobs
from mbgd.desk.standing import Standing
from mbgd.desk.train import Look, Trained, scored
from mbgd.errors import DivergenceError, PlanError
from mbgd.loop.progress import Progress
from mbgd.loop.steps import Steps, joined
from mbgd.loop.steps import steps as loop_steps
from mbgd.record.loggers import check_logger
from mbgd.step.update import take_average

Fitting = Generator[Look, bool | None, Run]
EVERY = Either(Whole(1), Choice("epoch"))  # updates between two yields of `steps`


@shows_knobs(Knobs)
def fit(
    model: nn.Module,
    data: Any,
    *,
    out: str | os.PathLike[str] | None = None,
    sample_weight: Any = None,
    progress: bool = False,
    callback: Callback | None = None,
    **knobs: Unpack[Knobs],
) -> Run:
    """Train `model` in place on the rows of `data` by mini-batch gradient descent.

    data: a tuple (X, y) or (X, y, weight), a TensorDataset, a map-style dataset, which a list of items is, too, or a
    DataLoader, which stands for its dataset, batch_size, drop_last, shuffle, sampler, collate_fn and workers where the knobs
    say nothing else; or an iterable dataset, which is trained on as it comes, in one pass where `epochs` says nothing, without a
    folder; docs/data.md has tables. X is an array, tensor or frame (n, ...), or a tuple or dict of them, and so
    is y where `loss` is a function of your own. The knobs are those of `Plan`: loss (must be given), optimizer ("sgd"),
    learning_rate, batch_size (32; "full" is batch gradient descent, 1 is SGD), epochs (10 where nothing else ends the run),
    momentum, schedule, validation, patience, seed and so on. Each update is

        theta := theta - eta * (1 / (m wbar)) * sum over the batch of w_i grad l_i

    with m the batch size (also of the short last batch of an epoch), l_i the loss of row i and wbar the mean row weight.
    `loss` is a name, one of torch's losses, or a function loss(outputs, y) of one value a row, (B,), which gets what the model
    returns and y holds, tuples and dicts as well; `predict` then returns the same of arrays. Of torch's losses l_i is the mean
    over a row's elements. Labels may have positions, outputs (B, C, *) with y (B, *), an ignore_index and weights of classes,
    also with label_smoothing: l_i is the weighted mean over the row's positions and w_i times their sum of weights, so that
    m wbar is torch's divisor, the sum of weights in a batch, for a batch like all training rows. CrossEntropyLoss also takes
    class probabilities, y in the shape of the outputs. `metric` is a name or f(y_true, y_pred) of arrays as y and `predict`
    have them, probabilities where its second argument is y_score or y_proba: scikit-learn's functions, greater better where the
    name ends with _score, smaller with _error, _loss, _deviance; any other as (f, "max") or (f, "min"). `out` names a new folder
    for checkpoints, history and the model; `progress` shows how it goes. Raises PlanError, DataError; DivergenceError before an
    update that would not be finite; KeyboardInterrupt after Ctrl-C, with all saved in `out`.

    `callback` is called at the end of each epoch with a `Look`: `epoch`, `epoch_loss` (weighted mean training loss over it),
    `learning_rate`, `scores` of the validation rows, `progress`, `seconds`. It returns True to stop. The model is in
    evaluation mode meanwhile; a rate or momentum set on an optimizer of your own holds from the next update on. What it
    raises ends the training with the weights on a step boundary. It is not stored: give it again to `resume`.

    Kernels of the fused engine are compiled at their first use, which takes some seconds once on a machine: a line on stderr
    says so, and they count neither in `seconds` nor against `time_limit`. `mbgd warmup` compiles them ahead.

    A dataset may draw at random, from torch's, NumPy's or Python's global generator: its draws are a function of `seed`
    and the step, by chunks of updates, and repeat at a resume with the same `checkpoint_every`. Read it with prefetch=0 (the
    default) or with workers; a thread of this process that read ahead would share those generators with dropout.
    """
    plan = module_plan(knobs, data)
    check_callback(callback)
    begun = fitting(model, data, plan=plan, out=out, sample_weight=sample_weight, each_epoch=callback is not None)
    return watch(begun, quiet=not progress, callback=in_evaluation(callback, model))


@shows_knobs(Knobs)
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
    the last planned update in any case. By default the loop chooses what is quickest: up to 256 updates with autograd and
    65,536 with compiled kernels, an epoch at most where that has 64; of a small data set that may be all of the training.
    How often it yields changes no bit of the result, unless the data set draws at random (see `fit`).

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
                    with computing(parts.threads):
                        done = next(going, None)
                except DivergenceError:
                    if unseen:
                        yield joined(unseen)
                    raise
                if done is None:  # an iterable dataset has no more rows
                    if unseen:
                        yield joined(unseen)
                    return take_average(parts.engine.updater)
                unseen.append(done)
                at = unseen[-1].progress
                if parts.scheduler is not None and parts.scheduler.is_due(at):
                    parts.scheduler.step()
                    parts.engine.updater.take_rates()
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


def fitting(
    model: nn.Module,
    data: Any,
    *,
    plan: Plan,
    out: Any = None,
    sample_weight: Any = None,
    each_epoch: bool = False,
) -> Fitting:
    """`fit`, look by look; sending True after a look ends it there. With `each_epoch` every epoch's end is looked at."""
    path = None if out is None else Path(out)
    check_logger(plan.log, path)
    if path is not None:
        check_numbered(data, "out")
    parts = prepare(model, data, plan=plan, sample_weight=sample_weight)
    parts = parts.looked_at_each_epoch() if each_epoch else parts
    with open_new(path) as folder:
        recorder = new_recorder(folder, plan)
        with recorder.at_work():
            recorder.save(parts.engine, Standing())  # the caller's weights: nothing else could give them back
        recorder.wait_or_raise()
        if folder is not None:  # last, since it makes the folder a run
            seen = fingerprint(parts.source, parts.validation, seed=plan.seed)
            write_plan(folder, command="fit", plan=plan, resolved={**parts.resolved, "data": seen})
        trained = yield from going(parts, plan, recorder=recorder, start=Standing())
        return _run(parts, plan, trained, recorder=recorder, folder=folder)


def resuming(
    model: nn.Module,
    data: Any,
    *,
    folder: Path,
    sample_weight: Any,
    again: dict[str, Any],
    each_epoch: bool = False,
) -> Fitting:
    """A run of `fit` gone on with, look by look; the model and rows are given again."""
    with open_existing(folder, command="fit") as saved:
        check_numbered(data, "resume")
        then = saved["resolved"]
        plan = from_json(saved["plan"], **{"threads": then["threads"], **again})
        check_logger(plan.log, folder)
        parts = prepare(model, data, plan=plan, sample_weight=sample_weight)
        parts = parts.looked_at_each_epoch() if each_epoch or then.get(EACH_EPOCH) else parts
        rows_then = then.get("data")
        check_same(rows_then, fingerprint(parts.source, parts.validation, seed=plan.seed, as_before=rows_then))
        check_same_objects(parts.resolved, then)
        check_engine(model, parts.resolved["engine"], then["engine"])
        start, recorder, notices = go_on(folder, parts, plan, saved)
        check_same_rate(parts, start, recorder.lines)
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
        with computing(parts.threads):
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
