"""A loss of torch.nn (module or function) in, the same arithmetic unreduced out; those that cannot be are refused by name.

B rows of a batch · C classes
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mbgd.errors import PlanError
from mbgd.step.formula import Formula, Kind, Known
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


def remake(spec: Any, *, output_shape: tuple[int, ...]) -> Formula:
    """The module with reduction="none", its own mean replaced by ours.

    Class weights of CrossEntropyLoss and NLLLoss come out as `class_weight`, to be multiplied into the row weights.
    Where a row has several elements they are averaged, as the module's own mean would (KLDivLoss with "batchmean" adds).
    """
    module = spec if isinstance(spec, nn.Module) else FUNCTIONS[spec]()
    kind, name = type(module), type(module).__name__
    _refuse_reduction(module)
    if kind in _LABELS:
        return _labels(module, output_shape)
    if kind in _REAL:
        prediction = torch.exp if getattr(module, "log_input", False) else _as_is
        name += "" if getattr(module, "log_input", True) else "(log_input=False)"
        return Formula(name, "regression", _REAL[kind], _unreduced(module), prediction, known=_known(module))
    if kind in _BINARY:
        _refuse_row_shaped(module, output_shape)
        several = not is_scalar(output_shape)
        kind_of_task: Kind = "custom" if several else "binary"
        return Formula(name, kind_of_task, "share", _unreduced(module), _BINARY[kind], known=_known(module))
    if kind in _OTHER:
        added = module.reduction == "batchmean"
        return Formula(name, "custom", "real", _unreduced(module), _as_is, summed=added)
    raise PlanError(f"loss must depend on outputs and y alone, row by row, got torch's {name}; {_ANY_WORD}")


def _labels(module: nn.Module, output_shape: tuple[int, ...]) -> Formula:
    name = type(module).__name__
    if len(output_shape) != 1 or output_shape[0] < 2:
        raise PlanError(
            f"loss={name} must have one output a class, at least 2, got outputs of shape {('B', *output_shape)}; "
            "for one output use 'log_loss', for outputs in space pass a callable that returns one value a row"
        )
    weight, smoothing = getattr(module, "weight", None), getattr(module, "label_smoothing", 0.0)
    if getattr(module, "ignore_index", -100) >= 0:
        raise PlanError(
            f"loss={name} must not ignore a class, got ignore_index={module.ignore_index}; leave those rows out"
        )
    if weight is not None and smoothing:
        raise PlanError(
            f"loss={name} must not have both weight and label_smoothing, got both; smoothed labels have no one class to weigh"
        )
    if weight is not None and isinstance(module, nn.MultiMarginLoss):
        raise PlanError(f"loss={name} must not have weights of its own, got weight; pass class_weight or row weights")
    plain = nn.CrossEntropyLoss(label_smoothing=smoothing) if isinstance(module, nn.CrossEntropyLoss) else module
    plain = nn.NLLLoss() if isinstance(module, nn.NLLLoss) else plain
    known = _known(plain)
    return Formula(
        name, "multiclass", "label", _unreduced(plain), _LABELS[type(module)], class_weight=weight, known=known
    )


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
        if value is not None and value.numel() != 1 and tuple(value.shape) != inner:
            raise PlanError(
                f"loss={type(module).__name__} must have {name} of the shape of one row's outputs, {inner}, "
                f"got {tuple(value.shape)}; weights of rows go in sample_weight"
            )


def _as_is(output: Tensor) -> Tensor:
    return output
