"""Sizes in, a module out: linear models and multilayer perceptrons; what a file says of one in, the same made again out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mbgd.errors import PlanError, SavedFileError
from mbgd.model.body import at_least_one, body, start
from mbgd.model.scaled import ScaledMLP
from mbgd.model.table import TableModel

# B rows · F inputs


class MLP(nn.Module):
    """A multilayer perceptron over x (B, n_inputs): outputs (B,), or (B, n_outputs) where there are several.

    Without hidden layers it is the linear model. The weights are a function of `seed` alone; torch's own generators are
    not touched.
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int = 1,
        *,
        hidden_layer_sizes: Sequence[int] = (128, 128),
        activation: str = "relu",
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.n_inputs = at_least_one("n_inputs", n_inputs)
        self.n_outputs, self.hidden_layer_sizes = n_outputs, tuple(hidden_layer_sizes)
        self.activation, self.dropout = activation, dropout
        self.body = body(n_inputs, n_outputs, self.hidden_layer_sizes, activation=activation, dropout=dropout)
        start(self, seed)

    def forward(self, x_BF: Tensor) -> Tensor:
        output: Tensor = self.body(x_BF)
        return output.squeeze(1) if self.n_outputs == 1 else output


def linear(n_inputs: int, n_outputs: int = 1, *, seed: int = 0) -> MLP:
    """The linear model over x (B, n_inputs): outputs (B,) or (B, n_outputs)."""
    return MLP(n_inputs, n_outputs, hidden_layer_sizes=(), seed=seed)


def mlp(
    n_inputs: int,
    n_outputs: int = 1,
    *,
    hidden_layer_sizes: Sequence[int] = (128, 128),
    activation: str = "relu",
    dropout: float = 0.0,
    seed: int = 0,
) -> MLP:
    """A multilayer perceptron over x (B, n_inputs): outputs (B,) or (B, n_outputs)."""
    return MLP(
        n_inputs,
        n_outputs,
        hidden_layer_sizes=hidden_layer_sizes,
        activation=activation,
        dropout=dropout,
        seed=seed,
    )


SEVERAL = "several"  # models beside each other in an nn.ModuleList, for whoever takes their mean
_LATER = ("edges", "number_size", "scaled", "shared_members")  # words that files of the first models lack
_COMMON = ("n_outputs", "hidden_layer_sizes", "activation", "dropout")
_KINDS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "mlp": (MLP, ("n_inputs", *_COMMON)),
    "scaled_mlp": (ScaledMLP, ("n_inputs", *_COMMON)),
    "table": (
        TableModel,
        ("n_numbers", "cardinalities", "one_hot_up_to", "embedding_size", *_LATER, *_COMMON),
    ),
}


def architecture(model: nn.Module) -> dict[str, Any] | None:
    """What `build` needs to make such a model again, as JSON; None for a module that is not of this file."""
    if type(model) is nn.ModuleList:
        parts = [architecture(part) for part in model]
        ours = len(parts) > 0 and all(part is not None and part["kind"] in _KINDS for part in parts)
        return {"kind": SEVERAL, "models": parts} if ours else None
    for kind, (made, names) in _KINDS.items():
        if type(model) is made:
            values = {name: getattr(model, name) for name in names}
            if values.get("shared_members") == 1:
                del values["shared_members"]
            return {"kind": kind, **{n: _as_json(v) for n, v in values.items()}}
    return None


def _as_json(value: Any) -> Any:
    return [_as_json(part) for part in value] if isinstance(value, tuple) else value


def build(described: Mapping[str, Any], *, seed: int = 0) -> nn.Module:
    """The model that `architecture` described. Raises SavedFileError where it describes none."""
    kind = described.get("kind")
    if kind == SEVERAL:
        return nn.ModuleList(_build_one(part, seed=seed) for part in described["models"])
    return _build_one(described, seed=seed)


def _build_one(described: Mapping[str, Any], *, seed: int) -> nn.Module:
    kind = described.get("kind")
    if kind not in _KINDS:
        known = " or ".join(_KINDS)
        raise SavedFileError(f"architecture must be of kind {known}, got {kind!r}; install the MBGD that saved it")
    made, names = _KINDS[kind]
    try:
        given = [name for name in names if name in described or name not in _LATER]
        return made(**{name: described[name] for name in given}, seed=seed)
    except (KeyError, TypeError, PlanError) as error:
        raise SavedFileError(f"architecture of kind {kind} cannot be built ({error}); the file is damaged") from None
