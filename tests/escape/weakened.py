"""A worker whose language runtime lacks a named guard, so that an attack can be seen to work where that guard is away.

It takes the place of ``sandbox.worker`` in zygotes of this battery only. A guard is taken away by what this process
does to its own modules after the fork; nothing in the product can be switched. Unless a technique names ``walls``, all
walls of the jail stand, and the weakened runtime is made behind them like the real one.
"""

from __future__ import annotations

import os
import resource
import sys
import warnings
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, Final

import lupa.lua51
import lupa.lua54
import lupa.luajit21
from weakened_lua import run_lua
from weakened_python import run_python
from weakening import AUDITED, LUA, PYTHON, Weakness, World

from sandbox import pure, python_surface, worker
from sandbox.runtimes import Binding

BOUND_BYTES: Final = 1536 * 2**20
BOUND_CPU_S: Final = 20


def preload() -> None:
    """What the real worker preloads, and the other flavours."""
    worker.preload()
    for flavour in (lupa.lua51, lupa.luajit21):
        flavour.LuaRuntime().execute("return 1")


def _bound() -> None:
    for kind, most in (
        (resource.RLIMIT_AS, BOUND_BYTES),
        (resource.RLIMIT_CPU, BOUND_CPU_S),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, value))


def _quieten() -> None:
    """As the real worker, but so that a weakness can undo it."""

    def refuse(event: str, _args: Any) -> None:
        if event in AUDITED:
            raise PermissionError("files are not available in a worker")

    sys.addaudithook(refuse)
    sys.meta_path[:] = [worker._NoImports()]
    warnings.simplefilter("ignore")


def _told() -> str:
    kind, error, trace = sys.exc_info()
    lines = []
    while trace is not None:
        lines.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"Traceback {' '.join(lines[-6:])} {kind.__name__ if kind else ''}: {error}"[:2000]


def main(channel: Any, *, language: str, bindings: list[Any], memory_bytes: int, lock: Callable[[], None]) -> None:
    """Be a worker."""
    try:
        _bound()
        _quieten()
        lock()
        _, (main_file, files, parameters, *_) = channel.receive_start()
        names, token = parameters.pop("weakened"), parameters.pop("token")
        meter = worker.OutputMeter(channel)
        world = World(language, meter, memory_bytes, token, parameters, Binding.from_plain(bindings))
        if "walls" in names:
            AUDITED.clear()
        table: Mapping[str, Weakness] = PYTHON if language == "python" else LUA
        for name in names:
            if name != "walls":
                table[name](world)
        run = run_python if language == "python" else run_lua
        worker.send(channel, meter, run(world, dict(files)[main_file]))
    except BaseException:  # noqa: BLE001 - a worker ends here, whatever happened
        channel.output(_told().encode())  # a traceback with its lines would open files
        os._exit(70)
    os._exit(0)


_ = (FunctionType, pure, python_surface)  # what attacks look for is there
