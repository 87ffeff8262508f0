"""Write the records of a training to TensorBoard or MLflow as well; a logger that fails stops no training."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from mbgd.errors import PlanError, SavedFileError
from mbgd.record.event_file import first_event, scalars_event, started_event
from mbgd.record.history import Record
from mbgd.store import append_bytes, check_own_folder, check_own_tree, read_json, write_json
from mbgd.store.schema import Entries, Text

LOGGERS = ("tensorboard", "mlflow")
TENSORBOARD, MLFLOW, MLFLOW_RUN = "tensorboard", "mlruns", "mlflow.json"  # in the run folder
EVENTS = r"events\.out\.tfevents\.\d+\.mbgd\.\d+\.\d+"  # files in `tensorboard`
MLFLOW_FILE = r"\d+/(?:[0-9a-f]{32}/)?(?:meta\.yaml|(?:metrics|params|tags)/.+)"  # in `mlruns`
TRACKING_URI, ALLOW_FOLDERS = "MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE"
_LONGEST = 500  # characters of a parameter in MLflow


class Logger(Protocol):
    """Where records go besides history.jsonl."""

    def add(self, record: Record) -> None: ...

    def close(self, *, ended: bool) -> None:
        """Nothing more comes; `ended` as planned, or cut off."""
        ...


class GuardedLogger:
    """A logger that is opened at its first record; its first failure is its last, and one notice."""

    def __init__(self, name: str, open_logger: Callable[[], Logger]) -> None:
        self._name, self._open = name, open_logger
        self._logger: Logger | None = None
        self.notices: tuple[str, ...] = ()

    def add(self, record: Record) -> None:
        if self.notices:
            return
        try:
            self._logger = self._logger or self._open()
            self._logger.add(record)
        except Exception as error:
            self._failed(error)

    def close(self, *, ended: bool) -> None:
        if self.notices or self._logger is None:
            return
        try:
            self._logger.close(ended=ended)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        self.notices = (f"{self._name} failed and got no more records ({said}); history.jsonl has them all",)


def check_logger(name: str | None, folder: Path | None) -> None:
    """Raises PlanError where there is no run folder to write to, or the package is missing: before anything is trained."""
    if name is None:
        return
    if folder is None:
        raise PlanError(f"log={name!r} needs a run folder to write to, got none; give out=")
    if name == "mlflow":
        try:
            import mlflow  # noqa: F401
        except ImportError:
            missing = "log='mlflow' needs the package mlflow, which is not installed; pip install mlflow-skinny"
            raise PlanError(missing) from None


def make_logger(
    name: str | None, folder: Path | None, *, facts: Mapping[str, Any], step: int = 0
) -> GuardedLogger | None:
    """The logger of that name for a run folder; `facts` are what the run was asked for, `step` is where it goes on."""
    if name is None or folder is None:
        return None
    if name == "tensorboard":
        return GuardedLogger(name, lambda: _TensorBoard(folder / TENSORBOARD, step=step))
    return GuardedLogger(name, lambda: _MLflow(folder, facts=facts))


def scalars(record: Record) -> dict[str, float]:
    """The numbers of a record by tag: those of validation rows together, as `validation/r2`; none for what is no number."""
    numbers = {name: value for name, value in record.items() if name != "step" and isinstance(value, int | float)}
    return {tag(name): float(value) for name, value in numbers.items()}


def tag(name: str) -> str:
    """What a column of the history is called there."""
    return name.replace("validation_", "validation/", 1)


def mlflow_place(folder: Path) -> str:
    """The store of a run folder, or the one that MLFLOW_TRACKING_URI names."""
    return os.environ.get(TRACKING_URI) or (folder / MLFLOW).absolute().as_uri()


class _TensorBoard:
    """An event file a training; `tensorboard --logdir` of the run folder, or of one that holds several, shows it."""

    def __init__(self, folder: Path, *, step: int) -> None:
        check_own_folder(folder)
        folder.mkdir(exist_ok=True)
        now, number = time.time(), sum(1 for _ in folder.iterdir())  # its readers take the files of a folder by name
        self._path = folder / f"events.out.tfevents.{int(now):010d}.mbgd.{os.getpid()}.{number}"
        append_bytes(self._path, first_event(now) + started_event(now, step + 1))

    def add(self, record: Record) -> None:
        append_bytes(self._path, scalars_event(time.time(), int(record["step"]), scalars(record)))

    def close(self, *, ended: bool) -> None:
        pass


_RUN = Entries({"run_id": Text(r"[\w\-]{1,128}", "letters and digits")})
"""mlflow.json."""


class _MLflow:
    """A run of MLflow's, in the folder `mlruns` of the run, or where MLFLOW_TRACKING_URI says; gone on with at a resume."""

    def __init__(self, folder: Path, *, facts: Mapping[str, Any]) -> None:
        from mlflow import MlflowClient

        where = mlflow_place(folder)
        check_own_tree(folder / MLFLOW)
        with _folders_allowed():
            self._client = MlflowClient(tracking_uri=where)
        known = folder / MLFLOW_RUN
        if known.exists():
            said = read_json(known)
            if found := _RUN.fault(said, ""):
                raise SavedFileError(
                    f"{known} must name a run of MLflow's: {found}; restore it from a copy, or remove it"
                )
            self._run = said["run_id"]
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "mbgd")
        found = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        self._run = self._client.create_run(experiment, run_name=folder.name).info.run_id
        write_json(known, {"run_id": self._run, "tracking_uri": where})
        for knob, value in facts.items():
            if value not in (None, []):
                self._client.log_param(self._run, knob, str(value)[:_LONGEST])

    def add(self, record: Record) -> None:
        for name, value in scalars(record).items():
            self._client.log_metric(self._run, name, value, step=int(record["step"]))

    def close(self, *, ended: bool) -> None:
        self._client.set_terminated(self._run, status="FINISHED" if ended else "KILLED")


@contextmanager
def _folders_allowed() -> Iterator[None]:
    """MLflow 3 keeps its store in a folder for those alone who say so; a run folder can hold no server."""
    before = os.environ.get(ALLOW_FOLDERS)
    os.environ[ALLOW_FOLDERS] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[ALLOW_FOLDERS]
        else:
            os.environ[ALLOW_FOLDERS] = before
