"""`MBGDRegressor`: `mbgd.fit` behind scikit-learn's interface for regressors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mbgd.desk.predictor import Predictor
from mbgd.errors import PlanError
from mbgd.estimators.classifier import linear_part
from mbgd.estimators.fitting import chosen, train
from mbgd.estimators.labels import learn_scale
from mbgd.estimators.network import Network
from mbgd.estimators.read import read_more, read_numbers
from mbgd.estimators.save import fitted_predictor
from mbgd.estimators.words import own_words

OF_CLASSES = ("log_loss", "cross_entropy", "hinge")


@own_words
class MBGDRegressor(RegressorMixin, BaseEstimator):
    """A network, or with hidden_layer_sizes=() a linear model, trained by mini-batch gradient descent.

    Parameters are the knobs of `mbgd.Plan` with its defaults; optimizer, learning rate, batch size, epochs and schedule
    are those of `fit_table`, by the number of rows. loss: squared_error, absolute_error, huber, quantile (of which the target is
    centred and scaled; huber_delta is in its standard deviations), poisson, gamma, or torch's. y may have several
    columns. random_state is the seed, n_jobs the threads, callback a function called with a dict after each epoch: True
    stops. X is read as MBGDClassifier reads it.

    Fitted: loss_curve_, validation_curve_, n_epochs_, ending_, network_, and of a linear model coef_ and intercept_ in the
    units of X and y.
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
        quantile: float = 0.5,
        huber_delta: float = 1.0,
        micro_batch: int | None = None,
        precision: str = "float32",
        compile: bool = False,
        device: str = "auto",
        engine: str = "auto",
        random_state: Any = 0,
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
        self.quantile = quantile
        self.huber_delta = huber_delta
        self.micro_batch = micro_batch
        self.precision = precision
        self.compile = compile
        self.device = device
        self.engine = engine
        self.random_state = random_state
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

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One pass over these rows at a constant rate, with the optimizer's state of the pass before. The scales of
        X and y are those of all rows so far; k passes over the same rows are `fit` of k epochs."""
        self._train(X, y, sample_weight=sample_weight, again=getattr(self, "network_", None), one_pass=True)
        return self

    def _train(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any,
        validation: Any = None,
        again: Network | None,
        one_pass: bool = False,
    ) -> None:
        loss = "squared_error" if self.loss is None else self.loss
        if isinstance(loss, str) and loss in OF_CLASSES:
            raise PlanError(
                f"loss must be one of numbers, got {loss!r}; 'squared_error' is usual, MBGDClassifier has classes"
            )
        train(
            self,
            X,
            read_numbers(y),
            learn=lambda y_train, weight: learn_scale(
                y_train, weight=weight, loss=loss if isinstance(loss, str) else None
            ),
            loss=lambda _: loss,
            sample_weight=sample_weight,
            validation=validation,
            again=again,
            one_pass=one_pass,
        )

    def predict(self, X: Any) -> NDArray[Any]:
        """Means (medians, quantiles: by the loss), (n,) or (n, T), in the units of y."""
        check_is_fitted(self)
        network: Network = self.network_
        return network.predicted(read_more(self, X, network.road))

    @property
    def coef_(self) -> NDArray[np.float64]:
        """(F,), or (T, F) of several targets, in the units of X and y, of a linear model of an array."""
        coefficients = linear_part(self)[0]
        return coefficients if np.ndim(self.network_.target.center) else coefficients[0]

    @property
    def intercept_(self) -> NDArray[np.float64] | float:
        """A number, or (T,) of several targets."""
        intercepts = linear_part(self)[1]
        return intercepts if np.ndim(self.network_.target.center) else float(intercepts[0])

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
        tags.target_tags.multi_output = True
        return tags
