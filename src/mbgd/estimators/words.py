"""The plan of an estimator, checked, from its parameters; a word of another library is answered with the one here."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import wraps
from numbers import Real
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from mbgd.desk.foreign import FOREIGN
from mbgd.desk.plan import Plan, make_plan
from mbgd.desk.table_defaults import default_batch_size, default_epochs, default_rate
from mbgd.errors import PlanError, did_you_mean

E = TypeVar("E", bound=BaseEstimator)
SEEDS = 2**31 - 1
UPDATES = 200
OF_LINEAR = 20.0  # a linear model has one path to each weight, which may be large: the rate of Adam is so many times a network's
SGD_RATE = 0.1  # without momentum; with it each gradient counts 1 / (1 - momentum) times
SPARSE_RATE = {True: 4.0, False: 0.5}
"""By whether the target is classes: rows of squared length 1 and a bias, 2 in all. Steps along one such row alone swing without
end from these rates on, since log_loss bends by 1/4 at most, squared_error by 2; the mean of a batch of them bends less."""
OF_ONE_PASS: dict[
    str, Any
] = {  # a `partial_fit`: one pass over the rows given, at a constant rate, without validation rows
    "epochs": 1.0,
    "steps": None,
    "schedule": "constant",
    "schedule_every": None,
    "min_delta": 0.0,
    "warmup": 0.0,
    "dropout_fades": False,
    "weight_decay_fades": False,
    "patience": None,
    "metric": None,
}
HERE = {  # what other libraries say -> a parameter of the estimators, beside the words of `desk.foreign`
    "seed": "random_state",
    "threads": "n_jobs",
    "num_threads": "n_jobs",
    "nthread": "n_jobs",
    "n_estimators": "epochs",
    "num_iterations": "epochs",
    "num_boost_round": "epochs",
    "n_iter": "epochs",
    "num_leaves": "hidden_layer_sizes",
    "max_depth": "hidden_layer_sizes",
    "max_leaf_nodes": "hidden_layer_sizes",
    "objective": "loss",
    "penalty": "weight_decay",
    "reg_lambda": "weight_decay",
    "lambda_l2": "weight_decay",
    "C": "weight_decay",
    "early_stopping_rounds": "patience with validation",
    "early_stopping_round": "patience with validation",
    "tol": "min_delta with patience and validation, or target_loss",
    "eval_metric": "metric",
    "scoring": "metric",
    "is_unbalance": "class_weight='balanced'",
    "scale_pos_weight": "class_weight, a dict of weights",
    "power_t": "schedule",
    "average": "ema_decay",
    "beta_1": "optimizer, a torch.optim class or partial with betas",
    "beta_2": "optimizer, a torch.optim class or partial with betas",
    "verbosity": "verbose",
    "callbacks": "callback, one function called once an epoch",
    "epsilon": "huber_delta",
    "device_type": "device",
    "categorical_feature": "it by a frame with columns of text or category",
    "cat_features": "it by a frame with columns of text or category",
}


def own_words(kind: type[E]) -> type[E]:
    """A class decorator: words of other libraries, given to the class or to its set_params, are answered with those here.

    Its `__init__` keeps its plain signature, which is what `inspect`, editors and scikit-learn see.
    """
    init = inspect.signature(kind.__init__)
    known, set_params = [name for name in init.parameters if name != "self"], kind.set_params

    def new(cls: type[E], *args: Any, **words: Any) -> E:
        if cls is kind:  # a subclass may take words of its own
            check_words(words, known=known, name=kind.__name__)
        return object.__new__(cls)

    @wraps(set_params)
    def set_own(self: E, **params: Any) -> E:
        if type(self) is kind:
            check_words((name.partition("__")[0] for name in params), known=known, name=kind.__name__)
        changed: E = set_params(self, **params)
        return changed

    kind.__new__ = new  # type: ignore[assignment]
    kind.set_params = set_own
    kind.__signature__ = init.replace(parameters=list(init.parameters.values())[1:])
    return kind


def check_words(words: Iterable[str], *, known: Iterable[str], name: str) -> None:
    """Raises PlanError for the first word that is no parameter, with the one that is meant."""
    known = list(known)
    for word in words:
        if word not in known:
            ours = HERE.get(word) or FOREIGN.get(word)
            if ours is None:
                remedy = did_you_mean(word, known) or f"; help(mbgd.{name}) names all of them"
            else:
                remedy = f"; say {ours} instead"
            raise PlanError(f"{word!r} is not a parameter of {name}{remedy}")


def plain_value(given: Any) -> Any:
    """A value as a plan takes it, of one that comes out of NumPy, as grids and samplers make them: a number, a word or a truth
    value, of an array or list of several a tuple."""
    if isinstance(given, np.ndarray | np.generic):
        given = given.tolist()
    return tuple(map(plain_value, given)) if isinstance(given, list | tuple) else given


def words_taken(made_by: Any, words: Mapping[str, Any]) -> dict[str, Any]:
    """Those of these words that a class or function takes. Raises PlanError for one that needs others."""
    takes = inspect.signature(made_by).parameters
    for part in takes.values():
        if (
            part.default is part.empty
            and part.kind not in (part.VAR_POSITIONAL, part.VAR_KEYWORD)
            and part.name not in words
        ):
            raise PlanError(
                f"module must be made from {' and '.join(words)}, got one that needs {part.name}; rename it"
            )
    return {word: value for word, value in words.items() if word in takes}


def seed_of(random_state: Any) -> int:
    """A whole number is the seed itself; from a generator, or NumPy's own where None, one is drawn."""
    if isinstance(random_state, int) and not isinstance(random_state, bool):
        if random_state < 0:
            raise PlanError(f"random_state must be a whole number of at least 0, got {random_state}; any will do")
        return random_state
    return int(check_random_state(random_state).randint(SEEDS))


def plan_of(
    given: Mapping[str, Any],
    *,
    n_rows: int,
    classes: bool,
    loss: Any,
    seed: int,
    threads: int | str,
    validation: Any,
    sparse: bool = False,
) -> Plan:
    """The plan of one training on so many rows: parameters that are knobs of `Plan`, every "auto" made a number.

    Raises PlanError, as `Plan` does, for a value out of bounds.
    """
    knobs = {knob.name for knob in fields(Plan)}
    words = {name: value for name, value in given.items() if name in knobs}
    words.pop("class_weight", None)  # made row weights
    words |= {"loss": loss, "seed": seed, "threads": threads, "validation": validation}
    if words["optimizer"] == "auto":  # sgd moves the columns that a sparse batch has, others move all
        words["optimizer"] = "sgd" if sparse else "adamw"
    if words.get("steps") is not None and words.get("epochs") == "auto":
        words["epochs"] = None
    plan = make_plan(words)
    batch_size = default_batch_size(n_rows) if plan.batch_size == "auto" else plan.batch_size
    m = n_rows if batch_size == "full" else min(int(batch_size), n_rows)
    epochs, rate = plan.epochs, plan.learning_rate
    if epochs == "auto":
        picked = not plan.hidden_layer_sizes or plan.validation is not None
        epochs = default_epochs(n_rows, m) if picked else unpicked_epochs(n_rows, m)
    if rate == "auto":  # by the size asked for: rows repeated, where all are fewer than that, change nothing
        m = n_rows if batch_size == "full" else int(batch_size)
        rate = _rate(plan, n_rows, m, classes=classes, sparse=sparse)
    return replace(plan, batch_size=batch_size, epochs=epochs, learning_rate=rate)


def _rate(plan: Plan, n_rows: int, batch_size: int, *, classes: bool, sparse: bool) -> float | None:
    if plan.optimizer == "sgd":
        return (SPARSE_RATE[classes] if sparse else SGD_RATE) * (1 - plan.momentum)
    rate = default_rate(plan.optimizer, n_rows, batch_size, classes=classes)
    return rate if rate is None or plan.hidden_layer_sizes else rate * OF_LINEAR


def unpicked_epochs(n_rows: int, batch_size: int) -> float:
    """As many passes as for a table, but for few rows only those that make 200 updates, where a table has 1,000: no
    validation rows pick the weights from before a network knows its rows by heart."""
    passes = min(max(2.4e6 / n_rows, 10.0), 32.0)
    return float(min(256, max(round(passes), math.ceil(UPDATES / -(-n_rows // batch_size)))))


def check_one_pass(plan: Plan, *, one_pass: bool) -> None:
    """Raises PlanError for averaged weights in `partial_fit`: the next pass goes on from others."""
    if one_pass and plan.ema_decay is not None:
        raise PlanError(f"ema_decay belongs to fit, got {plan.ema_decay} with partial_fit; leave it out")


def check_class_weight(given: Any, *, one_pass: bool = False) -> None:
    """None, "balanced", or weights by class; "balanced" counts the rows of all classes, which no one pass over some has."""
    if one_pass and isinstance(given, str) and given == "balanced":
        raise PlanError(
            "class_weight must be a dict of class -> weight in partial_fit, which sees some rows alone, got 'balanced'; make one "
            "by sklearn.utils.class_weight.compute_class_weight"
        )
    if isinstance(given, Mapping):
        for label, weight in given.items():
            if not isinstance(weight, Real) or not 0 <= float(weight) < math.inf:
                raise PlanError(
                    f"class_weight must hold numbers of at least 0, got {weight!r} for class {label!r}; 1 is usual"
                )
        return
    if given is None or (isinstance(given, str) and given == "balanced"):
        return
    raise PlanError(
        f"class_weight must be 'balanced' or a dict of class -> weight, got {given!r}; leave it out for none"
    )
