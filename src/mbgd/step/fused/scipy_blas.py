"""scipy's table of BLAS functions, loaded alone: the package around it takes a tenth of a second that nobody here uses."""

from __future__ import annotations

import sys
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any


@cache
def cython_blas() -> Any:
    """The module `scipy.linalg.cython_blas`, and with it scipy's BLAS in memory. Left out of `sys.modules`, so that who
    imports scipy.linalg later does so as ever, and gets this very module as a part of it."""
    package = None if "scipy.linalg" in sys.modules else find_spec("scipy.linalg")  # imports scipy itself, no more
    places = None if package is None else package.submodule_search_locations
    spec = None if not places else PathFinder.find_spec("scipy.linalg.cython_blas", list(places))
    if spec is None or spec.loader is None:
        from scipy.linalg import cython_blas

        return cython_blas
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.pop(spec.name, None)  # Cython puts it there, and scipy.linalg would then lack it as an attribute
    return module
