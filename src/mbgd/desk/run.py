"""The doors to training a module: a module and rows in, a finished Run out; the loop itself for whoever wants it."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from mbgd.desk.folder import MODEL, RESULT, Recorder, go_on, open_existing, open_new, write_plan
from mbgd.desk.going import going
from mbgd.desk.knobs import Knobs
from mbgd.desk.machine import computing
from mbgd.desk.parts import Parts
from mbgd.desk.plan import Plan, from_json, make_plan
from mbgd.desk.predictor import Predictor
from mbgd.desk.prepare import prepare
from mbgd.desk.result import Run
from mbgd.desk.standing import Standing
from mbgd.desk.train import Look, Trained, scored
from mbgd.errors import PlanError
from mbgd.loop.steps import Steps
from mbgd.loop.steps import steps as loop_steps
from mbgd.store import write_json

Fitting = Generator[Look, None, Run]


def fit(
    model: nn.Module,
    data: Any,
    *,
    out: str | os.PathLike[str] | None = None,
    sample_weight: Any = None,
    **knobs: Unpack[Knobs],
) -> Run:
    """Train `model` in place on the rows of `data` by mini-batch gradient descent.

    data: (X, y), (X, y, weight), a TensorDataset, a map-style dataset or a DataLoader (whose dataset is taken). X is an
    array or tensor (n, ...), or a tuple or dict of them. The knobs are those of `Plan`: loss (must be given), optimizer
    ("sgd"), learning_rate, batch_size (32; "full" is batch gradient descent, 1 is SGD), epochs (10 where nothing else
    ends the run), momentum, schedule, validation, patience, seed and so on. Each update is

        theta := theta - eta * (1 / (m wbar)) * sum over the batch of w_i grad l_i

    with m the batch size (also of the short last batch of an epoch) and wbar the mean row weight. `out` names a new
    folder for checkpoints, history and the model. Raises PlanError and DataError; DivergenceError before an update that
    would not be finite; KeyboardInterrupt after Ctrl-C, with the weights on a step boundary and, with `out`, saved.
    """
    plan = make_plan(dict(knobs))
    return finish(fitting(model, data, plan=plan, out=out, sample_weight=sample_weight))


def steps(model: nn.Module, data: Any, *, sample_weight: Any = None, **knobs: Unpack[Knobs]) -> Iterator[Steps]:
    """The loop that `fit` goes round: yields one `Steps` a chunk of updates, with losses, rates and the position after it.

    Between two of them look at the model, score it, save it or stop; it ends with the planned steps.
    """
    plan = make_plan(dict(knobs))
    parts = prepare(model, data, plan=plan, sample_weight=sample_weight)
    with computing(parts.device, parts.threads):
        for done in loop_steps(parts.chunks(Standing().progress), parts.engine, rate_factor=parts.rate_factor):
            yield done
            if done.progress.steps_done == parts.total_steps:
                return


def finish(fitting: Fitting) -> Run:
    """Let a training run to its end without looking."""
    while True:
        try:
            next(fitting)
        except StopIteration as ended:
            run: Run = ended.value
            return run


def fitting(model: nn.Module, data: Any, *, plan: Plan, out: Any = None, sample_weight: Any = None) -> Fitting:
    """`fit`, look by look."""
    if plan.target is not None:
        given = f"got target={plan.target!r} with a module"
        raise PlanError(f"target must name a column of a table, {given}; use fit_table, or pass (X, y)")
    parts = prepare(model, data, plan=plan, sample_weight=sample_weight)
    with open_new(None if out is None else Path(out)) as folder:
        if folder is not None:
            write_plan(folder, command="fit", plan=plan, resolved=parts.resolved)
        recorder = Recorder(folder, checkpoint_every=plan.checkpoint_every)
        recorder.save(parts.engine, Standing())  # the caller's weights: nothing else could give them back
        trained = yield from going(parts, plan, recorder=recorder, start=Standing())
        return _run(parts, plan, trained, recorder, folder)


def resuming(model: nn.Module, data: Any, *, folder: Path, sample_weight: Any, again: dict[str, Any]) -> Fitting:
    """A run of `fit` gone on with, look by look; the model and rows are given again."""
    with open_existing(folder, command="fit") as saved:
        plan = from_json(saved["plan"], **again)
        parts = prepare(model, data, plan=plan, sample_weight=sample_weight)
        start, recorder, _ = go_on(folder, parts, plan, saved)
        trained = yield from going(parts, plan, recorder=recorder, start=start)
        return _run(parts, plan, trained, recorder, folder)


def _run(parts: Parts, plan: Plan, trained: Trained, recorder: Recorder, folder: Path | None) -> Run:
    scores = {} if parts.validation is None else {"validation": scored(parts, parts.validation)}
    run = Run(
        predictor=Predictor(parts.model, parts.loss, parts.output_shape),
        plan=plan,
        history=recorder.lines,
        ending=trained.ending,
        scores=scores,
        resolved=parts.resolved,
        seconds=trained.standing.seconds,
        folder=folder,
    )
    if folder is not None:
        run.save(folder / MODEL)
        write_json(folder / RESULT, run.summary())
    return run
