"""A saved network over one row in plain NumPy, for serving without torch.

F numbers · C category columns · E numbers embedded · K bins · H columns of ones and zeros · I inputs of the first layer
M members
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Bends:
    """Numbers that are embedded: which (E,), the left edge of each bin and one over its width (E, K), the embeddings (E, K, S)."""

    column: NDArray[np.intp]
    left: Array
    per_bin: Array
    embedding: Array

    def __call__(self, numbers_F: Array) -> Array:
        share_EK = (numbers_F[self.column][:, None] - self.left) * self.per_bin
        share_EK = np.minimum(np.maximum(share_EK, 0), 1)
        embedded: Array = np.matmul(share_EK[:, None, :], self.embedding).reshape(-1)
        return embedded


@dataclass(frozen=True)
class Front:
    """What a `TableModel` has before its layers: numbers and codes in, the inputs of the first layer out."""

    bends: Bends | None
    hot_column: NDArray[np.intp]  # (H,)
    hot_code: NDArray[np.int64]  # (H,)
    embedded: tuple[tuple[int, Array], ...]  # code column and its table (codes, size)
    scale: Array | None  # (I,), or (M, I) where members share the layers

    def __call__(self, numbers_F: Array, codes: Sequence[int]) -> Array:
        parts = [numbers_F]
        if self.bends is not None:
            parts.append(self.bends(numbers_F))
        if len(self.hot_code):
            parts.append(np.array(codes)[self.hot_column] == self.hot_code)
        parts += [table[codes[column]] for column, table in self.embedded]
        joined: Array = np.concatenate(parts, dtype=numbers_F.dtype) if len(parts) > 1 else numbers_F
        return joined if self.scale is None else joined * self.scale

    @property
    def members(self) -> int:
        """How many share the layers."""
        return 1 if self.scale is None or self.scale.ndim == 1 else len(self.scale)


@dataclass(frozen=True)
class Scaling:
    """What a `ScaledMLP` has before its layers: numbers in their own units in, (x - center) / scale out, cut off at `bound`."""

    center: Array  # (F,), as the next two
    scale: Array
    bound: Array

    def __call__(self, numbers_F: Array, codes: Sequence[int]) -> Array:
        z_F: Array = (numbers_F - self.center) / self.scale
        return np.minimum(np.maximum(z_F, -self.bound), self.bound)


@dataclass(frozen=True)
class Network:
    """`MLP` or, with a front, `ScaledMLP` or `TableModel`: weights (out, in) and bias of each layer, an activation between
    them; of several members those of the last layer are (M, out, in) and (M, out), and their mean is the output."""

    front: Front | Scaling | None
    layers: tuple[tuple[Array, Array], ...]
    activation: str

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.layers[0][0].dtype

    @property
    def members(self) -> int:
        """How many share its layers; the mean of theirs is the output."""
        return self.front.members if isinstance(self.front, Front) else 1

    @property
    def n_inputs(self) -> int:
        """Of the first layer."""
        return int(self.layers[0][0].shape[1])

    def __call__(self, numbers_F: Array, codes: Sequence[int] = ()) -> Array:
        """Outputs (n_outputs,) of one row."""
        u = numbers_F if self.front is None else self.front(numbers_F, codes)
        bend, last = ACTIVATIONS[self.activation], len(self.layers) - 1
        if self.members > 1:
            for weight_OI, bias_O in self.layers[:-1]:
                u = bend(u @ weight_OI.T + bias_O)
            weight_MOI, bias_MO = self.layers[-1]
            mean_O: Array = (np.matmul(weight_MOI, u[:, :, None])[:, :, 0] + bias_MO).mean(0)
            return mean_O
        for number, (weight_OI, bias_O) in enumerate(self.layers):
            u = weight_OI @ u + bias_O
            if number < last:
                u = bend(u)
        return u


def _relu(u: Array) -> Array:
    bent: Array = np.maximum(u, 0)
    return bent


def _silu(u: Array) -> Array:
    with np.errstate(over="ignore"):
        bent: Array = u / (1 + np.exp(-u))
    return bent


def _gelu(u: Array) -> Array:
    from scipy.special import ndtr

    bent: Array = u * ndtr(u)
    return bent


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"relu": _relu, "tanh": np.tanh, "gelu": _gelu, "silu": _silu}


def network(described: Mapping[str, Any], arrays: Mapping[str, Array]) -> Network:
    """The network of an architecture of one model, its arrays by their names in the file, as `outline.check_tensors` has let
    them pass; they are not copied."""
    numbers = sorted(int(name.split(".")[1]) for name in arrays if name.startswith("body.") and "weight" in name)
    layers = tuple((arrays[f"body.{n}.weight"], arrays[f"body.{n}.bias"]) for n in numbers)
    return Network(_FRONTS[described["kind"]](described, arrays), layers, described["activation"])


def _no_front(described: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    return None


def _scaling(described: Mapping[str, Any], arrays: Mapping[str, Array]) -> Scaling:
    return Scaling(arrays["center"], arrays["scale"], arrays["bound"])


def _front(described: Mapping[str, Any], arrays: Mapping[str, Array]) -> Front:
    sizes = list(enumerate(described["cardinalities"]))
    few = described["one_hot_up_to"]
    hot = [(column, code) for column, size in sizes if size - 1 <= few for code in range(1, size)]
    embedded = [column for column, size in sizes if size - 1 > few]
    return Front(
        bends=_bends([list(edges) for edges in described.get("edges", ())], arrays),
        hot_column=np.array([column for column, _ in hot], np.intp),
        hot_code=np.array([code for _, code in hot], np.int64),
        embedded=tuple((column, arrays[f"embeddings.{k}"]) for k, column in enumerate(embedded)),
        scale=arrays["scale"] if described.get("scaled") else None,
    )


_FRONTS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Array]], Front | Scaling | None]] = {
    "mlp": _no_front,
    "scaled_mlp": _scaling,
    "table": _front,
}


def _bends(edges: list[list[float]], arrays: Mapping[str, Array]) -> Bends | None:
    columns = [column for column, of_column in enumerate(edges) if of_column]
    if not columns:
        return None
    embedding_EKS = arrays["number_embedding"]
    left_EK, per_bin_EK = (np.zeros(embedding_EKS.shape[:2], embedding_EKS.dtype) for _ in range(2))
    for row, column in enumerate(columns):
        bins = list(pairwise(edges[column]))
        left_EK[row, : len(bins)] = [a for a, _ in bins]
        per_bin_EK[row, : len(bins)] = [1 / (b - a) for a, b in bins]
    return Bends(np.array(columns, np.intp), left_EK, per_bin_EK, embedding_EKS)
