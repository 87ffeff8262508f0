"""A Loss, one value a row and never reduced, from a name, a module of torch.nn or a function.

B rows of a batch · C classes
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mbgd.errors import PlanError, did_you_mean
from mbgd.step import targets
from mbgd.step.formula import Formula, Kind, Known, PerRow, one_output, own_loss, per_row
from mbgd.step.label_weights import LabelWeights
from mbgd.step.pinball import pinball
from mbgd.step.targets import Shape, Wanted, is_one, is_scalar, kind_of
from mbgd.step.torch_loss import is_torch_loss, remake

LossSpec = str | nn.Module | Callable[[Any, Any], Tensor]
LOSSES = (
    "squared_error",
    "absolute_error",
    "huber",
    "quantile",
    "poisson",
    "gamma",
    "log_loss",
    "cross_entropy",
    "hinge",
)
_FOREIGN = {
    "squared_error": "mse mean_squared_error squared_loss l2 l2_loss mse_loss rmse least_squares ls",
    "absolute_error": "mae mean_absolute_error l1 l1_loss lad",
    "huber": "smooth_l1 smooth_l1_loss huber_loss",
    "quantile": "pinball pinball_loss quantile_loss",
    "poisson": "poisson_nll poisson_loss poisson_nll_loss",
    "gamma": "gamma_loss gamma_nll",
    "log_loss": "bce bce_loss bce_with_logits bcewithlogits bcewithlogitsloss binary_crossentropy binary_cross_entropy "
    "ce ce_loss crossentropy crossentropyloss cross_entropy_loss categorical_crossentropy sparse_categorical_crossentropy "
    "softmax logistic logistic_loss log logloss nll nll_loss",
    "hinge": "hinge_loss svm multi_margin multi_margin_loss categorical_hinge crammer_singer",
}
_OURS = {foreign: ours for ours, words in _FOREIGN.items() for foreign in words.split()}


@dataclass(frozen=True)
class Loss:
    """What training and scoring need of a loss.

    per_row(output, prepared y) is exactly (B,): never reduced (only the gradient's rule knows the divisor), never
    broadcast. prepare(y) checks a whole target once. prediction(output) is the mean (B,), the probability of class 1
    (B,), probabilities (B, C, *), or quantiles (B, C) that never fall. What `label_weights`, of a torch module, say of a row
    belongs into its weight.
    """

    name: str
    kind: Kind
    per_row: PerRow
    prepare: Callable[[Any], Any]
    prediction: Callable[[Any], Any]
    dtype: torch.dtype = torch.float32  # of the outputs
    label_weights: LabelWeights | None = None
    several_labels: bool = False  # each output is the probability of a label by itself
    own: bool = False  # a callable of the user's own, whose outputs are predictions as they stand
    known: Known | None = None  # where it is one of the named formulas

    @property
    def levels(self) -> tuple[float, ...]:
        """Of which quantiles there is an output each; none for other losses."""
        return () if self.known is None else self.known.levels


def make_loss(
    spec: LossSpec,
    *,
    output_shape: Shape,
    label_smoothing: float = 0.0,
    quantile: float = 0.5,
    huber_delta: float = 1.0,
    levels: tuple[float, ...] = (),
    dtype: torch.dtype | None = None,
    shares: bool = False,
    varying: bool = False,
) -> Loss:
    """The loss for a model whose outputs have `output_shape` a row: () or (1,) for one, (C,) for several, (C, *) for classes
    at several positions.

    With o the output and y the target, natural logarithms, several outputs averaged except where they are classes:

    squared_error   (o - y)^2, without a half
    absolute_error  |o - y|
    huber           (o - y)^2 / 2 up to huber_delta, then huber_delta (|o - y| - huber_delta / 2)
    quantile        quantile (y - o) above the output, (1 - quantile) (o - y) below
    poisson         e^o - y o: the mean is e^o; y at least 0; up to a term of y alone
    gamma           o + y e^-o: the mean is e^o; y above 0; up to a term of y alone
    log_loss        one output: log(1 + e^o) - y o; C outputs: log sum e^o - o_y (also named cross_entropy)
    hinge           one output: max(0, 1 - s o), s = -1 or +1 for labels 0 and 1; C outputs: max(0, 1 + largest other
                    output - o_y) (Crammer and Singer 2001). Its predictions rank rows but are no true probabilities.

    `levels`, rising, make loss quantile one of several outputs, each the quantile of its level (see `step.pinball`).
    `label_smoothing` moves that share of each label evenly over the classes. `dtype` is that of the model's outputs,
    torch's default where not given. With `shares` the target of a cross-entropy is a probability for each class. With `varying`
    the shape of rows is that of their batch, as of sequences padded to its longest. A callable loss(output, y) returns one
    value a row; it alone takes tuples and dicts, as the model returns them and y holds them.
    """
    _check_settings(spec, label_smoothing=label_smoothing, quantile=quantile, huber_delta=huber_delta)
    own = callable(spec) and not is_torch_loss(spec)
    if not is_one(output_shape) and not own:
        name = spec if isinstance(spec, str) else getattr(spec, "__name__", type(spec).__name__)
        raise PlanError(
            f"model must return one tensor for loss={name}, got {kind_of(output_shape)}; give a function loss(outputs, y) of "
            "one value a row, or wrap the model and pick what the loss needs"
        )
    if levels:
        formula = pinball(spec, output_shape=output_shape, levels=levels)
    elif isinstance(spec, str):
        formula = _named(
            spec, output_shape, smoothing=label_smoothing, quantile=quantile, delta=huber_delta, shares=shares
        )
    elif is_torch_loss(spec):
        formula = remake(spec, output_shape=output_shape, shares=shares)
    elif callable(spec):
        formula = Formula(getattr(spec, "__name__", type(spec).__name__), "custom", "any", spec, _as_is)
    else:
        raise PlanError(f"loss must be a name, a torch.nn loss or a callable, got {type(spec).__name__}; {_names()}")
    of_y = () if levels else output_shape
    wanted = Wanted(
        formula.name, formula.demand, of_y, dtype or torch.get_default_dtype(), formula.label_weights, varying
    )
    return Loss(
        name=formula.name,
        kind=formula.kind,
        per_row=own_loss(formula.elements) if formula.demand == "any" else per_row(formula, output_shape),
        prepare=partial(targets.prepare, wanted=wanted),
        prediction=_on_rows(formula.prediction) if is_scalar(output_shape) else formula.prediction,
        dtype=wanted.dtype,
        label_weights=formula.label_weights,
        several_labels=formula.demand == "share" and formula.kind == "custom",
        own=formula.demand == "any",
        known=formula.known,
    )


def _named(
    name: str, output_shape: tuple[int, ...], *, smoothing: float, quantile: float, delta: float, shares: bool
) -> Formula:
    if name not in LOSSES:
        word = _OURS.get(name.lower().replace("-", "_").replace(" ", "_"))
        raise PlanError(
            f"loss must be a known name, got {name!r}"
            + (f"; here it is called {word!r}" if word else did_you_mean(name, LOSSES) or f"; {_names()}")
        )
    if name in ("log_loss", "cross_entropy", "hinge"):
        formula = _for_classes(name, output_shape, smoothing, shares=shares)
        if formula.demand == "distribution":
            return formula
        return replace(formula, known=Known("hinge") if name == "hinge" else Known("log_loss", smoothing))
    formula = {
        "squared_error": Formula(name, "regression", "real", _squared_error, _as_is),
        "absolute_error": Formula(name, "regression", "real", _absolute_error, _as_is),
        "huber": Formula(
            name, "regression", "real", partial(functional.huber_loss, reduction="none", delta=delta), _as_is
        ),
        "quantile": Formula(name, "regression", "real", partial(_quantile, quantile=quantile), _as_is),
        "poisson": Formula(name, "regression", "at least 0", _poisson, torch.exp),
        "gamma": Formula(name, "regression", "above 0", _gamma, torch.exp),
    }[name]
    setting = {"huber": delta, "quantile": quantile, "absolute_error": 1.0}.get(name, 0.0)
    return replace(formula, known=Known(name, setting))


def _for_classes(name: str, output_shape: tuple[int, ...], smoothing: float, *, shares: bool) -> Formula:
    if is_scalar(output_shape) and name == "hinge":
        return Formula(name, "binary", "binary", _hinge, torch.sigmoid)
    if is_scalar(output_shape) and name == "log_loss":
        return Formula(name, "binary", "share", partial(_logistic, smoothing=smoothing), torch.sigmoid)
    if len(output_shape) != 1 or output_shape[0] < 2:
        raise PlanError(
            f"loss={name!r} must have one output a class, at least 2, got outputs of shape {('B', *output_shape)}; "
            "give the last layer one output a class, or use 'log_loss' with one output for two classes, or "
            "nn.CrossEntropyLoss() for classes at several positions, outputs (B, classes, ...)"
        )
    if name == "hinge":
        return Formula(name, "multiclass", "label", _multiclass_hinge, _softmax)
    cross_entropy = partial(functional.cross_entropy, reduction="none", label_smoothing=smoothing)
    return Formula("log_loss", "multiclass", "distribution" if shares else "label", cross_entropy, _softmax)


def _check_settings(spec: LossSpec, *, label_smoothing: float, quantile: float, huber_delta: float) -> None:
    if not 0 <= label_smoothing < 1:
        raise PlanError(f"label_smoothing must be at least 0 and below 1, got {label_smoothing:g}; 0.1 is usual")
    if not 0 < quantile < 1:
        raise PlanError(f"quantile must be above 0 and below 1, got {quantile:g}; 0.5 is the median")
    if not (isfinite(huber_delta) and huber_delta > 0):
        raise PlanError(f"huber_delta must be above 0 and finite, got {huber_delta:g}; 1 is usual, in units of y")
    given = {
        "label_smoothing": (label_smoothing != 0, ("log_loss", "cross_entropy")),
        "quantile": (quantile != 0.5, ("quantile",)),
        "huber_delta": (huber_delta != 1, ("huber",)),
    }
    for name, (changed, losses) in given.items():
        if changed and spec not in losses and (not isinstance(spec, str) or spec in LOSSES):
            shown = repr(spec) if isinstance(spec, str) else getattr(spec, "__name__", type(spec).__name__)
            raise PlanError(f"{name} belongs to loss={losses[0]!r}, got loss={shown}; leave it out")


def _squared_error(output: Tensor, y: Tensor) -> Tensor:
    return functional.mse_loss(output, y, reduction="none")


def _absolute_error(output: Tensor, y: Tensor) -> Tensor:
    return functional.l1_loss(output, y, reduction="none")


def _quantile(output: Tensor, y: Tensor, *, quantile: float) -> Tensor:
    above = y - output
    return torch.maximum(quantile * above, (quantile - 1) * above)


def _poisson(output: Tensor, y: Tensor) -> Tensor:
    return output.exp() - y * output


def _gamma(output: Tensor, y: Tensor) -> Tensor:
    return output + y * (-output).exp()


def _logistic(output: Tensor, y: Tensor, *, smoothing: float) -> Tensor:
    share = y if smoothing == 0 else y * (1 - smoothing) + smoothing / 2
    return functional.binary_cross_entropy_with_logits(output, share, reduction="none")


def _hinge(output: Tensor, y: Tensor) -> Tensor:
    return functional.relu(1 - (2 * y - 1) * output)


def _multiclass_hinge(output_BC: Tensor, y_B: Tensor) -> Tensor:
    own_B1 = y_B[:, None]
    others_BC = output_BC.scatter(1, own_B1, -torch.inf)
    return functional.relu(1 + others_BC.amax(1) - output_BC.gather(1, own_B1)[:, 0])


def _softmax(output_BC: Tensor) -> Tensor:
    return torch.softmax(output_BC, 1)


def _on_rows(prediction: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda output: prediction(one_output(output))


def _as_is(output: Any) -> Any:
    return output


def _names() -> str:
    return f"known are {', '.join(LOSSES)}"
