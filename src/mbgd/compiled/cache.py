"""Compile functions, or read from disk what this very code was compiled to on this very processor before.

Numba's own cache asks only whether the file of the function has changed, not those it calls into, takes a damaged file as it
is, and two processes that compile one function for two types at once may end with the wrong code under a name. Here a folder
stands for the text of all kernels, the versions of what compiles them, and the processor; each function and signature has a
file of its own in it, with a checksum. Reading it unpickles it and maps machine code: see `private_folder` for whose it may be.
"""

from __future__ import annotations

import hashlib
import pickle
import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from numba.core import ccallback, compiler, config, serialize, sigutils
from numba.core.runtime import rtsys

from mbgd.compiled.cache_folder import Place, make_again, open_folder
from mbgd.compiled.entry import read_entry, write_entry
from mbgd.compiled.guard_pages import IS_CHECKED
from mbgd.compiled.news import Begun, tell_of_compiled, tell_of_compiling, tell_of_folder

_HOUSE = Path(__file__).parent.parent
_WRITTEN = ("compiled", "data/columns.py", "data/swaps.py", "step/fused")  # where kernels are
SOURCES = tuple(_HOUSE / name for name in _WRITTEN)
_ENDING = ".kernel"
_SETTINGS = (
    "OPT",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "CPU_NAME",
    "CPU_FEATURES",
    "BOUNDSCHECK",
)  # Numba's environment variables
_compiler: Any = compiler  # these are without types
_serialize: Any = serialize
_sigutils: Any = sigutils


def kept_njit(function: Callable[..., Any], **options: Any) -> Any:
    """`numba.njit(**options)(function)`; compiled at its first call for each signature, or read from disk."""
    compiled = always_njit(**options)(function)
    compiled._cache, compile_for = KernelCache(function, kind="jit"), compiled.compile

    def compile_with_its_parts(signature: Any) -> Any:
        with _jit_enabled():
            return compile_for(signature)

    compiled.compile = compile_with_its_parts
    return compiled


def always_njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` also under NUMBA_DISABLE_JIT, which is there to debug a user's own functions: those of kernels have
    pointers and instructions that Python has not."""

    def compiled(function: Callable[..., Any]) -> Any:
        with _jit_enabled():
            return numba.njit(**options)(function)

    return compiled


@contextmanager
def _jit_enabled() -> Iterator[None]:
    """Numba asks for it when a function is made, and again, of its own functions, when one is compiled."""
    before, config.DISABLE_JIT = config.DISABLE_JIT, 0
    try:
        yield
    finally:
        config.DISABLE_JIT = before


def kept_cfunc(function: Callable[..., Any], signature: Any, **options: Any) -> Any:
    """`numba.cfunc(signature, **options)(function)`, compiled now or read from disk; the address is its `address`."""
    normal = _sigutils.normalize_signature(signature)
    compiled: Any = ccallback.CFunc(function, normal, locals={}, options=options)
    compiled._cache = KernelCache(function, kind="c")
    with _jit_enabled():
        compiled.compile()
    return compiled


@cache
def place() -> Place:
    """Where this process keeps compiled kernels, chosen once. Tells whom it concerns that others could have written there."""
    found = open_folder(folder_name(SOURCES))
    if found.is_refused:
        tell_of_folder(found.why_temporary)
    return found


def folder_name(sources: Iterable[Path]) -> str:
    """A hash of every kernel's text in these files and folders, Python, NumPy, Numba, LLVM and how they are set, and the
    processor with its instructions."""
    known = hashlib.sha256()
    for source in sources:
        for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            text = path.read_bytes()
            known.update(f"{path.relative_to(source.parent).as_posix()} {len(text)}\n".encode() + text)
    versions = (platform.python_implementation(), platform.python_version(), np.__version__, numba.__version__)
    settings = [(name, getattr(config, name, None)) for name in _SETTINGS]
    features = llvmlite.binding.get_host_cpu_features().flatten()
    llvm = (llvmlite.__version__, llvmlite.binding.get_process_triple(), llvmlite.binding.get_host_cpu_name(), features)
    known.update(repr((versions, settings, llvm, IS_CHECKED)).encode())
    return known.hexdigest()[:32]


class KernelCache:
    """What a Numba dispatcher asks for compiled code. A file that cannot be read is a miss, one that cannot be written no loss."""

    def __init__(self, function: Callable[..., Any], *, kind: str) -> None:
        self._function: Final = function
        self._kind: Final = kind  # a C function has an entry that a dispatcher's code lacks
        self._begun: dict[str, Begun] = {}  # by signature

    @property
    def cache_path(self) -> str:
        return str(place().folder)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)  # its symbols are all that kept code needs; `refresh` would take 0.25 s more
        content = read_entry(self._file(signature, target_context.codegen()))
        if content is not None:
            with suppress(Exception):  # whole, and yet not what this Numba reads: compiled again
                return _compiler.CompileResult._rebuild(target_context, *pickle.loads(content))
        self._begun[str(signature)] = tell_of_compiling(_number(signature))
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        if begun := self._begun.pop(str(signature), None):
            tell_of_compiled(begun)
        if compiled.library.has_dynamic_globals:  # an address of this process is part of the code
            return
        with suppress(OSError):
            if make_again(place().folder):
                write_entry(self._file(signature, compiled.codegen), _serialize.dumps(compiled._reduce()))

    def flush(self) -> None:
        """Numba asks for this before it compiles anew; the files are replaced then."""

    def _file(self, signature: Any, codegen: Any) -> Path:
        """For it alone. Functions made by one factory differ by what they close over."""
        code = self._function.__code__
        closed_over = [_described(cell.cell_contents) for cell in self._function.__closure__ or ()]
        words = (self._kind, signature, codegen.magic_tuple(), code.co_code, closed_over)
        key = hashlib.sha256(repr(words).encode()).hexdigest()[:16]
        stem = Path(code.co_filename).stem
        function = self._function.__qualname__.replace("<locals>", "")
        return place().folder / f"{stem}.{function}-{code.co_firstlineno}-{key}{_ENDING}"


def _number(signature: Any) -> str:
    """The number type that a kernel is compiled for, "" where it is for none; counts and settings are float64 in either."""
    text = str(signature)
    return next((name for name in ("float32", "float64") if name in text), "")


def _described(value: Any) -> str:
    """The same words in every process; what a function does is in the folder's name already."""
    function = getattr(value, "py_func", value)
    return f"{function.__module__}.{function.__qualname__}" if hasattr(function, "__qualname__") else repr(value)
