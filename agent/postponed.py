"""Modules that a library names when it is loaded, and that are hardly ever needed: loaded when they first are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


@contextmanager
def postponed(*names: str) -> Iterator[None]:
    """Within, an import of these modules gives a stand-in, which loads the module when something of it is asked for.

    Afterwards an import gives the module itself, whoever imports it. A library that took the stand-in keeps it, and
    gets from it what the module has. What is loaded already is left alone.

    Args:
        names: Of modules inside packages, as ``urllib.request``.
    """
    put = {name: _stand_in(name) for name in names if name not in sys.modules}
    for name, module in put.items():
        package, _, member = name.rpartition(".")
        setattr(import_module(package), member, module)  # what ``import a.b`` and then ``a.b`` finds
        sys.modules[name] = module
    try:
        yield
    finally:
        for name, module in put.items():
            _take_out(name, module)


def _stand_in(name: str) -> ModuleType:
    module = ModuleType(name)

    def attribute(wanted: str) -> Any:  # PEP 562
        _take_out(name, module)
        return getattr(import_module(name), wanted)

    module.__dict__["__getattr__"] = attribute
    return module


def _take_out(name: str, module: ModuleType) -> None:
    if sys.modules.get(name) is module:
        del sys.modules[name]
