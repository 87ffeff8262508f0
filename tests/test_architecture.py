"""The house as data: which room may import which, and the few habits that can be read off the source itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "mbgd"
FILES = sorted(ROOT.rglob("*.py"))

# room or file -> what it may import; each line lists only names from lines above it
MAY_IMPORT: dict[str, str] = {
    "reference": "",
    "errors": "",
    "loading": "",
    "seeds": "",
    "signals": "",
    "threads": "",
    "forks": "",
    "ranks": "errors",
    "store": "errors signals",
    "compiled": "errors store",
    "data": "errors seeds threads forks ranks store compiled",
    "model": "errors seeds store data",
    "step": "errors seeds store compiled data model",
    "loop": "errors data step",
    "measure": "errors seeds data model step loop",
    "tune": "errors seeds data step loop measure",
    "record": "errors threads store model",
    "desk": "errors loading seeds signals forks ranks store compiled data model step loop measure tune record",
    "estimators": "errors seeds forks data model step record desk",
    "cli": "errors signals threads store compiled data model record measure desk",
    "__main__": "cli",
    "": "errors loading seeds data model step loop measure tune record desk estimators reference",  # the front door
}
# imported where they are used: they cost up to a second, or need not be installed
OPTIONAL = {"numba", "scipy", "sklearn", "threadpoolctl", "plotly", "matplotlib", "tensorboard", "mlflow", "psutil"}
KERNELS = {"mbgd.data.columns", "mbgd.data.swaps"}  # they bring Numba with them
LATE = {
    "data": OPTIONAL
    | {"pyarrow", "narwhals", "pandas", "polars", *KERNELS, "mbgd.data.odd_columns"},  # it brings Arrow
    "estimators": KERNELS,
    "record": OPTIONAL | {"pyarrow"},
}
DOORS = {"", "cli", "desk"}
MAX_LINES = 300


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def room_of(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


MODULES = {module_of(path): path for path in FILES}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(node: ast.AST, *, by: str, is_package: bool = False) -> list[str]:
    """Full names of what an import statement brings in; `from a import b` is a.b where that is a module of ours."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        here = ["mbgd", *(by.split(".") if by else [])]
        here = here[: len(here) - node.level + is_package]
        base = ".".join([*here, *([base] if base else [])])
    named = [f"{base}.{alias.name}" for alias in node.names]
    return [name if ours(name) in MODULES else base for name in named]


def ours(name: str) -> str | None:
    """The module's name below mbgd; None for another package's."""
    if name == "mbgd":
        return ""
    return name.removeprefix("mbgd.") if name.startswith("mbgd.") else None


def arrows(module: str) -> Iterator[str]:
    """Our modules that this one imports anywhere: in functions and under TYPE_CHECKING as well."""
    path = MODULES[module]
    for node in ast.walk(tree_of(path)):
        for name in imported(node, by=module, is_package=path.name == "__init__.py"):
            target = ours(name)
            if target is not None:
                yield target


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_up_the_list(module: str) -> None:
    room = room_of(module)
    assert room in MAY_IMPORT, f"{module} stands in no room of the house"
    allowed = {room, *MAY_IMPORT[room].split()} if room else set(MAY_IMPORT[room].split())
    wrong = {target for target in arrows(module) if room_of(target) not in allowed}
    assert not wrong, f"{module or 'the front door'} imports {sorted(wrong)}; it may import {sorted(allowed)}"


def test_the_list_itself_has_no_circle() -> None:
    above: set[str] = set()
    for room, allowed in MAY_IMPORT.items():
        assert set(allowed.split()) <= above, f"{room} may import what stands below it"
        above.add(room)


def test_no_circle_of_files() -> None:
    graph = {module: set(arrows(module)) - {module} for module in MODULES}
    done: set[str] = set()
    while ready := [module for module in graph if module not in done and graph[module] & set(graph) <= done]:
        done.update(ready)
    left = {module: sorted(graph[module] - done) for module in graph if module not in done}
    assert not left, f"these import each other: {left}"


@pytest.mark.parametrize("module", MODULES)
def test_names_length_and_first_sentence(module: str) -> None:
    path = MODULES[module]
    assert path.stem not in {"utils", "util", "types", "helpers", "common", "misc", "base"}
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MAX_LINES
    if lines:
        said = ast.get_docstring(tree_of(path))
        assert said, "the first line says what the file holds or does"
        assert said.split("\n\n")[0].rstrip().endswith((".", ":", "?")), "a sentence, to its end"


@pytest.mark.parametrize("module", MODULES)
def test_imports_inside_functions_only_at_the_doors(module: str) -> None:
    room = room_of(module)
    if room in DOORS:
        return
    path = MODULES[module]
    allowed = LATE.get(room, OPTIONAL)
    for function in ast.walk(tree_of(path)):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        for node in ast.walk(function):
            for name in imported(node, by=module, is_package=path.name == "__init__.py"):
                assert name in allowed or name.split(".")[0] in allowed, f"line {node.lineno}: {name}"  # type: ignore[attr-defined]


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) in {"step", "loop"}])
def test_no_number_leaves_the_device_in_the_loop(module: str) -> None:
    for node in ast.walk(tree_of(MODULES[module])):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr != "item", f"line {node.lineno}: .item() waits for the device"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"line {node.lineno}"
        for name in imported(node, by=module):
            assert name.split(".")[0] not in {"logging", "warnings", "rich"}, f"{name} speaks in the loop"


@pytest.mark.parametrize("module", MODULES)
def test_one_importer_of_ranks_and_no_pickle(module: str) -> None:
    for node in ast.walk(tree_of(MODULES[module])):
        for name in imported(node, by=module):
            if module != "compiled.cache":  # which says whose files it reads
                assert name.split(".")[0] not in {"pickle", "cloudpickle", "joblib", "dill"}, name
            assert not name.startswith("torch.distributed") or module == "ranks", name
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
            assert node.attr not in {"load", "save"}, f"line {node.lineno}: torch.{node.attr} pickles"
            assert node.attr != "distributed" or module == "ranks", f"line {node.lineno}"


def test_nothing_imports_the_reference() -> None:
    assert [module for module in MODULES if module and "reference" in set(arrows(module))] == []


def test_the_reader_of_imports_sees_every_kind() -> None:
    """A twin by hand, so that an arrow cannot hide."""
    source = """
import mbgd.seeds
from mbgd import errors
from mbgd.data import order
from mbgd.data.order import Cursor
if TYPE_CHECKING:
    from mbgd.step.update import Updater
def later():
    import mbgd.loop.stop as stop
    from . import chunk
    from .order import Order
    from ..errors import DataError
    import numpy.random
"""
    found = [name for node in ast.walk(ast.parse(source)) for name in imported(node, by="data.stream")]
    assert sorted(found) == [
        "mbgd.data.chunk",
        "mbgd.data.order",
        "mbgd.data.order",
        "mbgd.data.order",
        "mbgd.errors",
        "mbgd.errors",
        "mbgd.loop.stop",
        "mbgd.seeds",
        "mbgd.step.update",
        "numpy.random",
    ]
