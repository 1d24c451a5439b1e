"""Restricted Python for scripts, through RestrictedPython and guards of our own.

The boundary is the process; these guards keep honest scripts predictable and make an attacker need two bugs. What the
runtime itself guarantees:

- Source is compiled here, in the worker, from text; the agent never parses a script.
- The namespace holds what ``python_surface`` lists and the calls, nothing else; ``__import__`` is absent, and what
  ``import`` gives is a frozen name space of chosen functions (``python_modules``).
- Calls are static functions of objects without state; they raise only ``HostError``, always fresh, without context.
- ``BaseException`` is caught around everything a script can make run, and around making text of what it raised.
- The value is what ``main()`` returns if the script defines a ``main``, else that of the name ``result``.
"""

from __future__ import annotations

import builtins
import codecs
import marshal
import types
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from RestrictedPython.Guards import guarded_iter_unpack_sequence, guarded_unpack_sequence

from sandbox import pure, python_guards, python_text
from sandbox.modules import NONE, PROGRAM, Finder, Libraries
from sandbox.modules import Module as Found
from sandbox.python_collections import simpler
from sandbox.python_guards import Api, HostError, as_call
from sandbox.python_handles import HandleObject, Stream, handle_class, plain_handle
from sandbox.python_modules import import_module
from sandbox.python_policy import SourceRefused, compile_script, require_version
from sandbox.python_proxies import Module, module
from sandbox.python_surface import CONSTANTS, EXCEPTIONS, STOCK
from sandbox.runtimes import (
    MAX_SOURCE_BYTES,
    NO_CODES,
    NOTHING,
    NOWHERE,
    STREAM,
    Binding,
    CallError,
    ChannelLike,
    Codes,
    Remote,
    Result,
    RuntimeLimits,
    Taken,
    failed,
)
from sandbox.values import CALL_CAPS, LOCAL_CAPS, RESULT_CAPS, ValueRefused, arguments, to_plain

MAX_ENDINGS = 1000  # functions for the end of the program
MAX_PRINT_CHARACTERS = 1024 * 1024  # of one print; the worker counts the total
_NO_ROOM_FOR_A_CALL = "error return without exception set"  # a SystemError of CPython 3.11 to 3.13

_ENCODINGS = ("utf-8", "ascii", "latin-1", "utf-16", "utf-32", "cp1252", "utf-8-sig", "raw_unicode_escape")
_OWN_BUILTINS: dict[str, Any] = {
    "enumerate": python_guards.eager_enumerate,
    "filter": python_guards.eager_filter,
    "format": python_text.format_value,
    "getattr": python_guards.guarded_getattr,
    "hasattr": python_guards.guarded_hasattr,
    "hash": python_guards.guarded_hash,
    "map": python_guards.eager_map,
    "repr": python_guards.guarded_repr,
    "reversed": python_guards.eager_reversed,
    "str": python_guards.Text,
    "zip": python_guards.eager_zip,
}
_HOOKS: dict[str, Any] = {
    "__metaclass__": python_guards.make_class,
    "_apply_": python_guards.apply,
    "_getattr_": python_guards.guarded_getattr,
    "_getitem_": python_guards.guarded_getitem,
    "_getiter_": python_guards.guarded_iter,
    "_import_": import_module,
    "_inplace_attribute_": python_guards.in_place_attribute,
    "_inplace_item_": python_guards.in_place_item,
    "_inplacevar_": python_guards.in_place,
    "_iter_unpack_sequence_": guarded_iter_unpack_sequence,
    "_modulo_": python_text.modulo,
    "_show_": python_text.show,
    "_unpack_sequence_": guarded_unpack_sequence,
    "_write_": python_guards.guarded_write,
}


def preload() -> None:
    """Import what the interpreter and the compiler would otherwise import only when first needed.

    Raises:
        UnavailableError: The installed RestrictedPython is not one whose holes are known to be closed.
    """
    require_version()
    unicodedata.normalize("NFKC", "é")  # the parser wants it for any identifier that is not ASCII
    "é".encode("ascii", "namereplace")  # which looks for the names of characters once, by an import
    for encoding in _ENCODINGS:
        codecs.lookup(encoding)
    compile_script("def main():\n    return f'{1}'\n", "preload.py")


def create(bindings: Sequence[Binding], channel: ChannelLike, limits: RuntimeLimits) -> PythonRuntime:
    """Return a runtime that shows ``bindings`` to its script."""
    runtime = prepare(bindings)
    runtime.attach(channel, limits, b"")
    return runtime


def prepare(bindings: Sequence[Binding]) -> PythonRuntime:
    """Return a runtime that lacks a channel; :meth:`PythonRuntime.attach` gives it."""
    return PythonRuntime(bindings)


def _simpler(value: Any) -> Any:
    return simpler(plain_handle(value))


class PythonRuntime:
    """One namespace, for one program. See ``runtimes.Runtime``."""

    def __init__(self, bindings: Sequence[Binding]) -> None:
        self.takes_bytes = False
        self._channel = NOWHERE
        self._parameters = NOTHING  # of the run; set when the program arrives
        self._endings: list[Callable[[], Any]] = []  # for the end of the program, last come, first called
        self._dropped: list[int] = []  # streams that the script forgot before their end
        self._kinds: dict[str, type] = {}  # of handles
        self._files: Mapping[str, bytes] = NOTHING  # of the run, as are its libraries; set when the program arrives
        self._libraries = NONE
        self._finder: Finder | None = None  # of these, once something is looked for
        self._codes: Codes = NO_CODES  # of the run, what was compiled apart; set when the program arrives
        self._modules: dict[tuple[str, str], Module | None] = {}  # by unit and path; None while it is being run
        self._shown: set[str] = set()  # the names of all files of the script that ran, in tracebacks
        self._namespace = self._build(bindings)
        self._pristine = dict(self._namespace)  # what each module begins with

    def attach(self, channel: ChannelLike, limits: RuntimeLimits, randomness: bytes) -> None:
        """Give the runtime of one run its channel. Nothing here draws random numbers; memory is the jail's to limit."""
        del limits, randomness
        self._channel = channel

    def compiled(self, main: str, files: Mapping[str, bytes]) -> Result:
        """Compile ``main`` and return its code."""
        code = self._compile(main, files)
        return code if isinstance(code, Result) else Result(ok=True, value=marshal.dumps(code))

    def execute(
        self,
        main: str,
        files: Mapping[str, bytes],
        parameters: Mapping[str, Any],
        libraries: Libraries = NONE,
        codes: Codes = NO_CODES,
    ) -> Result:
        """Compile ``main``, unless that was done, and run it."""
        self._parameters = parameters
        self._files, self._libraries, self._finder = files, libraries, None
        self._codes = codes
        self._shown.add(main)
        made = _loaded(codes, PROGRAM, main) or self._compile(main, files)
        return made if isinstance(made, Result) else self._run(made)

    def _compile(self, main: str, files: Mapping[str, bytes]) -> types.CodeType | Result:
        source = files.get(main)
        if source is None:
            return failed(f"the bundle has no file {main}")
        if len(source) > MAX_SOURCE_BYTES:
            return failed(f"the file is larger than {MAX_SOURCE_BYTES} bytes", main)
        try:
            return compile_script(source.decode("utf-8"), main)
        except SourceRefused as error:
            return failed(error.message, main if error.line is None else f"{main}:{error.line}")
        except UnicodeDecodeError:
            return failed("the file is not valid UTF-8", main)
        except MemoryError:
            return failed("not enough memory to compile the file", main)

    def _run(self, code: types.CodeType) -> Result:
        result = self._attempt(lambda: self._main(code))
        while self._endings:  # also what they add themselves; the run's limits end that
            ended = self._attempt(self._ending(self._endings.pop()))
            if result.ok and not ended.ok:  # the first thing that went wrong is what is told
                result = ended
        return result

    def _main(self, code: types.CodeType) -> Any:
        exec(code, self._namespace)  # noqa: S102 - restricted code, inside the jail: this is what a worker is for
        entry = self._namespace.get("main")
        return entry() if entry is not None else self._namespace.get("result")

    def _ending(self, ending: Callable[[], Any]) -> Callable[[], None]:
        def call() -> None:
            ending()  # what it returns is nobody's

        return call

    def _at_exit(self, ending: Any) -> None:
        """Have a function of the script called when its program has ended; the script's ``atexit``."""
        if not callable(ending):
            raise TypeError("atexit() needs a function")
        if len(self._endings) >= MAX_ENDINGS:
            raise ValueError(f"atexit: at most {MAX_ENDINGS} functions")
        self._endings.append(ending)

    def _attempt(self, perform: Callable[[], Any]) -> Result:
        try:
            value = perform()
            return Result(ok=True, value=to_plain(value, RESULT_CAPS.budget("the result"), simpler=simpler))
        except ValueRefused as error:
            return failed(str(error))
        except BaseException as error:  # noqa: BLE001 - scripts can raise any exception, SystemExit included
            return _failure(error, self._shown)

    def _build(self, bindings: Sequence[Binding]) -> dict[str, Any]:
        visible = {name: getattr(builtins, name) for name in STOCK | EXCEPTIONS | CONSTANTS}
        visible |= _OWN_BUILTINS
        visible["__build_class__"] = builtins.__build_class__
        visible["HostError"] = HostError
        visible["atexit"] = lambda ending: self._at_exit(ending)  # noqa: PLW0108 - a method would hold the runtime
        namespace: dict[str, Any] = {"__builtins__": visible, "__name__": "script"}
        namespace |= _HOOKS
        namespace["_print_"] = _printer(self._send_output)
        self._known = {binding.name: binding for binding in bindings}
        families: dict[str, dict[str, Any]] = {}
        for binding in bindings:
            if binding.family:
                families.setdefault(binding.family, {})[binding.member] = staticmethod(self._function(binding))
            else:
                visible[binding.member] = self._function(binding)
        if "require" in visible:
            visible["require"] = self._requirer(PROGRAM)
        shown = {binding.family for binding in bindings if not binding.is_method}
        visible |= {name: self._api(name, members) for name, members in families.items() if name in shown}
        self._kinds = {name: self._kind(name, members) for name, members in families.items()}
        return namespace

    def _requirer(self, unit: str) -> Callable[..., Any]:
        """Return ``require`` of one bundle: the program, or a library."""

        def perform(args: tuple[Any, ...], named: dict[str, Any]) -> Any:
            if len(args) + len(named) != 1 or named.keys() - {"name"}:
                raise CallError("invalid_argument", "require takes the name of a module")
            if self._finder is None:
                self._finder = Finder("python", self._files, self._libraries)
            return self._require(self._finder.find(unit, args[0] if args else named["name"]))

        return as_call(perform)

    def _require(self, found: Found) -> Module:
        key = (found.unit, found.path)
        if key in self._modules:
            known = self._modules[key]
            if known is None:
                raise CallError("conflict", f"{found.shown} requires itself")
            return known
        code = _loaded(self._codes, *key) or _compiled(found)
        self._shown.add(found.shown)
        namespace = dict(self._pristine)
        if found.unit != PROGRAM:
            namespace["__builtins__"] = {**namespace["__builtins__"], "require": self._requirer(found.unit)}
        self._modules[key] = None
        try:
            exec(code, namespace)  # noqa: S102 - as the program itself
            members = {name: value for name, value in namespace.items() if name[:1] != "_"}
            made = self._modules[key] = module(found.shown.replace("\0", ""), members)
        finally:
            if self._modules[key] is None:
                del self._modules[key]
        return made

    def _send_output(self, data: bytes) -> None:
        self._channel.output(data)  # looked up each time: the channel comes after the namespace is built

    def _api(self, family: str, members: Mapping[str, Any]) -> Api:
        def undeclared(name: str) -> Callable[..., Any]:
            return self._function(Binding(f"{family}.{name}", ()))

        body = {"__slots__": (), "_undeclared_": staticmethod(undeclared), **members}
        if family in STOCK:  # hex: as a function it stays what it is
            body["__call__"] = staticmethod(getattr(builtins, family))
        api: Api = type(family, (Api,), body)()
        return api

    def _kind(self, family: str, members: Mapping[str, Any]) -> type:
        methods = {name: self._function(self._known[f"{family}.{name}"]) for name in members}
        return handle_class(family, methods, lambda name: self._function(Binding(f"{family}.{name}", ())))

    def _function(self, binding: Binding) -> Callable[..., Any]:
        perform = self._call_local if binding.is_local else self._call_host
        return as_call(lambda args, named: perform(binding, args, named))

    def _call_host(self, binding: Binding, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        given, options = arguments(binding.parameters, args, named, CALL_CAPS, _simpler)
        self._give_back()
        value = self._channel.call(binding.name, given, options)
        return self._object(value) if type(value) is Remote else value

    def _object(self, remote: Remote) -> HandleObject:
        if remote.kind == STREAM:
            return Stream(remote, self._pull, self._release, self._dropped)
        if remote.kind not in self._kinds:  # one without methods, that is only passed on
            self._kinds[remote.kind] = self._kind(remote.kind, {})
        made: HandleObject = self._kinds[remote.kind](remote, self._release)
        return made

    def _pull(self, stream: int) -> Taken:
        self._give_back()
        return self._channel.pull(stream)

    def _release(self, handle: int) -> None:
        self._give_back()
        self._channel.release(handle)

    def _give_back(self) -> None:
        while self._dropped:
            self._channel.release(self._dropped.pop())

    def _call_local(self, binding: Binding, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return pure.PURE[binding.name](
            self._parameters, *arguments(binding.parameters, args, named, LOCAL_CAPS, simpler)
        )


def _loaded(codes: Codes, unit: str, path: str) -> types.CodeType | None:
    """Return the code that was compiled apart; None if there is none. What is broken was broken by its own text."""
    code = codes.get(unit, {}).get(path)
    if code is None:
        return None
    try:
        loaded = marshal.loads(code)  # noqa: S302 - in the jail, and of the text that is about to run here
    except (EOFError, ValueError, TypeError):
        return None
    return loaded if type(loaded) is types.CodeType else None


def _printer(output: Callable[[bytes], None]) -> Callable[..., None]:
    """Return ``print`` of scripts. It has no ``file`` and no ``flush``: they would drive methods past the guards."""

    def write(*values: Any, sep: str | None = " ", end: str | None = "\n") -> None:
        for word in (sep, end):
            if word is not None and type(word) is not str:
                raise TypeError("sep and end must be strings")
        line = (" " if sep is None else sep).join(python_text.text(value) for value in values)
        line = line[:MAX_PRINT_CHARACTERS] + ("\n" if end is None else end)
        output(line.encode("utf-8", "replace"))

    return write


def _compiled(found: Found) -> types.CodeType:
    try:
        return compile_script(found.source.decode("utf-8"), found.shown)
    except SourceRefused as error:
        place = found.shown if error.line is None else f"{found.shown}:{error.line}"
        raise CallError("invalid_argument", f"{place}: {error.message}") from None
    except UnicodeDecodeError:
        raise CallError("invalid_argument", f"{found.shown} is not valid UTF-8") from None


def _failure(error: BaseException, files: Collection[str]) -> Result:
    """Return the result of a script that ended with ``error``. Making text of it can fail like everything else."""
    where = _place(error, files)
    try:
        if type(error) is HostError:
            return failed(error.message, where, error.code)
        kind, told = type(error).__name__, python_text.text(error)
        if type(error) is SystemError and told == _NO_ROOM_FOR_A_CALL:
            return failed("MemoryError: there is no memory for one more call", where)
        return failed(f"{kind}: {told}" if told else kind, where)
    except MemoryError:
        return failed("MemoryError", where)
    except BaseException:  # noqa: BLE001 - see above; the place is still worth telling
        return failed("the script raised an error that cannot be shown", where)


def _place(error: BaseException, files: Collection[str]) -> str | None:
    """Return the innermost line of the script in the traceback of ``error``."""
    where, step = None, error.__traceback__
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        if name in files:
            where = f"{name}:{step.tb_lineno}"
        step = step.tb_next
    return where
