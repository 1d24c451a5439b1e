"""The guards of the Python runtime, each with what takes it away."""

from __future__ import annotations

import ast
import builtins
import collections
import functools
import json
import operator
import random
import re
import signal
import string
import sys
from collections.abc import Callable
from typing import Any, Final

from RestrictedPython.compile import compile_restricted_exec
from RestrictedPython.transformer import RestrictingNodeTransformer
from weakening import AUDITED, META_PATH, World, hook, python, replace

from sandbox import python_guards, python_policy, python_runtime, python_text
from sandbox.pure import json as pure_json
from sandbox.runtimes import Binding, Result, RuntimeLimits

ALARM_S: Final = 0.05  # of a script under a signal handler


@python("transformer")
def _no_transformer(world: World) -> None:
    """Source is compiled as it is; the namespace stays the restricted one."""
    replace(python_runtime, "compile_script", lambda source, name: compile(source, name, "exec", dont_inherit=True))


@python("errors of the transformer")
def _stumbling(world: World) -> None:
    """What the transformer raises is taken for a refusal only where it says so."""
    replace(
        python_runtime,
        "compile_script",
        lambda source, name: compile_restricted_exec(ast.parse(source), name, policy=python_policy.ScriptPolicy).code,
    )


class _Lax(python_policy.ScriptPolicy):
    """The policy, with single rules taken away by the weaknesses below."""


def _lax(world: World, name: str, visit: Any) -> None:
    setattr(_Lax, name, visit)
    replace(python_policy, "ScriptPolicy", _Lax)


@python("names of guards")
def _any_name(world: World) -> None:
    """A script may bind any name, those of the guards included."""
    _lax(world, "check_name", lambda *_, **__: None)


@python("no match statement")
def _match(world: World) -> None:
    for node in ("Match", "match_case", "MatchClass", "MatchAs", "MatchValue", "MatchSequence", "MatchMapping"):
        _lax(world, f"visit_{node}", RestrictingNodeTransformer.node_contents_visit)


@python("no metaclass keyword")
def _metaclass(world: World) -> None:
    def visit(self: Any, node: Any) -> Any:
        self.check_name(node, node.name)
        return self.node_contents_visit(node)

    _lax(world, "visit_ClassDef", visit)


@python("no import")
def _imports(world: World) -> None:
    _lax(world, "visit_Import", RestrictingNodeTransformer.visit_Import)
    _lax(world, "visit_ImportFrom", RestrictingNodeTransformer.visit_ImportFrom)
    python_runtime._OWN_BUILTINS["__import__"] = __import__


@python("attributes of a list")
def _any_attribute(world: World) -> None:
    """``_getattr_`` is the builtin; the transformer still refuses names that start with an underscore."""
    hook(python_runtime._HOOKS, _getattr_=getattr)


@python("a getattr of our own")
def _raw_getattr(world: World) -> None:
    hook(python_runtime._OWN_BUILTINS, getattr=getattr)


@python("an exact type of names")
def _naive_getattr(world: World) -> None:
    """``getattr`` asks the name whether it is private."""

    def naive(target: Any, name: Any) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(target, name)

    hook(python_runtime._OWN_BUILTINS, getattr=naive)


@python("text and not bytes")
def _bytes_source(world: World) -> None:
    """Source is checked as UTF-8 text and compiled as bytes, whose coding cookie is obeyed."""

    def compile_bytes(source: str, name: str) -> Any:
        original(source, name)
        return compile(source.encode(), name, "exec", dont_inherit=True)

    original = python_policy.compile_script
    replace(python_runtime, "compile_script", compile_bytes)


@python("a tree and not a text")
def _text_filter(world: World) -> None:
    """A filter looks for bad words in the source, and then everything is allowed."""

    def compile_filtered(source: str, name: str) -> Any:
        if re.search(r"__|eval|exec|import|open|getattr", source.split("\n\n", 1)[-1]):
            raise python_policy.SourceRefused("a bad word", None)
        return compile(source, name, "exec", dont_inherit=True)

    replace(python_runtime, "compile_script", compile_filtered)
    _all_builtins(world)


@python("builtins of a list")
def _all_builtins(world: World) -> None:
    python_runtime._OWN_BUILTINS.update(
        {name: value for name, value in vars(builtins).items() if name not in python_runtime._OWN_BUILTINS}
    )


@python("no modules")
def _modules(world: World) -> None:
    """Some harmless modules of the standard library are there, with all that they hold."""
    python_runtime._OWN_BUILTINS.update(
        {"re": re, "operator": operator, "functools": functools, "string": string, "random": random,
         "collections": collections, "json_module": json}
    )  # fmt: skip
    hook(python_runtime._HOOKS, _getattr_=_no_private)


def _no_private(target: Any, name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return getattr(target, name)


@python("nothing is written but lists and dicts")
def _write_anything(world: World) -> None:
    hook(python_runtime._HOOKS, _write_=lambda target: target)


@python("bases of a list")
def _any_base(world: World) -> None:
    hook(python_runtime._HOOKS, __metaclass__=type)


@python("magic methods of a list")
def _any_method(world: World) -> None:
    """A class may define any magic method."""
    original = RestrictingNodeTransformer.check_name

    def check(self: Any, node: Any, name: str | None, allow_magic_methods: bool = False) -> None:
        if not (name and name.startswith("__") and name.endswith("__")):
            original(self, node, name, allow_magic_methods)

    _lax(world, "check_name", check)


@python("eager builtins")
def _lazy(world: World) -> None:
    hook(python_runtime._OWN_BUILTINS, map=map, filter=filter, zip=zip, enumerate=enumerate, reversed=reversed)


@python("texts without addresses")
def _raw_texts(world: World) -> None:
    hook(python_runtime._OWN_BUILTINS, repr=repr, str=str, format=format, hash=hash)
    hook(python_runtime._HOOKS, _modulo_=operator.mod, _show_=_raw_show)
    replace(python_text, "text", str)
    replace(python_text, "without_addresses", lambda message: message)


def _raw_show(value: Any, conversion: int) -> Any:
    conversions: dict[int, Callable[[Any], Any]] = {ord("r"): repr, ord("a"): ascii, ord("s"): str}
    return conversions.get(conversion, lambda same: same)(value)


@python("print without a file")
def _raw_print(world: World) -> None:
    replace(python_runtime, "_printer", lambda _channel: print)


@python("errors are fresh")
def _chained_errors(world: World) -> None:
    """An error of a call is raised where the reason was caught, so it carries that along."""
    token = world.token

    def function(self: Any, binding: Binding) -> Any:
        def call(*_: Any, **__: Any) -> Any:
            try:
                raise RuntimeError(token)
            except RuntimeError:
                raise python_guards.host_error("denied", "no")  # noqa: B904 - the chain is the weakness

        return call

    replace(python_runtime.PythonRuntime, "_function", function)


@python("sealed errors")
def _unsealed(world: World) -> None:
    class HostError(Exception):
        def __init__(self, code: str = "", message: str = "") -> None:
            self.code, self.message = code, message
            super().__init__(message)

    replace(python_runtime, "HostError", HostError)


@python("a hash of our own")
def _raw_hash(world: World) -> None:
    hook(python_runtime._OWN_BUILTINS, hash=hash)


@python("no live containers")
def _live_container(world: World) -> None:
    """A container of the host is in reach, held by a guard on ``for`` loops only."""
    secret = _Guarded([world.token])

    def guarded_iter(target: Any) -> Any:
        if isinstance(target, _Guarded):
            raise TypeError("not for scripts")
        return target

    hook(python_runtime._HOOKS, _getiter_=guarded_iter)
    python_runtime._OWN_BUILTINS["shelf"] = secret


class _Guarded(list[Any]):
    """What only ``_getiter_`` protects."""


@python("recursion limit")
def _no_recursion_limit(world: World) -> None:
    sys.setrecursionlimit(10**9)


@python("limit of digits")
def _no_digit_limit(world: World) -> None:
    sys.set_int_max_str_digits(0)
    replace(pure_json, "_integer", int)


@python("deadline outside")
def _alarm(world: World) -> None:
    """A signal handler inside stands for the deadline outside."""

    def raise_timeout(*_: Any) -> None:
        raise TimeoutError("timeout")

    signal.signal(signal.SIGPROF, raise_timeout)
    signal.setitimer(signal.ITIMER_PROF, ALARM_S)  # of processor time: a busy machine is not slow code


@python("memory limit")
def _no_python_memory_limit(world: World) -> None:
    """Only together with ``walls``: the limit is one of them."""


@python("bounded values")
def _no_value_bounds(world: World) -> None:
    def copy(value: Any) -> Any:  # and nothing else: CPython 3.13.0 to 3.13.7 counts no other calls
        return [copy(item) for item in value] if isinstance(value, (list, tuple)) else value

    replace(python_runtime, "to_plain", lambda value, *_, **__: copy(value))


@python("leaving by _exit")
def _finalise(world: World) -> None:
    """The worker returns to its caller when the script has ended, and what the script made is destroyed then."""
    world.is_closed = True


@python("no lazy imports")
def _lazy_imports(world: World) -> None:
    sys.meta_path[:] = list(META_PATH)
    AUDITED.clear()


@python("one worker for one run")
def _reuse_python(world: World) -> None:
    world.is_reused = True


def run_python(world: World, source: bytes) -> Result:
    for holder in (python_guards, python_runtime):
        vars(holder)["CANARY"] = world.token  # a secret that the host has in its memory
    runtime = python_runtime.create(world.bindings, world.meter, RuntimeLimits(world.memory_bytes))
    for _ in range(1 + world.is_reused):
        result = runtime.execute("main.py", {"main.py": source}, world.parameters)
    if world.is_closed:
        runtime._namespace.clear()
    return result
