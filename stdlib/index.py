"""The catalogue for the agent: it knows every call from the start, and loads the module of one when it is first made.

All modules of calls together are 6 MB of memory and 100 ms at the start, and a host that runs a few checks needs five
of the forty. What a worker must know of the calls before (their names and those of their parameters) is in
``calls.json`` beside this file. ``stdlib.reference`` writes that from the declarations, and the tests hold that it is
what they say; the gate binds, decides and performs by the declaration itself, never by the index.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from protocol.errors import InternalError
from stdlib.call_specs import CallSpec, declared, withdraw

FILE = Path(__file__).with_name("calls.json")
_MODULE = "module"  # the key of a row that workers do not see


class Index:
    """All calls by name; ``sandbox.parties.CallTable``."""

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self._bindings = [dict(row) for row in rows]
        self._modules: dict[str, str] = {}  # of each call that the gate may make
        for row in self._bindings:
            module = row.pop(_MODULE)
            if not row["local"]:
                self._modules[row["name"]] = module

    def find(self, name: str) -> CallSpec | None:
        """Return the call that the gate may make under ``name``; None for an unknown or a local one.

        Blocks for some milliseconds when it is the first of its module.

        Raises:
            InternalError: Its module cannot be loaded, or does not declare it; the next time it is tried again.
        """
        spec = declared(name)
        if spec is not None:
            return None if spec.is_local else spec
        module = self._modules.get(name)
        if module is None:
            return None
        try:
            importlib.import_module(module)
        except Exception as error:
            withdraw(module)  # what it had declared until then; the next attempt declares it again
            raise InternalError(f"the module of {name} cannot be loaded", detail=repr(error)) from error
        spec = declared(name)
        if spec is None:
            raise InternalError(f"{module} does not declare {name}: the installation is not whole")
        return spec

    def bindings(self) -> list[dict[str, Any]]:
        """Return what a worker knows of the calls, as plain data."""
        return self._bindings


def load() -> Index:
    """Return the index of all calls.

    Raises:
        InternalError: Its file is not there or broken: the installation is not whole.
    """
    try:
        return Index(json.loads(FILE.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InternalError(f"{FILE} is no index of the calls", detail=repr(error)) from error


def text() -> str:
    """Return what the file is to hold, by the declarations of all families; one line for each call."""
    from stdlib.catalogue import load as load_all  # loads every module

    catalogue = load_all()
    rows = [
        {**binding, _MODULE: spec.implementation.__module__ if spec.implementation is not None else ""}
        for spec, binding in zip(catalogue, catalogue.bindings(), strict=True)
    ]
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
