"""Threads of a team in, none let through before all have come: some hundred nanoseconds where each has a core."""

from __future__ import annotations

import ctypes
import sys

from mbgd.compiled.instructions import add_atomically, call_idle, pause, read_atomically
from mbgd.compiled.kernel import at, part
from mbgd.step.fused.layout import Team

ARRIVED, GIVE_UP, WORDS = 0, 8, 16  # places in the gate, each on a cache line of its own
SPINS = 2_000  # looks before the core is offered to others: some ten microseconds


@part
def meet(team: Team) -> None:
    """Wait until every thread of the team has come here, or one of them has given up."""
    arrived = at(team.gate, ARRIVED)
    goal = (add_atomically(arrived, 1) // team.size + 1) * team.size
    looks = 0
    while read_atomically(arrived) < goal and read_atomically(at(team.gate, GIVE_UP)) == 0:
        pause()
        looks += 1
        if looks > SPINS and team.idle:
            call_idle(team.idle)


def address_of_idle() -> int:
    """A function that lets whoever else waits for this core have it."""
    if sys.platform == "win32":
        idle = ctypes.WinDLL("kernel32").SwitchToThread
    else:
        idle = ctypes.CDLL(None).sched_yield
    return ctypes.cast(idle, ctypes.c_void_p).value or 0
