"""Law: whoever goes on with a run where its bits may come out differently is told of what differs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding
import pytest
from torch import nn

import mbgd
from mbgd.desk.versions import changed_versions, versions
from mbgd.store import write_sealed
from problems import arrays

NAMED = {"mbgd", "torch", "numpy", "python", "cpu_capability", "numba", "llvmlite", "scipy", "processor", "blas"}


def test_changed_versions_are_a_sentence_each() -> None:
    now = versions()
    assert changed_versions(now) == ()
    assert changed_versions({**now, "mbgd": "0.0.1"}) == ()  # its own formats say whether it can go on
    said = changed_versions({**now, "numpy": "1.0", "cpu_capability": "none", "unknown": "x"})
    assert [sentence.split(" is ")[0] for sentence in said] == ["numpy", "cpu_capability"]


def test_a_plan_that_names_fewer_of_them_is_compared_by_those() -> None:
    now = versions()
    assert changed_versions({name: now[name] for name in ("mbgd", "torch", "numpy", "python", "cpu_capability")}) == ()


def test_the_processor_is_the_one_that_kernels_are_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CPU_NAME", raising=False)
    assert versions()["processor"] == llvmlite.binding.get_host_cpu_name()
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert versions()["processor"] == "generic"


SAID = "from mbgd.desk.versions import versions; import json; print(json.dumps(versions()))"


def test_another_core_of_the_matrix_library_is_another_version() -> None:
    """Which OpenBLAS runs where its own variable says so, as on a machine of another kind."""
    said = [
        json.loads(
            subprocess.run([sys.executable, "-c", SAID], env=env, capture_output=True, text=True, check=True).stdout
        )
        for env in (os.environ, {**os.environ, "OPENBLAS_CORETYPE": "Sandybridge"})
    ]
    assert [set(words) for words in said] == [NAMED, NAMED]
    if "openblas" not in said[0]["blas"] or "Sandybridge" not in said[1]["blas"]:
        pytest.skip(f"NumPy's library is {said[0]['blas']}, of one core")
    assert said[0]["blas"] != said[1]["blas"]
    assert {name: words for name, words in said[0].items() if name != "blas"} == {
        name: words for name, words in said[1].items() if name != "blas"
    }


def test_a_run_of_another_processor_says_so_when_it_goes_on(tmp_path: Path) -> None:
    x, y, _ = arrays(40, 3)
    words = {"loss": "squared_error", "batch_size": 10, "out": tmp_path / "run"}
    mbgd.fit(nn.Linear(3, 1), (x, y), steps=3, **words)  # type: ignore[arg-type]
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert set(plan["versions"]) == NAMED
    del plan["sha256"], plan["sealed"]
    others = {"processor": "skylake", "numba": "0.1", "scipy": "1.0", "blas": "openblas 0.1 Haswell"}
    write_sealed(tmp_path / "run" / "plan.json", {**plan, "versions": {**plan["versions"], **others}})
    (tmp_path / "run" / "result.json").unlink()
    (tmp_path / "run" / "model.safetensors").unlink(missing_ok=True)
    run = mbgd.resume(tmp_path / "run", nn.Linear(3, 1), (x, y))
    for name, then in others.items():
        assert any(notice.startswith(f"{name} is ") and f"begun with {then}" in notice for notice in run.notices), name
