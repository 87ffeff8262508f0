"""A loss of torch.nn as one value a row, not reduced; those that cannot be are refused by name.

B rows of a batch · C classes · * positions of a row
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy, deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mbgd.errors import PlanError
from mbgd.step.formula import Formula, Kind, Known
from mbgd.step.label_weights import LabelWeights
from mbgd.step.targets import Demand, is_scalar

FUNCTIONS: dict[Any, type[nn.Module]] = {
    functional.mse_loss: nn.MSELoss,
    functional.l1_loss: nn.L1Loss,
    functional.smooth_l1_loss: nn.SmoothL1Loss,
    functional.huber_loss: nn.HuberLoss,
    functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    functional.binary_cross_entropy: nn.BCELoss,
    functional.cross_entropy: nn.CrossEntropyLoss,
    functional.nll_loss: nn.NLLLoss,
    functional.poisson_nll_loss: nn.PoissonNLLLoss,
    functional.kl_div: nn.KLDivLoss,
    functional.soft_margin_loss: nn.SoftMarginLoss,
    functional.multi_margin_loss: nn.MultiMarginLoss,
    functional.multilabel_soft_margin_loss: nn.MultiLabelSoftMarginLoss,
}
"""Functions whose mean would come out: each stands for its module, with torch's defaults."""

_REAL: dict[type[nn.Module], Demand] = {
    nn.MSELoss: "real",
    nn.L1Loss: "real",
    nn.SmoothL1Loss: "real",
    nn.HuberLoss: "real",
    nn.PoissonNLLLoss: "at least 0",
}
_BINARY: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.BCEWithLogitsLoss: torch.sigmoid,
    nn.BCELoss: lambda output: output,
    nn.MultiLabelSoftMarginLoss: torch.sigmoid,
}
_LABELS: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.CrossEntropyLoss: lambda output: torch.softmax(output, 1),
    nn.NLLLoss: torch.exp,
    nn.MultiMarginLoss: lambda output: torch.softmax(output, 1),
}
TORCH_LOSSES: dict[str, Callable[[], nn.Module]] = {
    **{kind.__name__: kind for kind in (*_REAL, *_BINARY, *_LABELS)},
    "PoissonNLLLoss(log_input=False)": lambda: nn.PoissonNLLLoss(log_input=False),
}
"""What makes a loss of a name as `Formula.name` has it, alike in what its predictions are."""
_OTHER = (nn.KLDivLoss, nn.SoftMarginLoss, nn.HingeEmbeddingLoss)
_ANY_WORD = "pass a callable loss(output, y) that returns one value a row"


def is_torch_loss(spec: object) -> bool:
    """Whether `remake` should see it: a module or function of torch's own losses."""
    if isinstance(spec, nn.Module):
        return type(spec).__module__ == "torch.nn.modules.loss"
    return any(spec is function for function in FUNCTIONS)


def unweighted(spec: Any) -> Any:
    """The same loss without weights of classes, which are for training alone: scores go without. Others as they are."""
    if type(spec) not in _LABELS or spec.weight is None:
        return spec
    if isinstance(spec, nn.MultiMarginLoss):
        return nn.MultiMarginLoss(spec.p, spec.margin)
    return _without_weight(spec)


def remake(spec: Any, *, output_shape: tuple[int, ...], shares: bool = False) -> Formula:
    """The module with reduction="none", its own mean replaced by ours.

    Where a row has several elements they are averaged, as the module's own mean would (KLDivLoss with "batchmean" adds).
    Labels may have weights of classes, an ignore_index, and positions: outputs (B, C, *) with y (B, *). A row's loss is then
    the weighted mean over its positions, and `label_weights` say what the row weighs. With `shares` y holds a probability
    for each class, in the shape of the outputs.
    """
    module = spec if isinstance(spec, nn.Module) else FUNCTIONS[spec]()
    kind, name = type(module), type(module).__name__
    _refuse_reduction(module)
    if kind in _LABELS:
        return _labels(module, output_shape, shares=shares and kind is nn.CrossEntropyLoss)
    if kind in _REAL:
        prediction = torch.exp if getattr(module, "log_input", False) else _as_is
        name += "" if getattr(module, "log_input", True) else "(log_input=False)"
        return Formula(name, "regression", _REAL[kind], _unreduced(module), prediction, known=_known(module))
    if kind in _BINARY:
        _refuse_row_shaped(module, output_shape)
        several = not is_scalar(output_shape)
        if kind is nn.MultiLabelSoftMarginLoss and (len(output_shape) != 1 or not several):
            raise PlanError(
                f"loss={name} must have outputs of shape (B, labels), got {('B', *output_shape)}; {_ANY_WORD}"
            )
        kind_of_task: Kind = "custom" if several or kind is nn.MultiLabelSoftMarginLoss else "binary"
        plain = next(module.buffers(), None) is None
        elements = _unreduced(module) if plain else _weighted(module)
        return Formula(name, kind_of_task, "share", elements, _BINARY[kind], known=_known(module))
    if kind in _OTHER:
        added = module.reduction == "batchmean"
        return Formula(name, "custom", "real", _unreduced(module), _as_is, summed=added)
    raise PlanError(f"loss must depend on outputs and y alone, row by row, got torch's {name}; {_ANY_WORD}")


def _labels(module: Any, output_shape: tuple[int, ...], *, shares: bool) -> Formula:
    name, weight = type(module).__name__, module.weight
    in_space = not isinstance(module, nn.MultiMarginLoss)
    if not output_shape or output_shape[0] < 2 or (len(output_shape) > 1 and not in_space):
        raise PlanError(
            f"loss={name} must have one output a class, at least 2, got outputs of shape {('B', *output_shape)}; "
            "for one output use 'log_loss'" + (", for positions outputs of shape (B, classes, ...)" if in_space else "")
        )
    if weight is not None and tuple(weight.shape) != output_shape[:1]:
        raise PlanError(
            f"loss={name} must have weight with one number a class, {output_shape[0]}, got shape {tuple(weight.shape)}; "
            "weights of rows go in sample_weight"
        )
    prediction = _LABELS[type(module)]
    if shares:
        return Formula(name, "multiclass", "distribution", _weighted(module), prediction)
    if isinstance(module, nn.MultiMarginLoss):
        return Formula(name, "multiclass", "label", _weighted(module), prediction)
    weights = LabelWeights(weight, module.ignore_index)
    smoothed = weight is not None and getattr(module, "label_smoothing", 0.0) > 0
    if smoothed and not bool((weight > 0).all()):
        raise PlanError(
            f"loss={name} must have weight above 0 where labels are smoothed, got {float(weight.min()):g}; "
            "ignore_index leaves out a class"
        )
    plain = _without_weight(module)
    elements, known = (_weighted(module), None) if smoothed else (_unreduced(plain), _known(plain))
    return Formula(
        name, "multiclass", "label", elements, prediction, label_weights=weights, weighted=smoothed, known=known
    )


def _without_weight(module: Any) -> nn.Module:
    if isinstance(module, nn.NLLLoss):
        return nn.NLLLoss(ignore_index=module.ignore_index)
    return nn.CrossEntropyLoss(ignore_index=module.ignore_index, label_smoothing=module.label_smoothing)


def _known(module: nn.Module) -> Known | None:
    """The same arithmetic under its name here, where there is one."""
    if type(module) is nn.MSELoss:
        return Known("squared_error")
    if type(module) is nn.L1Loss:
        return Known("absolute_error", 1.0)
    if type(module) is nn.HuberLoss:
        return Known("huber", float(module.delta))
    if type(module) is nn.BCEWithLogitsLoss and module.weight is None and module.pos_weight is None:
        return Known("log_loss")
    if type(module) is nn.CrossEntropyLoss:
        return Known("log_loss", float(module.label_smoothing))
    return None


def _unreduced(module: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """A twin of the module that shares its buffers but never reduces; the user's own instance stays as it is."""
    twin: Any = copy(module)
    twin.reduction = "none"
    unreduced: Callable[[Tensor, Tensor], Tensor] = twin.forward
    return unreduced


def _weighted(module: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """The same, its weights in the type and on the device of the outputs."""
    twin: Any = deepcopy(module)
    twin.reduction = "none"

    def elements(output: Tensor, y: Tensor) -> Tensor:
        found: Tensor = twin.to(device=output.device, dtype=output.dtype)(output, y)
        return found

    return elements


def _refuse_reduction(module: nn.Module) -> None:
    if getattr(module, "reduction", "mean") == "sum":
        raise PlanError(
            f"loss={type(module).__name__} must not be a sum over the batch, got reduction='sum'; "
            "every step divides by batch_size: leave reduction out and scale learning_rate instead"
        )


def _refuse_row_shaped(module: nn.Module, output_shape: tuple[int, ...]) -> None:
    inner = () if is_scalar(output_shape) else output_shape
    for name in ("weight", "pos_weight"):
        value = getattr(module, name, None)
        if value is not None and value.numel() != 1 and not _spreads(tuple(value.shape), inner):
            raise PlanError(
                f"loss={type(module).__name__} must have {name} of the shape of one row's outputs, {inner}, or one that "
                f"spreads to it, got {tuple(value.shape)}; weights of rows go in sample_weight"
            )


def _spreads(shape: tuple[int, ...], inner: tuple[int, ...]) -> bool:
    """Whether a shape broadcasts to that of a row's outputs, and along no rows."""
    while len(shape) > len(inner) and shape[0] == 1:
        shape = shape[1:]
    behind = inner[len(inner) - len(shape) :]
    return len(shape) <= len(inner) and all(a in (1, b) for a, b in zip(shape, behind, strict=True))


def _as_is(output: Tensor) -> Tensor:
    return output
