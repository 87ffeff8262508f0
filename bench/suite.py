"""What is raced, as data: problems, batch sizes, peers, and the ratios to reach."""

from __future__ import annotations

from dataclasses import dataclass

NAMES = {
    "fit": "`mbgd.fit`",
    "dataloader": "DataLoader loop",
    "slices": "slices by hand",
    "sklearn_mlp": "scikit-learn MLPClassifier",
    "sklearn_sgd": "scikit-learn SGDClassifier",
    "jax_scan": "JAX, scan over the epoch",
    "ceiling": "matrix products alone",
    "torch_compile": "torch.compile, 8 steps",
    "lightning_loop": "Lightning",
    "skorch_net": "skorch",
    "keras_jax": "Keras 3 on JAX",
}
EVERY_SIZE = (1, 8, 32, 256, 2048)
NETWORK = ("fit", "dataloader", "slices", "sklearn_mlp", "jax_scan", "ceiling")
MORE = ("torch_compile", "lightning_loop", "skorch_net", "keras_jax")


SECONDS = 0.5  # of a timed call: long beside what a fit costs once, some epochs of the smaller problems
SHARE = dict.fromkeys(("dataloader", "slices", "sklearn_mlp", "lightning_loop", "skorch_net"), 0.2)
"""Of those seconds for loops in Python, which are even from step to step and many times behind."""
SHARE["sklearn_sgd"] = 1.5  # a call of `fit` looks through all labels first, a tenth of an epoch


@dataclass(frozen=True)
class Field:
    """A problem with who runs in it; `fit` is always the first. `more` joins in the long benchmark."""

    problem: str
    peers: tuple[str, ...]
    batch_sizes: tuple[int, ...] = EVERY_SIZE
    more: tuple[str, ...] = ()


FIELDS = (
    Field("reference", NETWORK, more=MORE),
    Field("logistic", ("fit", "dataloader", "slices", "sklearn_sgd", "jax_scan"), more=MORE),
    Field("digits", NETWORK, more=MORE),
    Field("gelu", ("fit", "slices", "jax_scan"), (32, 256)),
    Field("silu", ("fit", "slices", "jax_scan"), (32, 256)),
    Field("tanh", ("fit", "slices", "jax_scan"), (32, 256)),
    Field("table", ("fit", "dataloader", "slices"), (32, 256)),
    Field("wide", ("fit", "slices", "jax_scan", "ceiling"), (32, 256)),
)
GOALS = {  # (problem, batch size, peer) -> at least so many times its speed, on one core
    ("reference", 1, "jax_scan"): 1.0,
    ("reference", 32, "jax_scan"): 1.15,
    ("reference", 256, "jax_scan"): 1.25,
    ("reference", 32, "dataloader"): 10.0,
    ("reference", 256, "dataloader"): 7.0,
    ("reference", 32, "sklearn_mlp"): 7.0,
    ("reference", 256, "ceiling"): 0.75,
    ("logistic", 1, "sklearn_sgd"): 3.0,
    ("logistic", 32, "sklearn_sgd"): 5.0,
}
STRETCH = {("reference", 256, "jax_scan"): 1.5}
