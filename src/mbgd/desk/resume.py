"""A run folder in, its training gone on with to the same bits as if it had never stopped, a finished Run out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from mbgd.desk.callback import Callback, check_callback, in_evaluation
from mbgd.desk.folder import read_plan
from mbgd.desk.knobs import Knobs
from mbgd.desk.progress import watch
from mbgd.desk.result import Run
from mbgd.desk.run import resuming
from mbgd.desk.tables import table_resuming
from mbgd.errors import PlanError


def resume(
    run: str | os.PathLike[str],
    model: nn.Module | None = None,
    data: Any = None,
    *,
    sample_weight: Any = None,
    progress: bool = False,
    callback: Callback | None = None,
    **again: Unpack[Knobs],
) -> Run:
    """Go on with a stopped or killed run from its last whole checkpoint.

    A table's run needs nothing more; `data` only where it was a frame in memory or has moved. A run of `fit` needs
    `model`, a fresh instance of the same module, and `data`, the same rows; `again` gives what plan.json cannot hold: an
    optimizer class or instance, a loss or schedule of your own. `callback` is that of `fit`, and not stored either. On the
    same machine, torch version and thread count the result has the same bits; otherwise the same rows in the same order.
    Raises SavedFileError, PlanError, DataError.
    """
    folder = Path(run)
    check_callback(callback)
    each = callback is not None
    if read_plan(folder)["command"] == "fit_table":
        return watch(
            table_resuming(folder, data=data, again=again, each_epoch=each), quiet=not progress, callback=callback
        )
    if model is None or data is None:
        raise PlanError(f"{folder} trained a module of your own: give it and its rows again, resume(run, model, data)")
    going_on = resuming(model, data, folder=folder, sample_weight=sample_weight, again=dict(again), each_epoch=each)
    return watch(going_on, quiet=not progress, callback=in_evaluation(callback, model))
