"""A fitted estimator as `mbgd.load` has its model, which `mbgd.export` writes as well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from mbgd.data.encode.target import Label, Target
from mbgd.data.encode.targets import Targets
from mbgd.desk.predictor import Predictor, loss_of
from mbgd.errors import PlanError
from mbgd.estimators.arrays import AsTheyAre, Numbers
from mbgd.estimators.frames import Columns
from mbgd.estimators.labels import Labels, Scale
from mbgd.estimators.network import Network
from mbgd.model.build import MLP
from mbgd.model.scaled import ScaledMLP

NAME = "y"


def fitted_predictor(estimator: Any) -> Predictor:
    """The same answers from rows in their own units, with scales, classes and encoder, computed in float64. Raises PlanError
    for classes that JSON does not tell apart, and for a loss of the user's own over classes."""
    check_is_fitted(estimator)
    names = () if isinstance(estimator.network_.road, Columns) else getattr(estimator, "feature_names_in_", ())
    return replace(predictor_of(estimator.network_), names=tuple(map(str, names)))


def predictor_of(network: Network) -> Predictor:
    """As `fitted_predictor`, of what an estimator's `fit` has left."""
    n_outputs = len(network.target.classes) if isinstance(network.target, Labels) else network.target.center.size
    several = n_outputs > 1 and not (isinstance(network.target, Labels) and network.target.kind == "binary")
    shape = (n_outputs,) if several else ()
    if network.loss.startswith("own:") and isinstance(network.target, Labels):
        raise PlanError("a model file needs a loss by name for classes, got a function; give loss='log_loss'")
    return Predictor(
        _in_own_units(network),
        loss_of({"loss": network.loss, "output_shape": shape}),
        shape,
        encoder=network.road.encoder if isinstance(network.road, Columns) else None,
        target=_target(network.target),
        multilabel=isinstance(network.target, Labels) and network.target.kind == "multilabel",
    )


def _in_own_units(network: Network) -> nn.Module:
    """The module with the scales of its columns in front, float64; a frame's encoder has them already, and rows for a module of
    the user's own have none."""
    if isinstance(network.road, Columns | AsTheyAre):
        return network.module
    inner = network.module
    assert isinstance(inner, MLP)  # what those roads lead to
    made = ScaledMLP(
        inner.n_inputs,
        inner.n_outputs,
        hidden_layer_sizes=inner.hidden_layer_sizes,
        activation=inner.activation,
        dropout=inner.dropout,
    ).double()
    made.body.load_state_dict(inner.body.state_dict())
    if isinstance(network.road, Numbers):
        made.center.copy_(torch.from_numpy(network.road.center))
        made.bound.copy_(torch.from_numpy(network.road.bound))
    made.scale.copy_(torch.as_tensor(network.road.scale, dtype=torch.float64))
    return made.eval()


def _target(target: Labels | Scale) -> Target | Targets:
    if isinstance(target, Labels):
        if target.kind != "multilabel":
            return Target(NAME, "classification", tuple(_plain(label) for label in target.classes.tolist()))
        return Targets(tuple(Target(f"{NAME}{number}", "regression") for number in range(len(target.classes))))
    if not target.center.ndim:
        return Target(NAME, "regression", center=float(target.center), scale=float(target.scale))
    ends = zip(target.center.tolist(), target.scale.tolist(), strict=True)
    return Targets(
        tuple(Target(f"{NAME}{n}", "regression", center=center, scale=scale) for n, (center, scale) in enumerate(ends))
    )


def _plain(label: Any) -> Label:
    """Text, a truth value or a whole number, as a file can hold it."""
    if isinstance(label, float) and label.is_integer():
        return int(label)
    if not isinstance(label, (str, int, bool)):
        kind = type(label).__name__
        raise PlanError(
            f"a model file needs classes that are text, truth values or whole numbers, got {label!r} ({kind})"
        )
    return label
