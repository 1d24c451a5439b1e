"""What a runtime is before it is weakened, and how one guard of it is taken away.

The weaknesses of each language are in ``weakened_lua`` and ``weakened_python``, by the names that techniques use.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Final

import lupa.lua51
import lupa.lua54
import lupa.luajit21

from sandbox import lua_runtime, worker
from sandbox.runtimes import Binding

BOOT_TEXT: Final = lua_runtime.BOOT_FILE.read_text(encoding="utf-8")  # read here: a locked worker opens no file
META_PATH: Final = list(sys.meta_path)
AUDITED: set[str] = {"open"}  # events that are refused; emptied by what lets files be opened

Weakness = Callable[["World"], None]
LUA: dict[str, Weakness] = {}
PYTHON: dict[str, Weakness] = {}


class World:
    """What is being weakened: one runtime that is about to be made."""

    def __init__(
        self,
        language: str,
        meter: worker.OutputMeter,
        memory_bytes: int,
        token: str,
        parameters: dict[str, Any],
        bindings: tuple[Binding, ...],
    ) -> None:
        self.language = language
        self.meter = meter
        self.memory_bytes = memory_bytes
        self.token = token  # a secret that the host has in its memory
        self.parameters = parameters
        self.bindings = bindings
        self.boot = BOOT_TEXT
        self.randomness = os.urandom(16)
        self.has_boot = True
        self.flavour: Any = lupa.luajit21 if language == "luajit" else lupa.lua54  # of a world without a boot chunk
        self.options: dict[str, Any] = {
            "register_eval": False, "register_builtins": False, "unpack_returned_tuples": True, "encoding": None,
            "attribute_filter": lua_runtime._refuse_attribute,
        }  # fmt: skip
        self.is_hooked = False  # a count hook stands for the deadline
        self.is_closed = False  # the state is closed at the end, as if this process went on
        self.gives_host = False  # a function of the host is a global of the script
        self.gives_large = False  # the host hands over a large number when the script has ended
        self.is_reused = False  # the same runtime runs the program twice
        self.reads_result: Callable[[Any], Any] | None = None

    def patch(self, old: str, new: str) -> None:
        """Change the boot chunk in one place."""
        if self.boot.count(old) != 1:
            raise ValueError(f"the boot chunk has {self.boot.count(old)} times {old!r}")
        self.boot = self.boot.replace(old, new)


def replace(owner: Any, name: str, value: Any) -> None:
    """Put ``value`` in the place of what ``owner`` has under ``name``; an error if it has nothing of that name."""
    if not hasattr(owner, name):
        raise AttributeError(f"nothing is called {name} any more: this weakness weakens nothing")
    setattr(owner, name, value)


def hook(table: dict[str, Any], **values: Any) -> None:
    """Replace entries of a table of names, which must all be there."""
    missing = set(values) - set(table)
    if missing:
        raise KeyError(f"no entries {missing}: this weakness weakens nothing")
    table.update(values)


def lua(name: str) -> Callable[[Weakness], Weakness]:
    """Register what takes a guard of the Lua runtime away."""

    def register(weakness: Weakness) -> Weakness:
        LUA[name] = weakness
        return weakness

    return register


def python(name: str) -> Callable[[Weakness], Weakness]:
    """Register what takes a guard of the Python runtime away."""

    def register(weakness: Weakness) -> Weakness:
        PYTHON[name] = weakness
        return weakness

    return register
