"""The command in a process that sends itself signals when it calls functions that are named: at places that are known.

Called as `python signalled.py SIGNAL PLACES COMMAND WORDS...` with PLACES such as `mbgd.desk.train:score@2,mbgd.cli.show:tell`:
a signal before the second call of the one, another before the first of the other. Calls count from 1.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from typing import Any

from mbgd.cli import main


def install(number: int, place: str) -> None:
    where, _, at = place.partition("@")
    module_name, name = where.split(":")
    module = importlib.import_module(module_name)
    inner = getattr(module, name)
    calls = [0]

    @functools.wraps(inner)
    def signalled(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == int(at or 1):
            os.kill(os.getpid(), number)
        return inner(*args, **kwargs)

    setattr(module, name, signalled)


if __name__ == "__main__":
    for place in sys.argv[2].split(","):
        install(int(sys.argv[1]), place)
    main(sys.argv[3:])
