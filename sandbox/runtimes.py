"""What a language runtime is to the worker, and what the worker is to a runtime.

The rules both sides keep:

- A runtime is prepared before the worker locks itself, in the zygote so that all workers inherit it; it executes
  exactly one program afterwards, and is never reused.
- The only way out of a runtime is its ``ChannelLike``; a runtime opens nothing, reads no clock and draws no randomness
  on its own (Lua's generator is seeded from bytes that the worker passes in).
- Only plain values cross: None, bool, int of 64 bits, finite float, str, bytes, list and dict with str keys.
- ``execute`` never raises for anything that a script does; what went wrong is in the ``Result``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from sandbox.modules import Libraries

MAX_SOURCE_BYTES = (
    256 * 1024
)  # of one file; compiling 200 dense lines of Python costs 11 ms, so this bounds it to ~0.5 s
PLACES = ("parameter", "path", "target")  # what an error is about, where it is about one: texts that a script may read
MAX_ERROR_BYTES = 4 * 1024  # of one error text that leaves a runtime; more than that helps nobody who reads it


#: What files were compiled to: by the bundle that they are of (a ``Module.unit``) and their path in it.
Codes = Mapping[str, Mapping[str, bytes]]
NO_CODES: Final[Codes] = {}


class CallError(Exception):
    """The gate answered a call with an error; the script may catch it, in its language's way.

    Args:
        code: Stable code of ``protocol.errors.DOORS``, such as ``denied`` or ``not_found``.
        message: One sentence, may be shown to the script.
        fields: What else the gate said, such as ``parameter`` or ``path``.
    """

    def __init__(self, code: str, message: str, fields: Mapping[str, Any] | None = None) -> None:
        self.code = code
        self.message = message
        self.fields = dict(fields or {})
        super().__init__(f"{code}: {message}")


class Remote(NamedTuple):
    """Stands in a worker for something that the gate holds for this run: a stream, an open file, a terminal."""

    number: int  # counts up from 1 in each run
    kind: str  # ``stream``, or the family of its methods
    fields: Mapping[str, Any]  # plain, fixed


class Taken(NamedTuple):
    """What one pull of a stream gave."""

    items: list[Any]
    is_end: bool
    summary: Any  # of the whole stream; None before its end
    is_blocks: bool = False  # the items are blocks of rows on the wire (``protocol.columns``)


STREAM = "stream"  # the kind of a handle that is read by pulling
HANDLE_KEY = "$handle"  # ``{"$handle": 3}`` is how a handle crosses as an argument, at any depth


class ChannelLike(Protocol):
    """The worker's one way out."""

    def call(self, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """Make one call and return its plain value or a ``Remote``; ``CallError`` if it was refused or failed."""

    def pull(self, stream: int) -> Taken:
        """Return what comes next of a stream; ``CallError`` if it failed."""

    def release(self, handle: int) -> None:
        """Give a handle back."""

    def output(self, data: bytes) -> None:
        """Send what a script printed."""


class Nowhere:
    """The channel of a runtime that has none yet: there is nobody to call and nobody to print for."""

    def call(self, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """Refuse."""
        raise OSError("a runtime that was not attached makes no calls")

    def pull(self, stream: int) -> Taken:
        """Refuse."""
        raise OSError("a runtime that was not attached has no streams")

    def release(self, handle: int) -> None:
        """Refuse."""
        raise OSError("a runtime that was not attached has no handles")

    def output(self, data: bytes) -> None:
        """Refuse."""
        raise OSError("a runtime that was not attached prints nothing")


#: What runtimes have until they are attached. Of all of them: what a worker drops, it would drop into copied pages.
NOWHERE: Final[ChannelLike] = Nowhere()
NOTHING: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Binding:
    """One call as scripts see it; all that a worker knows of the catalogue."""

    name: str  # dotted, such as ``fs.space``, or a bare word such as ``param``
    parameters: tuple[str, ...]  # in positional order
    is_local: bool = False  # implemented in the worker by ``sandbox.pure``, no gate
    is_method: bool = False  # of a handle: a family of nothing else is no global name
    maps: frozenset[int] = frozenset()  # positions that take a map, which in Lua is otherwise a table of options

    @property
    def family(self) -> str:
        """The first word, which is the name of the table or object that scripts see; empty for a bare word."""
        return self.name.rpartition(".")[0]

    @property
    def member(self) -> str:
        """The last word."""
        return self.name.rpartition(".")[2]

    @classmethod
    def from_plain(cls, rows: Sequence[Mapping[str, Any]]) -> tuple[Binding, ...]:
        """Return the bindings that the catalogue described: name, parameters, local, method, maps."""
        return tuple(
            cls(
                row["name"],
                tuple(row["parameters"]),
                bool(row.get("local", False)),
                bool(row.get("method", False)),
                frozenset(row.get("maps", ())),
            )
            for row in rows
        )


@dataclass(frozen=True, slots=True)
class RuntimeLimits:
    """What a runtime must know before the program arrives."""

    memory_bytes: int  # what a script may hold; the process limit of the jail stands above it


@dataclass(slots=True)
class Result:
    """How one program ended. Not changed after it was made; frozen, it would be made by a detour in each worker."""

    ok: bool
    value: Any = None  # plain, within ``values.RESULT_CAPS``; None unless ``ok``
    error_message: str | None = None  # at most MAX_ERROR_BYTES, valid UTF-8
    error_where: str | None = None  # ``main.lua:4``; absent where the language tells no place
    error_code: str | None = None  # code of an uncaught CallError


class Runtime(Protocol):
    """One language, ready to run one program once."""

    takes_bytes: bool  # its texts are bytes, so that what comes from calls need not be decoded for it

    def attach(self, channel: ChannelLike, limits: RuntimeLimits, randomness: bytes) -> None:
        """Give the runtime what belongs to the one run it is for. Called once, before ``execute``.

        Args:
            channel: Where calls and output go.
            limits: Of this run.
            randomness: At least 16 random bytes; forks of one zygote would otherwise share their random numbers.
        """

    def execute(
        self,
        main: str,
        files: Mapping[str, bytes],
        parameters: Mapping[str, Any],
        libraries: Libraries = ...,
        codes: Codes = ...,
    ) -> Result:
        """Run file ``main`` of ``files`` to its end. Never raises for what a script does.

        Args:
            main: A key of ``files``.
            files: Of the bundle; those of its language can be required.
            parameters: Of the run.
            libraries: What can be required beside; none without it.
            codes: What :meth:`compiled` gave for these very files, so that they need not be compiled again.
        """

    def compiled(self, main: str, files: Mapping[str, bytes]) -> Result:
        """Compile file ``main`` of ``files``, run nothing, and return its code as bytes. Never raises for a text."""


def failed(message: str, where: str | None = None, code: str | None = None) -> Result:
    """Return the result of a program that did not end well, its text cut to ``MAX_ERROR_BYTES``."""
    text = message.encode("utf-8", "replace")[:MAX_ERROR_BYTES].decode("utf-8", "ignore")
    return Result(ok=False, error_message=text, error_where=where, error_code=code)
