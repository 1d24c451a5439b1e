"""``json``, ``csv``, ``base64``, ``hashlib`` and ``textwrap`` for scripts: from texts to values and back.

None of them opens, writes to or reads from anything; there are no file-like objects. ``hashlib`` uses the interpreter's
own implementations: OpenSSL would add half a megabyte to every worker.
"""

from __future__ import annotations

import _csv
import _md5  # type: ignore[import-not-found] # an implementation detail without published types
import _sha1  # type: ignore[import-not-found] # see above
import base64
import io
import json
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from sandbox import python_text
from sandbox.python_proxies import integer_of, listed, plain_only, text_of, words
from sandbox.values import LOCAL_CAPS, Budget, ValueRefused

try:
    import _sha2  # type: ignore[import-not-found] # from Python 3.12
except ImportError:
    import _sha256 as _sha2  # type: ignore[import-not-found] # as above
    import _sha512  # type: ignore[import-not-found] # as above
else:
    _sha512 = _sha2

# json


def dumps(
    obj: Any,
    *,
    indent: int | str | None = None,
    sort_keys: bool = False,
    ensure_ascii: bool = True,
    separators: tuple[str, str] | None = None,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """Return the JSON text of ``obj``.

    Args:
        obj: None, bool, int, float, str, lists, tuples, and dicts of any kind whose keys are such values.
        indent: None for one line, 0 to 16 spaces, or up to 16 characters of text.
        sort_keys: Whether equal values give equal texts.
        ensure_ascii: Whether other characters are escaped.
        separators: Two texts, as those of the library.
        default: Makes something else of what is none of these.

    Raises:
        TypeError: Something is none of these.
        ValueError: A number is not finite, or the value is too deep or too large (``values.LOCAL_CAPS``).
    """
    if type(indent) is int:
        integer_of(indent, "indent", 0, 16)
    elif indent is not None and len(text_of(indent, "indent")) > 16:
        raise ValueError("indent may have at most 16 characters")
    if separators is not None:
        one, other = separators
        separators = text_of(one, "a separator"), text_of(other, "a separator")
    try:
        plain = _Plain(default).value(obj, 1)
    except ValueRefused as error:
        problem = str(error)
    else:
        return json.dumps(
            plain, indent=indent, sort_keys=bool(sort_keys), ensure_ascii=bool(ensure_ascii), separators=separators
        )
    raise ValueError(problem)


class _Plain:
    """Makes a value plain, by exact types, before the library sees it."""

    def __init__(self, default: Callable[[Any], Any] | None) -> None:
        self._default = default
        self._budget: Budget = LOCAL_CAPS.budget("the value")

    def value(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if value is None or kind is bool or kind is int:
            return value
        if kind is float:
            return self._budget.number(value)
        if isinstance(value, str):
            self._budget.string(len(value))
            return str(value) if kind is str else str.__str__(value)
        if isinstance(value, dict):
            self._budget.enter(depth, len(value))
            return {self._key(key): self.value(item, depth + 1) for key, item in dict.items(value)}
        if isinstance(value, (list, tuple)):
            self._budget.enter(depth, len(value))
            return [self.value(item, depth + 1) for item in kind.__iter__(value)]
        if self._default is None:
            raise TypeError(f"a value of type {kind.__name__} is not JSON; make it one, or pass default")
        self._budget.enter(depth)
        return self.value(self._default(value), depth + 1)

    def _key(self, key: Any) -> str:
        kind = type(key)
        if kind is str:
            self._budget.string(len(key))
            return str(key)
        if key is None or kind in (bool, int, float):
            return json.dumps(self.value(key, 1))
        raise TypeError(f"a key of type {kind.__name__} is not JSON")


def loads(s: str | bytes) -> Any:
    """Return the value of a JSON text in str, or in bytes of UTF-8.

    Raises:
        JSONDecodeError: It is none; NaN and Infinity are not JSON.
    """
    text = s.decode("utf-8") if type(s) is bytes else text_of(s, "a JSON text")
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        problem = "the text is nested too deeply"
    except ValueError:
        problem = "the text holds a number that cannot be held"
    raise json.JSONDecodeError(problem, "", 0)


def _refuse(word: str) -> Any:
    raise json.JSONDecodeError(f"{word} is not JSON", "", 0)


JSON: dict[str, Any] = {"JSONDecodeError": json.JSONDecodeError, "dumps": dumps, "loads": loads}


# csv

MAX_WRITTEN_CHARACTERS = 8 * 1024 * 1024  # of a text; ten times what can leave a run
_CSV_OPTIONS = frozenset(words("delimiter quotechar escapechar doublequote skipinitialspace lineterminator quoting"))
_QUOTING = {name: getattr(_csv, name) for name in words("QUOTE_ALL QUOTE_MINIMAL QUOTE_NONE QUOTE_NONNUMERIC")}


def _options(given: dict[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if name not in _CSV_OPTIONS:
            raise TypeError(f"csv has no option {name!r} here")
        if type(value) not in (str, int, bool, type(None)):
            raise TypeError(f"the option {name} cannot be a value of type {type(value).__name__}")
    return {"strict": True} | given


def reader(source: str | Iterable[str], **options: Any) -> list[list[str]]:
    """Return the rows of a text, or of its lines, as lists of texts.

    Args:
        source: The whole text, or an iterable of lines.
        options: delimiter, quotechar, escapechar, doublequote, skipinitialspace, lineterminator, quoting.

    Raises:
        Error: It is no CSV.
    """
    if type(source) is str:
        lines: Iterable[str] = io.StringIO(source, newline="")
    else:
        lines = [text_of(line, "a line") for line in listed(source, "the lines")]
    return listed(_csv.reader(lines, **_options(options)), "the rows")


def dict_reader(
    source: str | Iterable[str],
    fieldnames: Iterable[str] | None = None,
    restkey: str | None = None,
    restval: Any = None,
    **options: Any,
) -> list[dict[Any, Any]]:
    """Return the rows as dicts by the names in ``fieldnames`` or, without them, in the first row.

    Values without a name are a list under ``restkey``; names without a value get ``restval``. Empty rows are left out.
    """
    rows = [row for row in reader(source, **options) if row]
    names = rows.pop(0) if fieldnames is None and rows else [] if fieldnames is None else list(fieldnames)
    made: list[dict[Any, Any]] = []
    for row in rows:
        item: dict[Any, Any] = dict(zip(names, row, strict=False))
        item |= dict.fromkeys(names[len(row) :], restval)
        if len(row) > len(names):
            item[restkey] = row[len(names) :]
        made.append(item)
    return made


class _Sink:
    """What a writer writes to: keeps the lines, up to ``MAX_WRITTEN_CHARACTERS``."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._characters = 0

    def write(self, line: str) -> None:
        self._characters += len(line)
        if self._characters > MAX_WRITTEN_CHARACTERS:
            raise ValueError(f"the text would have more than {MAX_WRITTEN_CHARACTERS} characters")
        self.lines.append(line)


def write_rows(rows: Iterable[Iterable[Any]], **options: Any) -> str:
    """Return the CSV text of ``rows``; None is empty, other values become what ``str`` says. Lines end with CR LF."""
    sink = _Sink()
    writer = _csv.writer(sink, **_options(options))
    for row in listed(rows, "the rows"):
        if isinstance(row, (str, bytes)):
            raise TypeError("a row must be a list, not a text")
        writer.writerow([_cell(value) for value in listed(row, "a row")])
    return "".join(sink.lines)


def write_dicts(rows: Iterable[Any], fieldnames: Iterable[str], restval: Any = "", **options: Any) -> str:
    """Return the CSV text of dicts, after a first row with ``fieldnames``.

    Raises:
        ValueError: A dict has a key that is no name.
    """
    names = listed(fieldnames, "the names")
    table: list[list[Any]] = [names]
    for row in listed(rows, "the rows"):
        if not isinstance(row, dict):
            raise TypeError("a row must be a dict")
        if [key for key in dict.keys(row) if key not in names]:
            raise ValueError("a row has a key that is not in fieldnames")
        table.append([dict.get(row, name, restval) for name in names])
    return write_rows(table, **options)


def _cell(value: Any) -> Any:
    return value if value is None or type(value) in (bool, int, float, str) else python_text.text(value)


CSV: dict[str, Any] = _QUOTING | {
    "DictReader": dict_reader,
    "Error": _csv.Error,
    "reader": reader,
    "write_dicts": write_dicts,
    "write_rows": write_rows,
}


# base64, textwrap

_OF_BASE64 = """a85decode a85encode b16decode b16encode b32decode b32encode b32hexdecode b32hexencode b64decode
    b64encode b85decode b85encode standard_b64decode standard_b64encode urlsafe_b64decode urlsafe_b64encode"""
BASE64: dict[str, Any] = {name: plain_only(getattr(base64, name)) for name in words(_OF_BASE64)}

MAX_WRAPPED_CHARACTERS = 256 * 1024  # of a text; wrapping takes about a microsecond for each
MAX_WIDTH = 100_000


def _wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` with its text, width and options bounded. Without this, they reach classes of the library."""

    def call(text: str, width: int = 70, **options: Any) -> Any:
        integer_of(options.get("tabsize", 8), "tabsize", 1, 100)
        return function(text_of(text, "the text"), width=integer_of(width, "width", 1, MAX_WIDTH), **options)

    return plain_only(call, MAX_WRAPPED_CHARACTERS)


def _indent(text: str, prefix: str, predicate: Callable[[str], Any] | None = None) -> str:
    if len(text_of(text, "the text")) > MAX_WRAPPED_CHARACTERS or len(text_of(prefix, "the prefix")) > 1000:
        raise ValueError("the text or its prefix is too long")
    return textwrap.indent(text, prefix, predicate)


TEXTWRAP: dict[str, Any] = {
    "dedent": plain_only(textwrap.dedent, MAX_WRAPPED_CHARACTERS),
    "fill": _wrapping(textwrap.fill),
    "indent": _indent,
    "shorten": _wrapping(textwrap.shorten),
    "wrap": _wrapping(textwrap.wrap),
}


# hashlib

HASHES: dict[str, Callable[[bytes], Any]] = {
    "md5": _md5.md5,
    "sha1": _sha1.sha1,
    "sha224": _sha2.sha224,
    "sha256": _sha2.sha256,
    "sha384": _sha512.sha384,
    "sha512": _sha512.sha512,
}


class Hash:
    """A hash object."""

    __slots__ = ("_inner", "name")

    def __init__(self, name: str, data: bytes = b"") -> None:
        if text_of(name, "the name of a hash") not in HASHES:
            raise ValueError(f"no hash of this name; there are {', '.join(HASHES)}")
        self.name = name
        self._inner = HASHES[name](_bytes_of(data))

    @property
    def digest_size(self) -> int:
        """Of the result, in bytes."""
        return int(self._inner.digest_size)

    @property
    def block_size(self) -> int:
        """In bytes."""
        return int(self._inner.block_size)

    def update(self, data: bytes) -> None:
        """Go on with ``data``."""
        self._inner.update(_bytes_of(data))

    def digest(self) -> bytes:
        """Return the hash of all data until now."""
        return bytes(self._inner.digest())

    def hexdigest(self) -> str:
        """Return it in hexadecimal digits."""
        return str(self._inner.hexdigest())

    def copy(self) -> Hash:
        """Return another one that knows the same data."""
        made = Hash(self.name)
        made._inner = self._inner.copy()
        return made


def _bytes_of(data: Any) -> bytes:
    if type(data) is not bytes:
        raise TypeError(f"a hash is made of bytes, not {type(data).__name__}; a str becomes bytes by encode()")
    return data


def _hash(name: str) -> Callable[..., Hash]:
    def make(data: bytes = b"", *, usedforsecurity: bool = True) -> Hash:
        del usedforsecurity  # says for what it is used; nothing is forbidden here
        return Hash(name, data)

    return make


def _new(name: str, data: bytes = b"", *, usedforsecurity: bool = True) -> Hash:
    del usedforsecurity
    return Hash(name, data)


HASHLIB: dict[str, Any] = {name: _hash(name) for name in HASHES} | {"new": _new}
