"""The command in a process that sends itself a signal at a given look at its training: a kill at a place that is known.

Called as `python interrupted.py SIGNAL LOOK COMMAND WORDS...`; looks count from 1, those of a second training go on counting.
"""

from __future__ import annotations

import os
import sys

from mbgd.cli import main
from mbgd.desk import progress


def install(number: int, at: int) -> None:
    looks = [0]

    def show(self: object, look: object) -> None:
        looks[0] += 1
        if looks[0] == at:
            os.kill(os.getpid(), number)

    progress._Nothing.show = show  # type: ignore[assignment,method-assign]


if __name__ == "__main__":
    install(int(sys.argv[1]), int(sys.argv[2]))
    main(sys.argv[3:])
