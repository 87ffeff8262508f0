"""Make linear models and multilayer perceptrons from their sizes, and make them again from what a file says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mbgd.errors import SavedFileError
from mbgd.model.body import at_least_one, body, start
from mbgd.model.outline import KINDS, SEVERAL, outline
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
        seed: int | None = 0,
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


_MADE: dict[str, type[nn.Module]] = {"mlp": MLP, "scaled_mlp": ScaledMLP, "table": TableModel}


def architecture(model: nn.Module) -> dict[str, Any] | None:
    """What `build` needs to make such a model again, as JSON; None for a module that is not of this file."""
    if type(model) is nn.ModuleList:
        parts = [architecture(part) for part in model]
        ours = len(parts) > 0 and all(part is not None and part["kind"] in KINDS for part in parts)
        return {"kind": SEVERAL, "models": parts} if ours else None
    for kind, made in _MADE.items():
        if type(model) is made:
            values = {name: getattr(model, name) for name in KINDS[kind]}
            if values.get("shared_members") == 1:
                del values["shared_members"]
            return {"kind": kind, **{n: _as_json(v) for n, v in values.items()}}
    return None


def _as_json(value: Any) -> Any:
    return [_as_json(part) for part in value] if isinstance(value, tuple) else value


def build(described: Mapping[str, Any], *, seed: int | None = 0) -> nn.Module:
    """The model that `architecture` described; without a seed its parameters have shapes and no memory, for whoever loads them.
    Raises SavedFileError where it describes none."""
    try:
        outline(described)
    except ValueError as error:
        raise SavedFileError(f"the model cannot be built: {error}; the file is damaged, take another copy") from None
    if described["kind"] == SEVERAL:
        return nn.ModuleList(_build_one(part, seed=seed) for part in described["models"])
    return _build_one(described, seed=seed)


def _build_one(described: Mapping[str, Any], *, seed: int | None) -> nn.Module:
    kind = described["kind"]
    return _MADE[kind](**{name: described[name] for name in KINDS[kind] if name in described}, seed=seed)
