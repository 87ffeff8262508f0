"""MBGD: mini-batch gradient descent with an exact gradient, at the speed of the hardware."""

from __future__ import annotations

from importlib import import_module

from mbgd.loading import uncollected

TYPE_CHECKING = False  # not from typing: until the command has come through here it hears no signal
if TYPE_CHECKING:
    from typing import Any

    from mbgd import reference
    from mbgd.data.batches import batches
    from mbgd.desk.ensemble import Ensemble
    from mbgd.desk.explain import explain
    from mbgd.desk.export import export
    from mbgd.desk.load import load
    from mbgd.desk.one_row import RowPredictor, load_light
    from mbgd.desk.plan import Plan
    from mbgd.desk.predictor import Predictor
    from mbgd.desk.result import Run
    from mbgd.desk.resume import resume
    from mbgd.desk.run import fit, steps
    from mbgd.desk.tables import fit_table
    from mbgd.desk.train import Look
    from mbgd.desk.verify import verify
    from mbgd.errors import DataError, DivergenceError, MBGDError, PlanError, SavedFileError, StorageError
    from mbgd.estimators.classifier import MBGDClassifier as MBGDClassifier
    from mbgd.estimators.estimator import MBGDEstimator as MBGDEstimator
    from mbgd.estimators.regressor import MBGDRegressor as MBGDRegressor
    from mbgd.loop.stop import Ending, StopReason
    from mbgd.model.build import linear, mlp
    from mbgd.model.table import TableModel

_WHERE = {  # a public name -> the module that holds it, loaded at its first use: `mbgd --help` needs no torch
    "fit": "mbgd.desk.run",
    "fit_table": "mbgd.desk.tables",
    "steps": "mbgd.desk.run",
    "resume": "mbgd.desk.resume",
    "export": "mbgd.desk.export",
    "load": "mbgd.desk.load",
    "verify": "mbgd.desk.verify",
    "load_light": "mbgd.desk.one_row",
    "explain": "mbgd.desk.explain",
    "batches": "mbgd.data.batches",
    "reference": "mbgd.reference",
    "Plan": "mbgd.desk.plan",
    "Run": "mbgd.desk.result",
    "Look": "mbgd.desk.train",
    "Predictor": "mbgd.desk.predictor",
    "Ensemble": "mbgd.desk.ensemble",
    "RowPredictor": "mbgd.desk.one_row",
    "TableModel": "mbgd.model.table",
    "linear": "mbgd.model.build",
    "mlp": "mbgd.model.build",
    "MBGDClassifier": "mbgd.estimators.classifier",
    "MBGDEstimator": "mbgd.estimators.estimator",
    "MBGDRegressor": "mbgd.estimators.regressor",
    "Ending": "mbgd.loop.stop",
    "StopReason": "mbgd.loop.stop",
    "MBGDError": "mbgd.errors",
    "PlanError": "mbgd.errors",
    "DataError": "mbgd.errors",
    "SavedFileError": "mbgd.errors",
    "StorageError": "mbgd.errors",
    "DivergenceError": "mbgd.errors",
}
_OPTIONAL = (
    "MBGDClassifier",
    "MBGDEstimator",
    "MBGDRegressor",
)  # not in __all__: `from mbgd import *` needs no scikit-learn
__all__ = [
    "DataError",
    "DivergenceError",
    "Ending",
    "Ensemble",
    "Look",
    "MBGDError",
    "Plan",
    "PlanError",
    "Predictor",
    "RowPredictor",
    "Run",
    "SavedFileError",
    "StopReason",
    "StorageError",
    "TableModel",
    "batches",
    "explain",
    "export",
    "fit",
    "fit_table",
    "linear",
    "load",
    "load_light",
    "mlp",
    "reference",
    "resume",
    "steps",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("mbgd")
    if name not in _WHERE:
        raise AttributeError(f"module 'mbgd' has no attribute {name!r}")
    with uncollected():
        module = import_module(_WHERE[name])
    return module if name == "reference" else getattr(module, name)


def __dir__() -> list[str]:
    """The names, for help and completion: the estimators among them where scikit-learn is installed."""
    from importlib.util import find_spec

    try:
        there = find_spec("sklearn") is not None
    except (ImportError, ValueError):
        there = False
    return [*__all__, *(_OPTIONAL if there else ()), "__version__"]
