"""The command in a process that sends itself signals when it calls functions that are named: at places that are known.

Called as `python signalled.py SIGNAL PLACES COMMAND WORDS...` with PLACES such as `mbgd.desk.train:score@2,mbgd.cli.show:tell`:
a signal before the second call of the one, another before the first of the other. Calls count from 1. A signal after the first
waits until it counts as a second one, unless its place ends in `!`. At a place that ends in `?` the signal comes where whatever
a handler raises is swallowed, as in a destructor; at one that ends in `#` while compiled code runs, for minutes.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import sys
import threading
import time
from typing import Any

from mbgd import signals
from mbgd.cli import main


def kill(number: int) -> None:
    os.kill(os.getpid(), number)


def swallow(number: int) -> None:
    try:
        os.kill(os.getpid(), number)
    except BaseException:  # an import machinery, a destructor and a callback of C do the same
        return


def compute(number: int) -> None:
    threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)


def install(number: int, place: str, *, later: bool) -> None:
    where, _, at = place.rstrip("!?#").partition("@")
    module_name, name = where.split(":")
    module = importlib.import_module(module_name)
    inner = getattr(module, name)
    calls = [0]

    @functools.wraps(inner)
    def signalled(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == int(at or 1):
            if place.endswith("!"):
                signals.SECONDS_APART = 3600.0  # a busy machine may take its time between two signals
            elif later:
                time.sleep(1.1 * signals.SECONDS_APART)
            (swallow if place.endswith("?") else compute if place.endswith("#") else kill)(number)
        return inner(*args, **kwargs)

    setattr(module, name, signalled)


if __name__ == "__main__":
    for k, place in enumerate(sys.argv[2].split(",")):
        install(int(sys.argv[1]), place, later=k > 0)
    main(sys.argv[3:])
