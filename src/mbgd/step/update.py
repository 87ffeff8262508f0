"""Move the parameters by torch's own optimizer, from the gradient in `.grad`; clipped and averaged where asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mbgd.errors import PlanError, did_you_mean
from mbgd.model.factors import parameter_groups
from mbgd.step.light_start import light_start
from mbgd.step.rows import rows_alone, tables_of

OptimizerSpec = str | type[torch.optim.Optimizer] | Callable[..., torch.optim.Optimizer] | torch.optim.Optimizer
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
DEFAULT_RATES = {"sgd": 0.1, "adam": 1e-3, "adamw": 1e-3, "tabular": 0.04}
TABULAR_BETAS, TABULAR_DECAY = (0.9, 0.95), 0.02


def make_optimizer(
    spec: OptimizerSpec,
    model: nn.Module,
    *,
    learning_rate: float | None = None,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float | None = None,
) -> torch.optim.Optimizer:
    """torch's optimizer for a name, a `torch.optim` class or partial, or an instance.

    An instance keeps its own rates unless `learning_rate` is given. `weight_decay=None` leaves each optimizer's own.
    """
    if isinstance(spec, torch.optim.Optimizer):
        if momentum or nesterov or weight_decay is not None:
            what = "momentum, nesterov and weight_decay"
            raise PlanError(f"{what} are set in the optimizer instance already; give them there, or pass a name")
        return _given(spec, model, learning_rate=learning_rate)
    settings: dict[str, Any] = {} if learning_rate is None else {"lr": learning_rate}
    if weight_decay is not None:
        settings["weight_decay"] = weight_decay
    if momentum:
        settings["momentum"] = momentum
    if nesterov:
        settings["nesterov"] = nesterov
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise PlanError("model must have at least one parameter that requires a gradient, got none; unfreeze a layer")
    if spec == "tabular":
        return _tabular(model, learning_rate, weight_decay, momentum=momentum)
    if isinstance(spec, str):
        return _named(spec, trained, settings)
    try:
        with light_start():
            return _one_gradient(spec(trained, **settings))
    except (TypeError, ValueError) as error:
        raise PlanError(
            f"optimizer must accept (parameters, {', '.join(settings)}), got {_name(spec)}: {error}"
        ) from None


def _tabular(
    model: nn.Module, learning_rate: float | None, weight_decay: float | None, *, momentum: float
) -> torch.optim.Optimizer:
    """AdamW with each tensor's own share of rate and decay (RealMLP, Holzmueller et al. 2024)."""
    if momentum:
        raise PlanError("momentum belongs to optimizer='sgd', got optimizer='tabular', whose betas are 0.9 and 0.95")
    rate = DEFAULT_RATES["tabular"] if learning_rate is None else learning_rate
    decay = TABULAR_DECAY if weight_decay is None else weight_decay
    groups = parameter_groups(model, learning_rate=rate, weight_decay=decay)
    kinds = {parameter.device.type for group in groups for parameter in group["params"]}
    with light_start():
        return torch.optim.AdamW(groups, betas=TABULAR_BETAS, fused=len(kinds) == 1 and kinds <= {"cpu", "cuda"})


def _named(name: str, parameters: list[nn.Parameter], settings: dict[str, Any]) -> torch.optim.Optimizer:
    if name not in OPTIMIZERS:
        known = f"one of {', '.join((*OPTIMIZERS, 'tabular'))}, a torch.optim class, partial or instance"
        raise PlanError(f"optimizer must be {known}, got {name!r}{did_you_mean(name, (*OPTIMIZERS, 'tabular'))}")
    if name != "sgd" and (settings.get("momentum") or settings.get("nesterov")):
        raise PlanError(
            f"momentum and nesterov belong to optimizer='sgd', got optimizer={name!r}; adam's are its betas: pass a partial"
        )
    if settings.get("nesterov") and not settings.get("momentum"):
        raise PlanError("nesterov needs momentum above 0, got momentum=0; give momentum=0.9")
    kinds = {parameter.device.type for parameter in parameters}
    dtypes = {parameter.dtype for parameter in parameters}
    fused = kinds <= {"cpu", "cuda"} and len(kinds) == 1 and dtypes <= {torch.float32, torch.float64}
    with light_start():
        return OPTIMIZERS[name](parameters, **{"lr": DEFAULT_RATES[name], **settings}, fused=fused)


def _given(optimizer: torch.optim.Optimizer, model: nn.Module, *, learning_rate: float | None) -> torch.optim.Optimizer:
    ours = {id(parameter) for parameter in model.parameters()}
    if not any(id(p) in ours for group in optimizer.param_groups for p in group["params"]):
        raise PlanError(
            "optimizer holds none of the model's parameters; make it from model.parameters() of this very model"
        )
    if learning_rate is not None:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
    return _one_gradient(optimizer)


def _one_gradient(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    if isinstance(optimizer, torch.optim.LBFGS):
        demand = "optimizer must take one gradient an update"
        raise PlanError(f"{demand}, got LBFGS, which evaluates the loss itself; use 'sgd' or 'adamw'")
    return optimizer


def _name(spec: object) -> str:
    if isinstance(spec, partial):
        return _name(spec.func)
    return getattr(spec, "__name__", type(spec).__name__)


def averaged_tensors(model: nn.Module) -> list[Tensor]:
    """What an exponential average runs over: each floating tensor, parameters then buffers; buffers may be replaced."""
    return [t.detach() for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]


def _float_buffers(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, value) for name, value in model.named_buffers() if value.is_floating_point()]


@dataclass
class Updater:
    """torch's optimizer with what stands around it: rates and decays by factor, clipping by norm, an average of the
    parameters."""

    optimizer: torch.optim.Optimizer
    model: nn.Module
    clip_norm: float | None = None
    ema_decay: float | None = None
    average: list[Tensor] | None = None
    base_rates: list[float] = field(default_factory=list)
    scheduled: str = ""  # what moves the rates, as it was given; nothing where they are the optimizer's own

    def __post_init__(self) -> None:
        self.base_rates = self.base_rates or self._rates()
        self._parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self._tables = tables_of(self.model, self.optimizer)
        self.finite_buffers = [name for name, value in _float_buffers(self.model) if bool(torch.isfinite(value).all())]
        if self.ema_decay is not None and self.average is None:
            self.average = [tensor.clone() for tensor in averaged_tensors(self.model)]
        drop_gradients(self.optimizer, self.model)  # what somebody left there is no part of the first update

    def _rates(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def read_settings(self) -> None:
        """Take over what was set on the optimizer since the last update: rates, and groups that were added. Raises PlanError
        for another rate where a schedule sets them; momentum, decay and the like are read where they are used."""
        drop_gradients(self.optimizer)  # of somebody's own backward pass, or of layers that were not trained so far
        now, before = self._rates(), self.base_rates
        if now == before:
            return
        if self.scheduled and now[: len(before)] != before:
            raise PlanError(
                f"learning_rate must be left to {self.scheduled} between two steps, got {now} on the optimizer, where it was "
                f"{before}; leave the schedule out to set it yourself"
            )
        self.take_rates()

    def take_rates(self) -> None:
        """Go on with the rates and groups that the optimizer has."""
        self.base_rates = self._rates()
        self._parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self._tables = tables_of(self.model, self.optimizer)

    def apply(self, rate_factor: float, decay_factor: float = 1.0) -> None:
        """One update from the gradients at hand; they are gone afterwards, and the optimizer's rates and decays as they
        were."""
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters, self.clip_norm)
        groups = self.optimizer.param_groups
        try:
            for group, rate in zip(groups, self.base_rates, strict=True):
                group["lr"] = rate * rate_factor
            with self._decaying(decay_factor), rows_alone(self.optimizer, self._tables):
                self.optimizer.step()
        finally:
            for group, rate in zip(groups, self.base_rates, strict=True):
                group["lr"] = rate
        drop_gradients(self.optimizer)
        if self.average is not None and self.ema_decay is not None:
            torch._foreach_lerp_(self.average, averaged_tensors(self.model), 1.0 - self.ema_decay)

    @contextmanager
    def _decaying(self, factor: float) -> Iterator[None]:
        """Each group's weight decay times the factor inside."""
        if factor == 1.0:
            yield
            return
        groups = self.optimizer.param_groups
        decays = [group["weight_decay"] for group in groups]
        try:
            for group, decay in zip(groups, decays, strict=True):
                group["weight_decay"] = decay * factor
            yield
        finally:
            for group, decay in zip(groups, decays, strict=True):
                group["weight_decay"] = decay

    def trained(self) -> list[Tensor]:
        """The parameters that an update moves, in the order of the model's."""
        held = {id(parameter) for parameter in self._parameters}
        return [p for p in self.model.parameters() if p.requires_grad and id(p) in held]

    def flat(self, of_trained: Sequence[Tensor]) -> Tensor:
        """One vector over all parameters of the model from a tensor for each trained one; zeros for the others."""
        held = {id(p): value for p, value in zip(self.trained(), of_trained, strict=True)}
        return torch.cat([held.get(id(p), torch.zeros_like(p)).detach().flatten() for p in self.model.parameters()])

    def buffers(self) -> list[Tensor]:
        """The floating buffers that were finite at the start; a mask may hold infinities from the first."""
        held = dict(self.model.named_buffers())
        return [held[name] for name in self.finite_buffers if name in held]

    def state_tensors(self) -> Iterable[Tensor]:
        """The optimizer's own tensors: momenta, second moments, step counts."""
        for state in self.optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, Tensor))


def drop_gradients(optimizer: torch.optim.Optimizer, model: nn.Module | None = None) -> None:
    """What `zero_grad()` does, without what torch's own loads at its first call (see `light_start`)."""
    held = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter in (*held, *(() if model is None else model.parameters())):
        parameter.grad = None


@contextmanager
def averaged(updater: Updater) -> Iterator[None]:
    """The model with its averaged parameters in place, put back afterwards; where none are kept, the model as it is."""
    if updater.average is None:
        yield
        return
    current = averaged_tensors(updater.model)
    own = [tensor.clone() for tensor in current]
    torch._foreach_copy_(current, updater.average)
    try:
        yield
    finally:
        torch._foreach_copy_(current, own)


def take_average(updater: Updater) -> None:
    """Let the model end with its averaged parameters, where they are kept."""
    if updater.average is not None:
        torch._foreach_copy_(averaged_tensors(updater.model), updater.average)
