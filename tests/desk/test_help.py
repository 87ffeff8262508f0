"""help(): every knob with its meaning, choices and default, from one table; and without scikit-learn."""

from __future__ import annotations

import inspect
import pydoc
import runpy
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import mbgd
from mbgd.desk.bounds import Choice, Either
from mbgd.desk.knobs import Knobs, TableKnobs
from mbgd.desk.plan import Plan

ROOT = Path(__file__).parent.parent.parent


def words_of(bound: Any) -> tuple[str, ...]:
    parts = bound.bounds if isinstance(bound, Either) else (bound,)
    return tuple(word for part in parts if isinstance(part, Choice) for word in part.words)


@pytest.mark.parametrize("knob", fields(Plan), ids=lambda knob: knob.name)
def test_help_of_the_plan_says_all_of_a_knob(knob: Any) -> None:
    lines = pydoc.render_doc(mbgd.Plan, renderer=pydoc.plaintext).splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith(f" |  {knob.name}: "))
    more = next(k for k in range(at + 1, len(lines)) if not lines[k].startswith(" |      "))
    text = " ".join(" ".join(line[2:] for line in lines[at:more]).split()).removeprefix(f"{knob.name}: ")
    assert text.startswith(knob.metadata["help"])
    assert all(word in text for word in words_of(knob.metadata["bound"]))
    value = "none" if knob.default is None or knob.default == () else repr(knob.default)
    assert text.endswith(f"; default {value}.")


def test_the_page_is_made_of_the_same_table() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "make_knobs.py"))["page"]()
    assert (ROOT / "docs" / "knobs.md").read_text(encoding="utf-8") == made, "python scripts/make_knobs.py writes it"


@pytest.mark.parametrize(("door", "words"), [(mbgd.fit, Knobs), (mbgd.steps, Knobs), (mbgd.fit_table, TableKnobs)])
def test_a_signature_shows_every_knob(door: Any, words: Any) -> None:
    shown = inspect.signature(door).parameters
    assert set(words.__annotations__) <= set(shown)
    assert not [p for p in shown.values() if p.kind is p.VAR_KEYWORD]
    assert shown["batch_size"].default == ("auto" if door is mbgd.fit_table else 32)
    assert "'one_cycle'" in str(shown["schedule"])


def test_help_works_without_scikit_learn() -> None:
    code = (
        "import sys\nsys.modules['sklearn'] = None\n"
        "import pydoc, mbgd\n"
        "said = pydoc.render_doc(mbgd, renderer=pydoc.plaintext)\n"
        "assert 'fit(model' in said and 'class Plan' in said and 'class Run' in said\n"
        "try:\n    mbgd.MBGDClassifier\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'mbgd[sklearn]'" in done.stdout


def test_names_are_those_that_there_are_whatever_keeps_scikit_learn_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Keeper:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name == "sklearn":
                raise ImportError("kept away")

    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Keeper(), *sys.meta_path])
    assert "MBGDClassifier" not in dir(mbgd)
    assert "fit" in dir(mbgd)


def test_with_scikit_learn_the_estimators_are_there() -> None:
    assert "MBGDClassifier" in dir(mbgd)
