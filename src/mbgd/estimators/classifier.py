"""`MBGDClassifier`: `mbgd.fit` behind scikit-learn's interface for classifiers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import nn

from mbgd.desk.predictor import Predictor
from mbgd.errors import PlanError
from mbgd.estimators.fitting import chosen, train
from mbgd.estimators.labels import Labels, Scale, learn_labels, named_labels
from mbgd.estimators.network import Network
from mbgd.estimators.read import read_labels, read_more
from mbgd.estimators.save import fitted_predictor
from mbgd.estimators.words import own_words

OF_NUMBERS = ("squared_error", "absolute_error", "huber", "quantile", "poisson", "gamma")


def has_probabilities(estimator: Any) -> bool:
    if isinstance(estimator.loss, str) and estimator.loss == "hinge":
        raise AttributeError("predict_proba needs a loss of probabilities, got loss='hinge'; use 'log_loss'")
    return True


@own_words
class MBGDClassifier(ClassifierMixin, BaseEstimator):
    """A network, or with hidden_layer_sizes=() a linear model, trained by mini-batch gradient descent.

    Parameters are the knobs of `mbgd.Plan` with its defaults; optimizer, learning rate, batch size, epochs and schedule
    are those of `fit_table`, by the number of rows. loss: log_loss (two classes or more, or an indicator matrix of labels) or
    hinge. random_state is the seed, n_jobs the threads, callback a function called with a dict after each epoch: True
    stops. Columns of an array are centred and scaled, for a network no further out than training rows were, those of 0 and 1
    left as they are; a frame with categories, dates or missing values is encoded as `fit_table` does. SciPy's sparse rows stay
    sparse, divided by one number; optimizer "auto" is sgd for them, else adamw.

    Fitted: classes_, loss_curve_, validation_curve_, n_epochs_, ending_, network_, and of a linear model coef_ and
    intercept_ in the units of X.
    """

    def __init__(
        self,
        *,
        hidden_layer_sizes: tuple[int, ...] | int = (256, 256),
        activation: str = "relu",
        dropout: float = 0.0,
        dropout_fades: bool = False,
        loss: Any = None,
        optimizer: Any = "auto",
        learning_rate: float | str | None = "auto",
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        weight_decay_fades: bool = False,
        batch_size: int | str = "auto",
        epochs: float | str | None = "auto",
        steps: int | None = None,
        time_limit: float | str | None = None,
        target_loss: float | None = None,
        patience: int | None = None,
        min_delta: float = 0.0,
        metric: Any = None,
        restore_best: bool = True,
        validation: float | None = None,
        schedule: Any = "one_cycle",
        warmup: float = 0.0,
        sampling: str = "reshuffle",
        tail: str = "auto",
        clip_norm: float | None = None,
        ema_decay: float | None = None,
        label_smoothing: float = 0.0,
        micro_batch: int | None = None,
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.dropout_fades = dropout_fades
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
        self.warmup = warmup
        self.sampling = sampling
        self.tail = tail
        self.clip_norm = clip_norm
        self.ema_decay = ema_decay
        self.label_smoothing = label_smoothing
        self.micro_batch = micro_batch
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
        self._train(
            X, y, sample_weight=sample_weight, validation=chosen(self.validation, validation, eval_set), again=again
        )
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One pass over these rows at a constant rate, with the optimizer's state of the pass before. The first call needs
        all `classes`, of several labels a row the numbers of the columns of y; the scales of X are those of all rows so far. k
        passes over the same rows are `fit` of k epochs."""
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
        if isinstance(self.loss, str) and self.loss in OF_NUMBERS:
            raise PlanError(
                f"loss must be 'log_loss' or 'hinge' for classes, got {self.loss!r}; MBGDRegressor takes it"
            )
        train(
            self,
            X,
            read_labels(y),
            learn=lambda y_train, _: known or learn_labels(y_train),
            loss=lambda target: loss_for(self.loss, target),
            sample_weight=sample_weight,
            validation=validation,
            again=again,
            one_pass=one_pass,
        )
        self.classes_ = self.network_.target.classes

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Outputs of the network: (n,) for two classes, above 0 for the second; (n, C) for more; (n, L) of labels."""
        check_is_fitted(self)
        found: NDArray[Any] = self.network_.decisions(read_more(self, X, self.network_.road))
        return found.astype(self.network_.dtype)

    @available_if(has_probabilities)
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """(n, C), rows that add up to 1; of labels (n, L), each by itself."""
        check_is_fitted(self)
        found: NDArray[Any] = self.network_.probabilities(read_more(self, X, self.network_.road))
        return found.astype(self.network_.dtype)

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of each row, (n,); of labels 0 and 1, (n, L)."""
        check_is_fitted(self)
        network: Network = self.network_
        assert isinstance(network.target, Labels)
        return network.target.decide(network.outputs(read_more(self, X, network.road)))

    @property
    def coef_(self) -> NDArray[np.float64]:
        """(1, F) for two classes, else (C, F), in the units of X, of a linear model of an array."""
        return linear_part(self)[0]

    @property
    def intercept_(self) -> NDArray[np.float64]:
        """(1,) for two classes, else (C,)."""
        return linear_part(self)[1]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the one-file model, without pickle; `mbgd.load` reads it."""
        return self.predictor_.save(path)

    @property
    def predictor_(self) -> Predictor:
        """What `mbgd.load` gives of the saved model, as it is now: `mbgd.export` takes it from here."""
        return fitted_predictor(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags


def linear_part(estimator: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(coefficients, intercepts); AttributeError where there are none, so that hasattr says so."""
    check_is_fitted(estimator)
    found: tuple[NDArray[np.float64], NDArray[np.float64]] | None = estimator.network_.linear()
    if found is None:
        raise AttributeError("coef_ and intercept_ are of linear models of arrays: hidden_layer_sizes=()")
    return found


def loss_for(given: Any, target: Labels | Scale) -> Any:
    """The loss of the desk for these classes."""
    assert isinstance(target, Labels)
    if target.kind == "multilabel":
        if given is not None and given != "log_loss":
            raise PlanError(f"loss must be 'log_loss' for labels of their own, got {given!r}; leave it out")
        return nn.BCEWithLogitsLoss()
    if given is None or (given == "cross_entropy" and target.kind == "binary"):
        return "log_loss"
    return given
