"""Names of a checkpoint's folder and files, for those who look for them and need no torch."""

from __future__ import annotations

STATE, MANIFEST = "state.safetensors", "manifest.json"
FILES = (STATE, MANIFEST)
NAME = r"step-(\d{12,})(?:-r(\d+))?(?:-(\d+))?"
"""Of the folder: the step, how often the run had recovered, and a number where that name was taken."""
