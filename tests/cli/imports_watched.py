"""The command in a process that says on stderr which modules are imported by another thread than the main one."""

from __future__ import annotations

import importlib.abc
import sys
import threading
from typing import Any

from mbgd.cli import main


class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if threading.current_thread() is not threading.main_thread():
            print(f"{threading.current_thread().name} imports {name}", file=sys.__stderr__)


if __name__ == "__main__":
    sys.meta_path.insert(0, Watch())
    main(sys.argv[1:])
