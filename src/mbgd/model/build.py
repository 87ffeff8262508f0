"""Sizes in, a module out: linear models and multilayer perceptrons over plain inputs or over numbers and category codes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mbgd.errors import PlanError, SavedFileError, did_you_mean
from mbgd.seeds import Purpose, counter

# B rows · F numbers · C category columns · H columns of ones and zeros
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}
EMBEDDING_SPREAD = 0.1
"""Standard deviation of embeddings at the start: small beside the numbers, which have spread 1."""


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
        self.n_inputs = _at_least_one("n_inputs", n_inputs)
        self.n_outputs, self.hidden_layer_sizes = n_outputs, tuple(hidden_layer_sizes)
        self.activation, self.dropout = activation, dropout
        self.body = _body(n_inputs, n_outputs, self.hidden_layer_sizes, activation=activation, dropout=dropout)
        _start(self, seed)

    def forward(self, x_BF: Tensor) -> Tensor:
        output: Tensor = self.body(x_BF)
        return output.squeeze(1) if self.n_outputs == 1 else output


class TableModel(nn.Module):
    """A multilayer perceptron over numbers (B, F) and category codes (B, C), int64, with code 0 for missing or unseen.

    A column of up to `one_hot_up_to` categories, code 0 not counted, becomes a column of ones and zeros for each of them
    (all zero for code 0); one of more becomes an embedding of `embedding_size` numbers, code 0 a row of its own.
    """

    def __init__(
        self,
        n_numbers: int,
        cardinalities: Sequence[int] = (),
        n_outputs: int = 1,
        *,
        hidden_layer_sizes: Sequence[int] = (256, 256),
        activation: str = "relu",
        dropout: float = 0.0,
        one_hot_up_to: int = 8,
        embedding_size: int = 8,
        seed: int = 0,
    ) -> None:
        """`cardinalities`: codes of each category column, code 0 counted."""
        super().__init__()
        self.n_numbers, self.cardinalities, self.n_outputs = n_numbers, tuple(cardinalities), n_outputs
        self.hidden_layer_sizes, self.activation, self.dropout = tuple(hidden_layer_sizes), activation, dropout
        self.one_hot_up_to, self.embedding_size = one_hot_up_to, _at_least_one("embedding_size", embedding_size)
        if n_numbers < 0:
            raise PlanError(f"n_numbers must be at least 0, got {n_numbers}; give the columns of the numbers")
        sizes = list(enumerate(_at_least_one("cardinalities", size) for size in self.cardinalities))
        self._embedded = [column for column, size in sizes if size - 1 > one_hot_up_to]
        hot = [(column, code) for column, size in sizes if size - 1 <= one_hot_up_to for code in range(1, size)]
        width = n_numbers + len(hot) + embedding_size * len(self._embedded)
        if width < 1:
            raise PlanError("model must have at least one input, got no numbers and no categories; give it a column")
        tables = [torch.empty(self.cardinalities[column], embedding_size, device="meta") for column in self._embedded]
        self.embeddings = nn.ParameterList(nn.Parameter(table) for table in tables)
        self.body = _body(width, n_outputs, self.hidden_layer_sizes, activation=activation, dropout=dropout)
        _start(self, seed)
        self.register_buffer("_hot_column", torch.tensor([column for column, _ in hot], dtype=torch.int64), False)
        self.register_buffer("_hot_code", torch.tensor([code for _, code in hot], dtype=torch.int64), False)
        self._any_hot = bool(hot)

    def forward(self, numbers_BF: Tensor, codes_BC: Tensor) -> Tensor:
        parts = [numbers_BF]
        if self._any_hot:  # all columns in one comparison: several times quicker than a lookup for each
            parts.append((codes_BC.index_select(1, self._hot_column) == self._hot_code).to(numbers_BF.dtype))
        for column, table in zip(self._embedded, self.embeddings, strict=True):
            parts.append(nn.functional.embedding(codes_BC[:, column], table))
        output: Tensor = self.body(torch.cat(parts, dim=1) if len(parts) > 1 else numbers_BF)
        return output.squeeze(1) if self.n_outputs == 1 else output

    _hot_column: Tensor
    _hot_code: Tensor


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


_COMMON = ("n_outputs", "hidden_layer_sizes", "activation", "dropout")
_KINDS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "mlp": (MLP, ("n_inputs", *_COMMON)),
    "table": (TableModel, ("n_numbers", "cardinalities", "one_hot_up_to", "embedding_size", *_COMMON)),
}


def architecture(model: nn.Module) -> dict[str, Any] | None:
    """What `build` needs to make such a model again, as JSON; None for a module that is not of this file."""
    for kind, (made, names) in _KINDS.items():
        if type(model) is made:
            values = {name: getattr(model, name) for name in names}
            return {"kind": kind, **{n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}}
    return None


def build(described: Mapping[str, Any], *, seed: int = 0) -> nn.Module:
    """The model that `architecture` described. Raises SavedFileError where it describes none."""
    kind = described.get("kind")
    if kind not in _KINDS:
        known = " or ".join(_KINDS)
        raise SavedFileError(f"architecture must be of kind {known}, got {kind!r}; install the MBGD that saved it")
    made, names = _KINDS[kind]
    try:
        return made(**{name: described[name] for name in names}, seed=seed)
    except (KeyError, TypeError, PlanError) as error:
        raise SavedFileError(f"architecture of kind {kind} cannot be built ({error}); the file is damaged") from None


def _body(
    n_inputs: int, n_outputs: int, hidden_layer_sizes: tuple[int, ...], *, activation: str, dropout: float
) -> nn.Sequential:
    """Layers without memory yet: nothing is drawn from torch's own generator."""
    if activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise PlanError(f"activation must be one of {known}, got {activation!r}{did_you_mean(activation, ACTIVATIONS)}")
    if not 0 <= dropout < 1:
        raise PlanError(f"dropout must be at least 0 and below 1, got {dropout}; 0.1 leaves out every tenth unit")
    layers: list[nn.Module] = []
    for size in hidden_layer_sizes:
        layers += [
            nn.Linear(n_inputs, _at_least_one("hidden_layer_sizes", size), device="meta"),
            ACTIVATIONS[activation](),
        ]
        if dropout:
            layers.append(nn.Dropout(dropout))
        n_inputs = size
    return nn.Sequential(*layers, nn.Linear(n_inputs, _at_least_one("n_outputs", n_outputs), device="meta"))


def _start(model: nn.Module, seed: int) -> None:
    """Start values, parameter by parameter in the order of `named_parameters`, from one generator on the CPU.

    A layer of d inputs: weights and biases U(-1/sqrt(d), 1/sqrt(d)), torch's own rule; embeddings N(0, 0.1^2).
    """
    _give_memory(model, torch.get_default_device())
    if torch.get_default_device().type == "meta":
        return
    generator = torch.Generator().manual_seed(int(counter(seed, Purpose.INIT).random_raw()))
    bound = 0.0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
            if name.startswith("embeddings."):
                parameter.copy_(drawn.normal_(0.0, EMBEDDING_SPREAD, generator=generator))
                continue
            if parameter.ndim == 2:
                bound = 1 / math.sqrt(parameter.shape[1])  # a layer's bias follows its weight
            parameter.copy_(drawn.uniform_(-bound, bound, generator=generator))


def _give_memory(model: nn.Module, device: torch.device) -> None:
    """What `to_empty` does, without the half second in which it loads torch's symbolic shapes."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            module.register_parameter(
                name, nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype, device=device))
            )


def _at_least_one(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise PlanError(f"{name} must be a whole number of at least 1, got {value!r}; give a positive number")
    return value
