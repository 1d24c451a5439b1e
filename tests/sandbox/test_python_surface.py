"""What a Python script can see, compared as a whole: sampling a few names would prove little."""

from __future__ import annotations

import _csv
import builtins
import datetime
import ipaddress
import json
import re
from collections import Counter, deque
from types import GeneratorType, ModuleType

import pytest
from languages import BINDINGS, MEMORY_BYTES, RecordingChannel

from sandbox import python_methods, python_modules, python_runtime, python_surface
from sandbox.python_collections import DefaultDict, OrderedDict
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
    Counter: {"fromkeys"},  # raises
    DefaultDict: {"fromkeys"},  # makes one without a factory
    datetime.date: {"timetuple"},  # imports, and gives a type of its own
    datetime.datetime: {"timetuple", "utcfromtimestamp", "utcnow", "utctimetuple"},
    datetime.time: {"strptime"},  # from 3.14
    re.Match: {"re", "regs"},
    re.error: {"add_note", "with_traceback"},
    json.JSONDecodeError: {"add_note", "doc", "with_traceback"},
    _csv.Error: {"add_note", "with_traceback"},
    ipaddress.IPv4Address: {"ipv6_mapped"},  # from 3.13
    ipaddress.IPv4Interface: {"hosts", "ipv6_mapped"},
}

#: One value of each type whose values have attributes that the type has not.
EXAMPLES: dict[type, object] = {
    ipaddress.IPv4Interface: ipaddress.ip_interface("10.0.0.1/8"),
    ipaddress.IPv6Interface: ipaddress.ip_interface("::1/64"),
    ipaddress.IPv4Network: ipaddress.ip_network("10.0.0.0/8"),
    ipaddress.IPv6Network: ipaddress.ip_network("::/64"),
    json.JSONDecodeError: json.JSONDecodeError("x", "x", 0),
    re.error: re.error("x", "x", 0),
}


@pytest.fixture
def runtime() -> python_runtime.PythonRuntime:
    return python_runtime.create(BINDINGS, RecordingChannel(), RuntimeLimits(MEMORY_BYTES))


def test_the_namespace_is_exactly_the_listed_surface(runtime: python_runtime.PythonRuntime) -> None:
    """A builtin that nobody listed is a hole that nobody judged."""
    namespace = runtime._namespace
    surface = python_surface
    visible = surface.STOCK | surface.GUARDED | surface.EXCEPTIONS | surface.CONSTANTS | FAMILIES | BARE
    assert set(namespace["__builtins__"]) == visible | {"HostError", "__build_class__", "atexit"}
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
    on_class = python_surface.CLASS_ATTRIBUTES.get(kind, frozenset())
    existing = {name for name in dir(EXAMPLES.get(kind, kind)) if not name.startswith("_")}
    assert existing - listed - on_class <= LEFT_OUT.get(kind, set())
    assert not (listed | on_class) & LEFT_OUT.get(kind, set())
    assert not [name for name in listed | on_class if name.startswith("_")]
    assert listed - existing <= {"is_integer", "value"}  # "value" stands for what StopIteration has


@pytest.mark.parametrize("kind", list(python_surface.CLASS_ATTRIBUTES), ids=lambda kind: kind.__name__)
def test_attributes_of_types_are_listed_apart(kind: type) -> None:
    """What a type has besides its values' methods makes values, and must be judged by itself."""
    assert {name for name in python_surface.CLASS_ATTRIBUTES[kind] if not hasattr(kind, name)} == set()


def test_modules_hold_exactly_what_is_listed() -> None:
    """``import`` is checked by the list, before anything runs; what is really there must be the same."""
    there = {
        name: {word for word in vars(type(module)) if not word.startswith("__")}
        for name, module in python_modules.MODULES.items()
    }
    assert there == python_surface.MODULES


def test_nothing_in_a_module_is_a_module_or_can_be_changed() -> None:
    """A frozen name space: nothing to walk to, nothing to write to, nothing that one run leaves for the next."""
    for module in python_modules.MODULES.values():
        assert not hasattr(module, "__dict__")
        assert not hasattr(module, "__spec__")
        assert not hasattr(module, "__loader__")
        with pytest.raises(AttributeError):
            module.x = 1  # type: ignore[attr-defined]  # the attempt
        for name in python_surface.MODULES[type(module).__name__]:
            held = getattr(module, name)
            assert not isinstance(held, (ModuleType, list, dict, set, bytearray)), name


def test_every_type_that_a_module_gives_is_judged() -> None:
    """A class without a row would show nothing, but its values would show what their type inherits."""
    given = {
        held
        for module in python_modules.MODULES.values()
        for name in python_surface.MODULES[type(module).__name__]
        if isinstance(held := getattr(module, name), type)
    }
    exceptions = {kind for kind in given if issubclass(kind, BaseException)}
    assert given - exceptions <= set(python_surface.ATTRIBUTES) & set(python_surface.CLASS_ATTRIBUTES)


def test_own_methods_stand_for_listed_ones() -> None:
    """One that is not listed would never be asked for, and the library's own would be."""
    assert not [key for key in python_methods.METHODS if key[1] not in python_surface.ATTRIBUTES[key[0]]]
    assert not [key for key in python_methods.CLASS_METHODS if key[1] not in python_surface.CLASS_ATTRIBUTES[key[0]]]


@pytest.mark.parametrize("kind", [OrderedDict, DefaultDict, Counter, deque])
def test_own_types_need_no_hash(kind: type) -> None:
    """They can change, so they are no keys."""
    with pytest.raises(TypeError):
        hash(kind())


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
