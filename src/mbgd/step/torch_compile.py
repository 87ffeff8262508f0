"""Have torch compile a model, and count the seconds of it as those of our own kernels are counted."""

from __future__ import annotations

import time
from typing import Any

import torch

from mbgd.compiled.news import Begun, seconds_compiling, tell_of_compiled
from mbgd.step.gradient import Forward

_begun: list[Begun] = []


def compiled_by_torch(forward: Forward) -> Forward:
    """The same function. It is compiled when it is called, anew for other shapes and settings: half a minute each time where
    torch has kept nothing of it on disk, some seconds where it has."""
    compiled: Forward = torch.compile(forward)
    heard: Any = torch._dynamo.callback  # it has no public name
    if _begin not in heard.callback_handler.start_callbacks:  # torch.compiler.reset() forgets them
        heard.callback_handler.register_start_callback(_begin)
        heard.callback_handler.register_end_callback(_end)
    return compiled


def _begin(*what: Any) -> None:
    _begun.append(Begun(time.perf_counter(), seconds_compiling()))


def _end(*what: Any) -> None:
    while _begun:
        tell_of_compiled(_begun.pop())
