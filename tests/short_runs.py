"""A short training with all that has state (Adam, dropout, schedule, average, validation), and what is left of it as a value."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import mbgd
from mbgd import Run
from mbgd.desk.ended import read_result
from mbgd.record.checkpoint import newest
from problems import arrays, mlp

N, WIDTH, M = 115, 3, 4  # 92 rows train: 23 steps an epoch
X, Y, W = (torch.tensor(part) for part in arrays(N, WIDTH))
MASK = np.arange(N) % 5 == 0
ENGINES = ("fused", "autograd")


def net() -> nn.Sequential:
    return mlp(WIDTH, hidden=5, dropout=0.3)


def other_net() -> nn.Sequential:
    """The same module with nothing of its weights: what it goes on from is in the folder alone."""
    model = net()
    for tensor in model.state_dict().values():
        tensor.fill_(7)
    return model


def words(engine: str = "fused", **more: Any) -> Any:
    return {
        "loss": "squared_error",
        "batch_size": M,
        "optimizer": "adam",
        "learning_rate": 0.05,
        "schedule": "one_cycle",
        "ema_decay": 0.8,
        "clip_norm": 1.0,
        "epochs": 3,
        "validation": MASK,
        "checkpoint_every": 1,
        "engine": engine,
        **more,
    }


def fresh_chance() -> None:
    """Generators as the first process finds them: a checkpoint holds them."""
    np.random.seed(5)
    random.seed(5)


def fit(folder: Path, engine: str = "fused", **more: Any) -> Run:
    """The training from its start."""
    fresh_chance()
    return mbgd.fit(net(), (X, Y, W), out=folder, **words(engine, **more))


def resume(folder: Path, **again: Any) -> Run:
    """Gone on with in a process whose generators stand elsewhere."""
    np.random.seed(99)
    random.seed(99)
    return mbgd.resume(folder, other_net(), (X, Y, W), validation=MASK, **again)


def saved_aside() -> None:
    """Wait for a checkpoint that is being written beside the training."""
    for thread in threading.enumerate():
        if thread.name == "mbgd-aside":
            thread.join()


def whole_step(folder: Path) -> int:
    """The step of the newest whole checkpoint; -1 where there is none."""
    found = newest(folder)
    return -1 if found is None else found.checkpoint.step


def whole_steps(folder: Path) -> list[int]:
    """The steps of all whole checkpoints."""
    from mbgd.errors import SavedFileError
    from mbgd.record.checkpoint import verify

    steps = []
    for path in sorted((folder / "checkpoints").glob("step-*")):
        try:
            steps.append(int(verify(path)["step"]))
        except SavedFileError:
            continue
    return steps


def outcome(folder: Path, *, checkpoint: bool = True) -> dict[str, Any]:
    """All that a run leaves, times apart: models, last checkpoint, histories, result; of several models that of each."""
    histories = [path for path in (folder / "history.jsonl", folder / "refit" / "history.jsonl") if path.exists()]
    left: dict[str, Any] = {
        "models": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors")},
        "history": [_timeless(json.loads(line)) for path in histories for line in path.read_text().splitlines()],
        "result": _timeless(read_result(folder)),
        "each": {path.name: outcome(path, checkpoint=checkpoint) for path in (folder / "models").glob("*")},
    }
    found = newest(folder)
    if checkpoint and found is not None:
        tensors = found.checkpoint.tensors
        left["state"] = {name: tensor_hash(tensors[name]) for name in sorted(tensors)}
        left["facts"] = _timeless(found.checkpoint.facts)
    assert left["models"]
    assert left["history"] or left["each"]
    return left


def tensor_hash(tensor: torch.Tensor) -> str:
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(repr((tensor.shape, tensor.dtype)).encode() + raw).hexdigest()


def _timeless(facts: Any) -> Any:
    """Without what differs from one time to the next."""
    if isinstance(facts, list):
        return [_timeless(one) for one in facts]
    if not isinstance(facts, dict):
        return facts
    kept = {name: value for name, value in facts.items() if name not in ("seconds", "rows_per_second", "notices")}
    return {name: _timeless(value) for name, value in kept.items()}
