"""The fitted network of an estimator, with how rows become its inputs and outputs become answers.

n rows · K outputs · F columns
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mbgd.data.sparse import is_sparse
from mbgd.data.table import Table
from mbgd.desk.array_rows import sparse_outputs
from mbgd.desk.further import Stand
from mbgd.errors import DataError, PlanError
from mbgd.estimators.arrays import AsTheyAre, Entries, Numbers, learn_entries, learn_numbers
from mbgd.estimators.frames import Columns, learn_columns
from mbgd.estimators.labels import Labels, Scale
from mbgd.estimators.read import Rows, n_rows
from mbgd.estimators.running_scales import Seen
from mbgd.forks import after_fork
from mbgd.model.build import mlp
from mbgd.model.table import TableModel
from mbgd.step.plain import prediction_word

AT_ONCE = 8192  # rows of a forward pass
Array = NDArray[np.float64]


Road = Numbers | Columns | AsTheyAre | Entries


@dataclass(frozen=True)
class Network:
    """A trained network. `road` turns rows into inputs, `target` outputs into answers; `stand` is what goes on from here, `seen`
    what scales go on from."""

    road: Road
    module: nn.Module
    target: Labels | Scale
    loss: str
    dtype: np.dtype[Any]
    stand: Stand | None = None
    seen: Seen | None = None  # by partial_fit

    @after_fork()
    def outputs(self, rows: Rows) -> Array:
        """(n,) or (n, K) as the last layer gives them, float64."""
        if isinstance(self.road, Numbers):  # in new memory, but not all at once
            blocks = [rows[start : start + AT_ONCE] for start in range(0, n_rows(rows), AT_ONCE)]
            return np.concatenate([outputs_of(self.module, self.inputs(block)) for block in blocks])
        try:
            return outputs_of(self.module, self.inputs(rows))
        except RuntimeError as error:  # of a module of the user's own
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            shown = tuple(getattr(rows, "shape", ())[1:])
            raise DataError(
                f"X must fit the module, got rows of shape {shown}, which its forward refuses: {why}"
            ) from error

    def inputs(self, rows: Rows, *, kernels: bool = False) -> Any:
        """What the module takes: an array, or numbers and codes in a tuple. Predictions do without kernels, which might have
        to be compiled."""
        if isinstance(self.road, Columns):
            assert isinstance(rows, Table)
            return self.road.inputs(rows)
        assert not isinstance(rows, Table)
        if isinstance(self.road, Numbers):
            return self.road.inputs(rows, self.dtype, kernels=kernels)
        return self.road.inputs(rows, self.dtype)

    def decisions(self, rows: Rows) -> Array:
        """`outputs`, but of two classes with an output each their difference: above 0 for the second."""
        z = self.outputs(rows)
        two = isinstance(self.target, Labels) and self.target.kind == "multiclass" and z.shape[1] == 2
        return z[:, 1] - z[:, 0] if two else z

    @after_fork()
    def probabilities(self, rows: Rows) -> Array:
        """(n, C) of the classes, or (n, L) of each label by itself."""
        assert isinstance(self.target, Labels)
        z = torch.from_numpy(self.outputs(rows))
        if self.target.kind == "multiclass":
            return torch.softmax(z, 1).numpy()
        p = torch.sigmoid(z).numpy()
        return p if self.target.kind == "multilabel" else np.stack([1 - p, p], axis=1)

    def means(self, rows: Rows) -> Array:
        """(n,) or (n, T) in the target's own units."""
        assert isinstance(self.target, Scale)
        z = self.outputs(rows)
        return self.target.restore(np.exp(z) if prediction_word(self.loss, several=z.ndim > 1) == "exp" else z)

    def predicted(self, rows: Rows) -> NDArray[Any]:
        """The same in the network's own precision, or in float64 where that cannot hold them."""
        means = self.means(rows)
        with np.errstate(over="ignore"):
            found: NDArray[Any] = means.astype(self.dtype)
        return found if np.isfinite(found).all() else means

    def linear(self) -> tuple[Array, Array] | None:
        """(coefficients (K, F), intercepts (K,)) in the units of X and y, float64, of a linear model of an array."""
        layers = [layer for layer in self.module.modules() if isinstance(layer, nn.Linear)]
        if len(layers) != 1 or not isinstance(self.road, Numbers | Entries):
            return None
        slope, start = (t.detach().double().cpu().numpy() for t in (layers[0].weight, layers[0].bias))
        if isinstance(self.target, Scale):
            slope = slope * np.reshape(self.target.scale, (-1, 1))
            start = start * self.target.scale + self.target.center
        slope = slope / self.road.scale
        return slope, np.atleast_1d(start - slope @ self.road.center if isinstance(self.road, Numbers) else start)


def outputs_of(module: nn.Module, inputs: Any) -> Array:
    """What a module makes of inputs (arrays, a tuple of them, or sparse rows), in evaluation mode, in blocks of rows."""
    if is_sparse(inputs):
        return sparse_outputs(module, inputs)
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    module.eval()
    found: list[Tensor] = []
    with torch.no_grad():
        for start in range(0, len(parts[0]), AT_ONCE):
            block = [torch.from_numpy(part[start : start + AT_ONCE]).to(device) for part in parts]
            output = module(*block)
            if not isinstance(output, Tensor):
                raise PlanError(f"module must return one tensor, got a {type(output).__name__}; mbgd.fit takes several")
            output = output.double().cpu()
            found.append(output[:, 0] if output.ndim == 2 and output.shape[1] == 1 else output)
    return torch.cat(found).numpy()


def learn_road(rows: Rows, *, training: NDArray[np.int64] | None, weight: Array | None, bounded: bool) -> Road:
    """How rows become inputs, learned from the training rows (all where None)."""
    if isinstance(rows, Table):
        return learn_columns(rows, training)
    if training is not None:
        rows, weight = rows[training], None if weight is None else weight[training]
    if is_sparse(rows):
        return learn_entries(rows, weight)
    return learn_numbers(rows, weight=weight, bounded=bounded)


def new_module(
    road: Road,
    n_outputs: int,
    *,
    hidden_layer_sizes: tuple[int, ...],
    activation: str,
    dropout: float,
    dtype: np.dtype[Any],
    seed: int,
) -> nn.Module:
    """A network with start values that are a function of the seed. A frame's numbers bend and its inputs have scales, as
    those of `fit_table`, unless it is linear."""
    words: dict[str, Any] = {"hidden_layer_sizes": hidden_layer_sizes, "activation": activation, "dropout": dropout}
    if isinstance(road, Numbers | Entries):
        width = road.n_columns if isinstance(road, Entries) else len(road.center)
        return mlp(width, n_outputs, **words, seed=seed).to(_torch(dtype))
    assert isinstance(road, Columns)
    encoder, deep = road.encoder, bool(hidden_layer_sizes)
    return TableModel(
        len(encoder.number_names),
        encoder.cardinalities,
        n_outputs,
        **words,
        edges=encoder.edges if deep else (),
        scaled=deep,
        seed=seed,
    )


def check_same_shape(module: nn.Module, hidden_layer_sizes: tuple[int, ...]) -> None:
    """Raises PlanError where training is to go on with a network of other layers."""
    now = tuple(getattr(module, "hidden_layer_sizes", hidden_layer_sizes))
    if now != hidden_layer_sizes:
        raise PlanError(
            f"hidden_layer_sizes must stay {now} where training goes on, got {hidden_layer_sizes}; "
            "set warm_start=False for a new network"
        )


def _torch(dtype: np.dtype[Any]) -> torch.dtype:
    return torch.float32 if dtype == np.float32 else torch.float64
