"""Choose the device and the number of threads of a run, by its options and by the work of a step."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from mbgd.data.chance import alone, set_torch_state, torch_state
from mbgd.errors import PlanError
from mbgd.forks import torch_threads
from mbgd.step.members import met_again

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # as a container sees its own group
WORK_FOR_THREADS = 2e8  # operations a step below which waking other cores costs more than they give
WORK_OF_A_THREAD = 7e6  # operations a step that pay for meeting the others: a hundred microseconds
MOST_THREADS = 1_024
_LONGEST_WORD = 100  # letters of a device
ROWS_OF_A_THREAD = 32  # of a batch, at least
WORK_OF_A_CHUNK = 2e10  # operations between two looks: about a second, so that an interrupt need not wait long


def work_of_a_step(model: nn.Module, batch_size: int, *, untouched: int = 0) -> float:
    """Floating point operations of one update, from below: 2 forward and 4 backward a parameter and row, but for those that
    a row leaves `untouched` and those that it meets again for other members; above 0."""
    met = sum(parameter.numel() for parameter in model.parameters()) - untouched + met_again(model)
    return 6.0 * batch_size * max(1, met)


def choose_threads(threads: int | str, work: float) -> int:
    """For products that torch or BLAS shares out. A static rule, never a measurement: the count is part of what a resumed
    run must repeat."""
    if isinstance(threads, int):
        return _few_enough(threads)
    return 1 if work < WORK_FOR_THREADS else cores()


def choose_team(threads: int | str, work: float, batch_size: int) -> int:
    """For threads that take some rows of each batch each; they meet twice a step."""
    by_rows = max(1, batch_size // ROWS_OF_A_THREAD)
    if isinstance(threads, int):
        return min(_few_enough(threads), by_rows)
    return max(1, min(cores(), by_rows, int(work / WORK_OF_A_THREAD)))


def _few_enough(threads: int) -> int:
    """Raises PlanError for more than a system is likely to give: the library that asks for them ends the process then."""
    if threads > MOST_THREADS:
        raise PlanError(f"threads must be at most {MOST_THREADS:,}, got {threads:,}; leave it out for 'auto'")
    return threads


def cores() -> int:
    """Those that this process may use: by its affinity and the quota of its control group, and no more than
    OMP_NUM_THREADS, by which others are told too."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    found = min(found, int(limit)) if limit.isdecimal() and int(limit) else found
    return max(1, min(found, quota_of(CPU_MAX) or found))


def quota_of(path: Path) -> int | None:
    """Whole cores that a control group's cpu.max ("MICROSECONDS PERIOD") pays for, at least 1; None where it sets no limit."""
    try:
        quota, period = path.read_text(encoding="ascii").split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):  # no such file, or "max"
        return None


def choose_device(word: str, model: nn.Module | None = None) -> torch.device:
    """`auto` is where the model's parameters are; without a model, CUDA where there is one and else the CPU."""
    if word == "auto":
        first = next(iter(model.parameters()), None) if model is not None else None
        if first is not None:
            return first.device
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(word[:_LONGEST_WORD])  # whose parser ends the process at a word of some 100,000 letters
    except RuntimeError:
        raise PlanError(f"device must be auto, cpu, cuda, cuda:1 or mps, got {word!r}; 'auto' chooses") from None
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not here.get(device.type, False):
        raise PlanError(f"device must be one that this machine has, got {word!r}; use device='cpu', or 'auto'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise PlanError(
            f"device must be one of {torch.cuda.device_count()} CUDA devices, got {word!r}; 'cuda' is the first"
        )
    return device


def fits(n_bytes: int, device: torch.device) -> bool:
    """Whether data of this size may stay on the device for the whole run: half of what is free, the rest is for training."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return n_bytes < free // 2


def check_compiler(environment: Mapping[str, str]) -> None:
    """Raises PlanError for a variable by which Numba cannot be imported, or LLVM ends the process."""
    threads, features = environment.get("NUMBA_NUM_THREADS", ""), environment.get("NUMBA_CPU_FEATURES", "")
    if re.fullmatch(r"\s*(0+|-\d+)\s*", threads):
        raise PlanError(f"NUMBA_NUM_THREADS must be at least 1, got {threads}; unset it")
    for feature in features.split(",") if features else ():
        if not feature.startswith(("+", "-")):
            raise PlanError(
                f"NUMBA_CPU_FEATURES must be LLVM's features, each behind + or -, got {feature!r}; unset it"
            )


@contextmanager
def computing(threads: int) -> Iterator[None]:
    """Threads set, torch's generators kept aside and gradients on: the caller finds all of them as they were."""
    threads_before = torch.get_num_threads()
    with alone():
        before = torch_state()
    try:
        with torch.enable_grad():
            torch.set_num_threads(torch_threads(threads))
            yield
    finally:
        torch.set_num_threads(threads_before)
        with alone():
            set_torch_state(before)
