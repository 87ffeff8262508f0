"""Loads the newest checkpoint of a run and saves it once more; `sched_yield` marks in a trace where the save begins and ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mbgd.record.checkpoint import newest, save

if __name__ == "__main__":
    run = Path(sys.argv[1])
    found = newest(run)
    assert found is not None
    at = found.checkpoint
    os.sched_yield()
    save(run, step=at.step, tensors=at.tensors, facts=at.facts)
    os.sched_yield()
