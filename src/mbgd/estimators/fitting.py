"""Fit an estimator: its network is trained by the desk, and its fitted attributes are set."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from mbgd.data.sparse import is_sparse
from mbgd.data.split import hold_out
from mbgd.data.table import Table
from mbgd.desk.callback import check_callback
from mbgd.desk.further import Further, further
from mbgd.desk.machine import cores
from mbgd.desk.plan import Plan
from mbgd.errors import DataError, PlanError
from mbgd.estimators.arrays import AsTheyAre
from mbgd.estimators.labels import Labels, Scale, in_own_words
from mbgd.estimators.network import Array, Network, check_same_shape, learn_road, new_module
from mbgd.estimators.read import Rows, n_rows, read_more, read_training, read_weight
from mbgd.estimators.running_scales import scaled_anew, seen_in
from mbgd.estimators.watch import loss_curve, validation_curve, watched
from mbgd.estimators.words import OF_ONE_PASS, check_class_weight, check_one_pass, plain_value, plan_of, seed_of
from mbgd.forks import after_fork
from mbgd.seeds import Purpose

LearnTarget = Callable[[Any, Array | None], Labels | Scale]  # y of the training rows and their weights


@dataclass(frozen=True)
class Start:
    """What a network is made for: its rows, those of them that train it (None: all) with their weights, and the plan."""

    rows: Rows
    target: Labels | Scale
    training: NDArray[np.int64] | None
    weight: Array | None
    plan: Plan


Begin = Callable[[Any, Start], Network]  # an estimator and that in, its network before training out


@after_fork()
def train(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    learn: LearnTarget,
    loss: Callable[[Labels | Scale], Any],
    sample_weight: Any,
    validation: Any,
    again: Network | None = None,
    one_pass: bool = False,
    read: Callable[[Any, Any], Rows] = read_training,
    begin: Begin | None = None,
) -> None:
    """One call of the desk's training. `again` is the network that is trained on; its scales and classes stay."""
    rows = read(estimator, X) if again is None else read_more(estimator, X, again.road)
    if n_rows(rows) != len(y):
        raise DataError(f"X and y must have the same number of rows, got inconsistent {n_rows(rows)} and {len(y)}")
    params = estimator.get_params(deep=False)
    given = {name: plain_value(value) for name, value in params.items() if name != "validation"}
    given |= OF_ONE_PASS if one_pass else {}
    check_callback(estimator.callback)
    weight, seed = read_weight(sample_weight, rows), seed_of(given["random_state"])
    held = None if one_pass else held_out(validation, y, seed=seed, by_class=hasattr(estimator, "class_weight"))
    training = np.flatnonzero(~held) if isinstance(held, np.ndarray) else None
    target = again.target if again is not None else learn(_taken(y, training), _taken(weight, training))
    check_class_weight(given.get("class_weight"), one_pass=one_pass)
    weight = _with_class_weight(given.get("class_weight"), y, target, weight=weight, training=training)
    plan = plan_of(
        given,
        n_rows=n_rows(rows) if training is None else len(training),
        classes=isinstance(target, Labels),
        loss=loss(target),
        seed=seed,
        threads=threads_of(given["n_jobs"]),
        validation=held,
        sparse=is_sparse(rows),
    )
    check_one_pass(plan, one_pass=one_pass)
    if again is not None and "hidden_layer_sizes" in given:
        check_same_shape(again.module, plan.hidden_layer_sizes)
    network = again or (begin or new_network)(estimator, Start(rows, target, training, weight, plan))
    if not isinstance(plan.metric, str | None):
        plan = replace(plan, metric=in_own_words(plan.metric, network.target))
    encoded = _encoded(network, y)
    if one_pass:
        network = _with_scales(network, rows, y, weight=weight, loss=plan.loss)
        encoded = _encoded(network, y)
    if again is not None:
        estimator.network_ = network  # with the weights that are now in its scales, whatever comes of the training
    if isinstance(held, tuple):
        plan = replace(plan, validation=_inputs(estimator, network, *held))
    inputs = network.inputs(rows, kernels=True)
    done = watched(
        further(
            network.module,
            (inputs, encoded),
            plan=plan,
            sample_weight=None if weight is None else weight.astype(network.dtype),
            after=network.stand if one_pass else None,
            each_epoch=estimator.callback is not None or bool(estimator.verbose),
        ),
        callback=estimator.callback,
        verbose=estimator.verbose,
    )
    keep(estimator, replace(network, loss=done.loss, stand=done.stand), done, one_pass=one_pass)


def _with_scales(network: Network, rows: Rows, y: Any, *, weight: Array | None, loss: Any) -> Network:
    """The network with the scales of these rows and all that partial_fit has had before; those that `fit` learned stay."""
    if isinstance(network.road, AsTheyAre) or (network.stand is not None and network.seen is None):
        return network
    here = seen_in(rows, y, road=network.road, target=network.target, weight=weight)
    if network.seen is None:
        return replace(network, seen=here)
    loss = loss if isinstance(loss, str) else None
    found: Network = scaled_anew(network, network.seen.after(here), before=network.seen, loss=loss)
    return found


def new_network(estimator: Any, start: Start) -> Network:
    """One of MBGD's own, by the estimator's parameters."""
    plan, rows = start.plan, start.rows
    if plan.dropout == "auto":
        raise PlanError("dropout must be a share of units, got 'auto', which belongs to fit_table; 0.1 is usual")
    road = learn_road(rows, training=start.training, weight=start.weight, bounded=bool(plan.hidden_layer_sizes))
    dtype = np.dtype(np.float32) if isinstance(rows, Table) else rows.dtype
    module = new_module(
        road,
        n_outputs(start.target),
        hidden_layer_sizes=plan.hidden_layer_sizes,
        activation=str(estimator.activation),
        dropout=plan.dropout,
        dtype=dtype,
        seed=plan.seed,
    )
    return Network(road, module, start.target, loss="", dtype=dtype)


def n_outputs(target: Labels | Scale) -> int:
    return target.n_outputs if isinstance(target, Labels) else int(np.size(target.center))


def _inputs(estimator: Any, network: Network, X: Any, y: Any) -> tuple[Any, Any]:
    """Rows of validation as the network takes them."""
    rows = read_more(estimator, X, network.road)
    return network.inputs(rows), _encoded(network, y)


def _encoded(network: Network, y: Any) -> NDArray[Any]:
    if isinstance(network.target, Labels):
        return network.target.encode(y, dtype=network.dtype)
    return network.target.standardise(np.asarray(y), dtype=network.dtype)


def keep(estimator: Any, network: Network, done: Further, *, one_pass: bool) -> None:
    """Set what a fitted estimator has; a pass more is added to the curves of those before."""
    before = list(estimator.loss_curve_) if one_pass and hasattr(estimator, "loss_curve_") else []
    curve = loss_curve(done.history)
    estimator.network_ = network
    estimator.loss_curve_ = before + curve
    estimator.validation_curve_ = validation_curve(done.history, done.resolved["metric"])
    estimator.n_epochs_ = estimator.n_iter_ = len(estimator.loss_curve_)
    estimator.ending_ = str(done.ending)
    estimator.engine_, estimator.engine_reason_ = done.resolved["engine"], done.resolved["engine_reason"]


def chosen(own: Any, validation: Any, eval_set: Any) -> Any:
    """Rows of validation: those of the call, in either word, before the estimator's own share."""
    if eval_set is not None:
        if validation is not None:
            raise PlanError("validation and eval_set say the same, got both; leave eval_set out")
        pairs = eval_set if isinstance(eval_set, list) else [eval_set]
        if len(pairs) != 1:
            raise PlanError(f"eval_set must hold one pair (X, y), got {len(pairs)}; one set stops a training")
        validation = pairs[0]
    return own if validation is None else validation


def held_out(validation: Any, y: Any, *, seed: int, by_class: bool) -> Any:
    """A mask of the rows held out, a pair (X, y) of others, or None. A share is drawn within each class."""
    if validation is None:
        return None
    if isinstance(validation, np.ndarray | np.generic) and validation.ndim == 0:
        validation = validation.item()
    if isinstance(validation, (tuple, list)) and len(validation) == 2 and not np.isscalar(validation[0]):
        return tuple(validation)
    if isinstance(validation, float):
        single = np.ndim(y) == 1 and by_class
        labels = np.unique(y, return_inverse=True)[1] if single else None
        held = hold_out(len(y), validation, seed=seed, purpose=Purpose.VALIDATION_ROWS, labels=labels)[1]
        mask = np.zeros(len(y), dtype=bool)
        mask[held] = True
        return mask
    mask = np.asarray(validation)
    if mask.dtype != bool or mask.shape != (len(y),) or mask.all() or not mask.any():
        raise PlanError(
            f"validation must be a share, a pair (X, y) or a mask of {len(y)} truth values, True for some, "
            f"got {type(validation).__name__}; 0.1 is every tenth row"
        )
    return mask


def _taken(values: Any, rows: NDArray[np.int64] | None) -> Any:
    return values if rows is None or values is None else np.asarray(values)[rows]


def _with_class_weight(
    given: Any, y: Any, target: Labels | Scale, *, weight: Array | None, training: NDArray[np.int64] | None
) -> Array | None:
    """Row weights times those of their classes; "balanced" counts the training rows. A dict is one of all classes, of which the
    rows at hand may have some."""
    if given is None:
        return weight
    if given != "balanced" and isinstance(target, Labels) and target.kind != "multilabel":
        classes, column = target.classes, np.asarray(y).reshape(-1)
        by_class = compute_class_weight(given, classes=classes, y=classes)
        of_class = by_class[np.minimum(np.searchsorted(classes, column), len(classes) - 1)]
    else:
        of_class = compute_sample_weight(given, y, indices=training if given == "balanced" else None)
    found: Array = of_class if weight is None else of_class * weight
    return found


def threads_of(n_jobs: int | None) -> int | str:
    """By the work of a step where nothing is said, but one in a worker: the others are at work beside it."""
    if n_jobs is None:
        worker = multiprocessing.current_process().name != "MainProcess"
        return 1 if worker or threading.current_thread() is not threading.main_thread() else "auto"
    if not isinstance(n_jobs, int) or isinstance(n_jobs, bool) or n_jobs == 0:
        raise PlanError(f"n_jobs must be a whole number of threads, -1 for all, got {n_jobs!r}; None chooses")
    return n_jobs if n_jobs > 0 else max(1, cores() + 1 + n_jobs)
