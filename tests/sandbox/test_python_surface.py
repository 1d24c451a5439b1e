"""What a Python script can see, compared as a whole: sampling a few names would prove little."""

from __future__ import annotations

import builtins
from types import GeneratorType

import pytest
from languages import BINDINGS, MEMORY_BYTES, RecordingChannel

from sandbox import python_runtime, python_surface
from sandbox.python_guards import Api
from sandbox.runtimes import RuntimeLimits

FAMILIES = {"fs", "proc", "json"}
BARE = {"param"}

#: Public attributes that exist and are not offered. A new one in a new Python version must be judged here.
LEFT_OUT: dict[type, set[str]] = {
    str: {"format", "format_map"},
    int: {"is_integer"},  # from 3.12
    bool: {"is_integer"},
    type({}.keys()): {"mapping"},
    type({}.items()): {"mapping"},
    GeneratorType: {"gi_code", "gi_frame", "gi_running", "gi_suspended", "gi_yieldfrom"},
}


@pytest.fixture
def runtime() -> python_runtime.PythonRuntime:
    return python_runtime.create(BINDINGS, RecordingChannel(), RuntimeLimits(MEMORY_BYTES))


def test_the_namespace_is_exactly_the_listed_surface(runtime: python_runtime.PythonRuntime) -> None:
    """A builtin that nobody listed is a hole that nobody judged."""
    namespace = runtime._namespace
    surface = python_surface
    visible = surface.STOCK | surface.GUARDED | surface.EXCEPTIONS | surface.CONSTANTS | FAMILIES | BARE
    assert set(namespace["__builtins__"]) == visible | {"HostError", "__build_class__"}
    assert set(namespace) == (surface.HOOKS - {"__build_class__"}) | {"__builtins__"}


def test_what_is_guarded_is_not_the_builtin(runtime: python_runtime.PythonRuntime) -> None:
    """A guard that fell back to the original would be no guard."""
    visible = runtime._namespace["__builtins__"]
    assert not [name for name in python_surface.GUARDED if visible[name] is getattr(builtins, name)]
    assert not python_surface.GUARDED & python_surface.STOCK


@pytest.mark.parametrize("kind", list(python_surface.ATTRIBUTES), ids=lambda kind: kind.__name__)
def test_every_public_attribute_is_listed_or_left_out_on_purpose(kind: type) -> None:
    """A new version of Python must not add anything by itself."""
    listed = python_surface.ATTRIBUTES[kind]
    existing = {name for name in dir(kind) if not name.startswith("_")}
    assert existing - listed <= LEFT_OUT.get(kind, set())
    assert not listed & LEFT_OUT.get(kind, set())
    assert not [name for name in listed if name.startswith("_")]
    assert listed - existing <= {"is_integer"}


def test_families_hold_static_functions_and_no_state(runtime: python_runtime.PythonRuntime) -> None:
    """There must be nothing on them to read, write or walk."""
    for name in FAMILIES:
        api = runtime._namespace["__builtins__"][name]
        assert isinstance(api, Api)
        assert not hasattr(api, "__dict__")
        with pytest.raises(AttributeError):
            api.space = None


def test_classes_that_would_let_a_script_build_types_are_absent() -> None:
    """These are the usual first steps of an attribute walk."""
    visible = python_surface.STOCK | python_surface.GUARDED | python_surface.EXCEPTIONS
    forbidden = """id setattr delattr type object super property classmethod staticmethod memoryview bytearray vars dir
        globals locals eval exec compile open input breakpoint __import__ help exit quit BaseException SystemExit
        KeyboardInterrupt GeneratorExit ExceptionGroup BaseExceptionGroup aiter anext ascii"""
    assert not visible & set(forbidden.split())
