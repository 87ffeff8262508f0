"""Reads of a dataset that draw the same random numbers again: seeded, with the caller's generators put back afterwards."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock

import numpy as np
import torch

from mbgd.seeds import step_seed

_told: ContextVar[int | None] = ContextVar("seed of the read at hand", default=None)
_locks = [RLock()]


def _anew() -> None:
    _locks[0] = RLock()  # a thread that had it in the parent is not in a child of its fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_anew)


@contextmanager
def alone() -> Iterator[None]:
    """One thread at a time inside: the global generators are one for all threads, and what one of them seeds, another would
    draw."""
    with _locks[0]:
        yield


@contextmanager
def kept_aside() -> Iterator[None]:
    """Whatever draws inside from torch's, NumPy's or Python's global generators, `alone`: afterwards they stand as before."""
    with alone():
        of_torch, of_numpy, of_python = torch_state(), np.random.get_state(), random.getstate()
        try:
            yield
        finally:
            set_torch_state(of_torch)
            np.random.set_state(of_numpy)
            random.setstate(of_python)


def torch_state() -> list[torch.Tensor]:
    """That of torch's global generators, the CPU's first; to be asked for `alone`."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if _cuda_is_used() else [])]


def set_torch_state(states: list[torch.Tensor]) -> None:
    """Undo whatever was drawn since `torch_state`."""
    torch.set_rng_state(states[0])
    for device, state in enumerate(states[1:]):
        torch.cuda.set_rng_state(state, device)


@contextmanager
def torch_aside() -> Iterator[None]:
    """`kept_aside` of torch's generators only."""
    with alone():
        before = torch_state()
        try:
            yield
        finally:
            set_torch_state(before)


@contextmanager
def drawing(seed: int, *, here: bool = True) -> Iterator[None]:
    """Reads inside draw the same whenever they are made with this 64-bit seed, in loader workers or in this process.

    `here=False` leaves this process's generators alone, as another thread must: they are those of dropout.
    """
    token = _told.set(seed)
    try:
        if not here:
            yield
            return
        with kept_aside():
            set_generators(seed)
            yield
    finally:
        _told.reset(token)


def seed_of_task(task: int, first_row: int) -> int | None:
    """The seed of one worker's share of the read at hand, None outside of `drawing`."""
    told = _told.get()
    return None if told is None else step_seed(step_seed(told, task), first_row)


def set_generators(seed: int) -> None:
    """torch's, NumPy's and Python's global generators, by all 64 bits where they take so many (torch's on the CPU: 32)."""
    torch.default_generator.manual_seed(seed)
    for of_cuda in torch.cuda.default_generators if _cuda_is_used() else ():
        of_cuda.manual_seed(seed)
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF])
    random.seed(step_seed(seed, 0))  # other words than NumPy's: from equal ones both make the same numbers


def _cuda_is_used() -> bool:
    """Whether there are CUDA generators: to ask for them must not start CUDA."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]  # torch leaves it unannotated
