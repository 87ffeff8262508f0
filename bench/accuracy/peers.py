"""Who is compared, as data: the file that fits, what it is told, and on which tables it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tables import ALL


@dataclass(frozen=True)
class Peer:
    """`side` is a file in `sides/`; `options` what it gets beside the rows; `only` the tables, where it is not all."""

    shown: str
    side: str
    options: Mapping[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] = ()

    @property
    def tables(self) -> tuple[str, ...]:
        return self.only or tuple(ALL)


OURS, BASE = "mbgd", "lightgbm"
PEERS = {
    OURS: Peer("mbgd", "ours"),
    BASE: Peer("LightGBM", "lightgbm_trees"),
    "hist": Peer("HistGradientBoosting", "hist_trees"),
    "catboost": Peer("CatBoost", "catboost_trees"),
    "realmlp_td_s": Peer("RealMLP-TD-S", "realmlp", {"variant": "TD_S"}),
    "realmlp_td": Peer("RealMLP-TD", "realmlp", {"variant": "TD"}),
    "sklearn_mlp": Peer("scikit-learn MLP", "sklearn_network"),
    "lightgbm_500": Peer(
        "LightGBM, 500 trees", "lightgbm_trees", {"n_estimators": 500}, only=("flights", "flights_by_time")
    ),
}


def variant(label: str, options: Mapping[str, Any]) -> dict[str, Peer]:
    """MBGD with options of `fit_table`, as one more who is compared: mbgd:LABEL."""
    name = f"{OURS}:{label}"
    return {name: Peer(name, "ours", dict(options))}


def shown(name: str) -> str:
    return PEERS[name].shown if name in PEERS else name
