"""`MBGDEstimator`: a module of the user's own as a scikit-learn classifier or regressor, by its loss."""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import ClassifierTags, RegressorTags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import nn

from mbgd.data.chance import torch_aside
from mbgd.desk.predictor import Predictor
from mbgd.errors import PlanError
from mbgd.estimators.arrays import AsTheyAre
from mbgd.estimators.classifier import has_probabilities, loss_for
from mbgd.estimators.fitting import Start, chosen, n_outputs, train
from mbgd.estimators.labels import Labels, Scale, learn_labels, learn_scale, named_labels
from mbgd.estimators.network import Network, outputs_of
from mbgd.estimators.read import read_any_shape, read_labels, read_more, read_numbers
from mbgd.estimators.save import fitted_predictor
from mbgd.estimators.words import own_words, words_taken

BY_LABEL = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)  # one output a class, of two classes as well
OF_CLASSES = (*BY_LABEL, nn.BCEWithLogitsLoss)
REFUSALS = (RuntimeError, TypeError, ValueError, IndexError)  # what a module raises at inputs of a wrong type


def _classifies(estimator: Any) -> bool:
    loss = estimator.loss
    return loss in ("log_loss", "cross_entropy", "hinge") if isinstance(loss, str) else isinstance(loss, OF_CLASSES)


def _by_label(estimator: Any) -> bool:
    loss = estimator.loss
    return loss == "cross_entropy" if isinstance(loss, str) else isinstance(loss, BY_LABEL)


def _for_classes(estimator: Any) -> bool:
    if not _classifies(estimator):
        raise AttributeError("this is of classes: give loss='log_loss', or one of torch's losses of classes")
    return True


def _with_probabilities(estimator: Any) -> bool:
    return _for_classes(estimator) and has_probabilities(estimator)


@own_words
class MBGDEstimator(BaseEstimator):
    """Any torch module behind scikit-learn's interface, trained by `mbgd.fit`, whose defaults these are.

    module: an instance, of which a copy is trained, or a class or function that makes one; it is called with n_features and
    n_outputs where it takes arguments of these names. loss: log_loss, cross_entropy, hinge or torch's losses of
    classes make it a classifier, every other a regressor; of a function of your own predictions are the outputs as they
    are. X may have any shape (n, ...) and is not scaled; nor is y.

    Fitted: classes_ (of a classifier), loss_curve_, validation_curve_, n_epochs_, ending_, network_.module.
    """

    def __init__(
        self,
        module: Any,
        *,
        loss: Any = None,
        optimizer: Any = "sgd",
        learning_rate: float | None = None,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        weight_decay_fades: bool = False,
        batch_size: int | str = 32,
        epochs: float | None = None,
        steps: int | None = None,
        time_limit: float | str | None = None,
        target_loss: float | None = None,
        patience: int | None = None,
        min_delta: float = 0.0,
        metric: Any = None,
        restore_best: bool = True,
        validation: float | None = None,
        schedule: Any = "constant",
        schedule_every: str | None = None,
        warmup: float = 0.0,
        dropout_fades: bool = False,
        sampling: str = "reshuffle",
        tail: str = "auto",
        clip_norm: float | None = None,
        ema_decay: float | None = None,
        label_smoothing: float = 0.0,
        quantile: float = 0.5,
        huber_delta: float = 1.0,
        micro_batch: int | None = None,
        allow_batch_norm: bool = False,
        precision: str = "float32",
        compile: bool = False,
        device: str = "auto",
        engine: str = "auto",
        random_state: Any = 0,
        class_weight: Any = None,
        warm_start: bool = False,
        verbose: bool | int = False,
        n_jobs: int | None = None,
        callback: Any = None,
    ) -> None:
        self.module = module
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self.weight_decay_fades = weight_decay_fades
        self.batch_size = batch_size
        self.epochs = epochs
        self.steps = steps
        self.time_limit = time_limit
        self.target_loss = target_loss
        self.patience = patience
        self.min_delta = min_delta
        self.metric = metric
        self.restore_best = restore_best
        self.validation = validation
        self.schedule = schedule
        self.schedule_every = schedule_every
        self.warmup = warmup
        self.dropout_fades = dropout_fades
        self.sampling = sampling
        self.tail = tail
        self.clip_norm = clip_norm
        self.ema_decay = ema_decay
        self.label_smoothing = label_smoothing
        self.quantile = quantile
        self.huber_delta = huber_delta
        self.micro_batch = micro_batch
        self.allow_batch_norm = allow_batch_norm
        self.precision = precision
        self.compile = compile
        self.device = device
        self.engine = engine
        self.random_state = random_state
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.callback = callback

    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation: Any = None, eval_set: Any = None) -> Self:
        """Train on all rows of X. validation: (X, y), a share or a mask; eval_set: the same as [(X, y)]."""
        again = self.network_ if self.warm_start and hasattr(self, "network_") else None
        rows = chosen(self.validation, validation, eval_set)
        self._train(X, y, sample_weight=sample_weight, validation=rows, again=again)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One pass over these rows at a constant rate, with the optimizer's state of the pass before. The first call of a
        classifier needs all `classes`."""
        again = getattr(self, "network_", None)
        known = None if again is not None or classes is None else named_labels(classes, read_labels(y))
        self._train(X, y, sample_weight=sample_weight, again=again, known=known, one_pass=True)
        return self

    def _train(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any,
        validation: Any = None,
        again: Network | None,
        known: Labels | None = None,
        one_pass: bool = False,
    ) -> None:
        classes = _classifies(self)
        train(
            self,
            X,
            read_labels(y) if classes else read_numbers(y),
            learn=lambda y_train, _: (known or learn_labels(y_train)) if classes else _in_own_units(y_train),
            loss=lambda target: loss_for(self.loss, target) if isinstance(self.loss, str) and classes else self.loss,
            sample_weight=sample_weight,
            validation=validation,
            again=again,
            one_pass=one_pass,
            read=read_any_shape,
            begin=_begin,
        )
        if classes:
            self.classes_ = self.network_.target.classes

    def predict(self, X: Any) -> NDArray[Any]:
        """Classes or numbers, (n,), or (n, T)."""
        check_is_fitted(self)
        network: Network = self.network_
        rows = read_more(self, X, network.road)
        if isinstance(network.target, Labels):
            return network.target.decide(network.outputs(rows))
        return network.predicted(rows)

    @available_if(_for_classes)
    def decision_function(self, X: Any) -> NDArray[Any]:
        """Outputs of the module: (n,) for two classes, above 0 for the second; (n, C) for more; (n, L) of labels."""
        check_is_fitted(self)
        found: NDArray[Any] = self.network_.decisions(read_more(self, X, self.network_.road))
        return found.astype(self.network_.dtype)

    @available_if(_with_probabilities)
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """(n, C), rows that add up to 1; of labels (n, L), each by itself."""
        check_is_fitted(self)
        found: NDArray[Any] = self.network_.probabilities(read_more(self, X, self.network_.road))
        return found.astype(self.network_.dtype)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the module's weights and what its outputs mean, without pickle; `mbgd.load(path, module)` puts them into an
        instance of it."""
        return self.predictor_.save(path)

    @property
    def predictor_(self) -> Predictor:
        """What `mbgd.load` gives of the saved model, as it is now: `mbgd.export` takes it from here."""
        return fitted_predictor(self)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of a classifier, R2 of a regressor."""
        measure = accuracy_score if _classifies(self) else r2_score
        return float(measure(y, self.predict(X), sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        if _classifies(self):
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags(multi_label=not _by_label(self))
        else:
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
            tags.target_tags.multi_output = True
        return tags


def _in_own_units(y: NDArray[Any]) -> Scale:
    return learn_scale(y, weight=None, loss=None)


def _begin(estimator: MBGDEstimator, start: Start) -> Network:
    """The module as it is before training, seen on one row: which type of inputs it takes and how many outputs it has."""
    target, classes = start.target, isinstance(start.target, Labels)
    each = isinstance(target, Labels) and _by_label(estimator)
    outputs = len(target.classes) if isinstance(target, Labels) and each else n_outputs(target)
    width = int(np.prod(start.rows.shape[1:]))
    module = _made(estimator.module, n_features=width, n_outputs=outputs, seed=start.plan.seed)
    first = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype())
    dtype = np.dtype(np.float64 if first == torch.float64 else np.float32)
    road, one = AsTheyAre(_takes_whole(module, start.rows[:1])), start.rows[:1]
    seen = outputs_of(module, road.inputs(one, dtype))
    if isinstance(target, Labels) and classes and target.kind == "binary" and seen.ndim == 2 and seen.shape[1] == 2:
        target = replace(target, kind="multiclass")
    return Network(road, module, target, loss="", dtype=dtype)


def _made(given: Any, *, n_features: int, n_outputs: int, seed: int) -> nn.Module:
    """A copy of an instance, or what a class or function makes; torch's generators are left as they were."""
    if isinstance(given, nn.Module):
        return deepcopy(given)
    if not callable(given):
        kind = type(given).__name__
        raise PlanError(f"module must be a torch.nn.Module, or a class or function that makes one, got {kind}")
    words = words_taken(given, {"n_features": n_features, "n_outputs": n_outputs})
    with torch_aside():
        torch.manual_seed(seed)
        made = given(**words)
    if not isinstance(made, nn.Module):
        raise PlanError(f"module must make a torch.nn.Module, got {type(made).__name__} from {given!r}")
    return made


def _takes_whole(module: nn.Module, one: NDArray[Any]) -> bool:
    """Whether it takes whole numbers as such, as an embedding does."""
    if one.dtype.kind not in "iu":
        return False
    try:
        outputs_of(module, one.astype(np.int64))
    except REFUSALS:
        return False
    return True
