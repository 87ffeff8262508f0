"""`mbgd verify`: a run in, a line for each thing that holds, and an error for the first that does not, out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mbgd.cli.show import print_json
from mbgd.cli.streams import tell
from mbgd.desk.stderr import say
from mbgd.desk.verify import failed, verify


def verify_run(run: Path, *, data: Any, json: bool) -> None:
    """Check every file, train the last interval again and say what came of it."""
    found = verify(run, data=data)
    if json:
        print_json({"held": list(found.held), "wrong": list(found.wrong), "unseen": list(found.unseen)})
    else:
        for line in found.held:
            tell(f"holds: {line}")
    for line in found.unseen:
        say(f"note: {line}")
    if not (json or found.wrong or found.repeated):
        tell("every file is whole; no step was repeated")
    error = failed(found)
    if error is not None:
        for line in found.wrong[1:]:
            say(f"wrong: {line}")
        raise error
