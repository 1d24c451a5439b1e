"""``path.*``: what can be said of a path by reading it. Nothing is looked up, so links are not followed.

A path may be bytes that are no UTF-8, as which odd names reach scripts; what comes back is then bytes too.
"""

from __future__ import annotations

import posixpath
from typing import Any

from sandbox.pure.declared import Refused, either, listing, pure

Path = str | bytes


@pure("path.join", parts=listing)
def join(parts: list[Any]) -> Path:
    """Return the parts with one slash between them. Only the first may be absolute."""
    if not parts:
        raise Refused("parts", "is empty")
    pieces = []
    for number, part in enumerate(parts, 1):
        if type(part) is not str and type(part) is not bytes:
            raise Refused("parts", f"item {number} must be text or bytes, not {type(part).__name__}")
        piece = _read("parts", part)
        if number > 1 and piece.startswith("/"):
            raise Refused("parts", f"item {number} is absolute, and would replace those before it")
        pieces.append(piece)
    return _given(posixpath.join(*pieces))


@pure("path.name", path=either)
def name(path: Path) -> Path:
    """Return the last part."""
    return _given(posixpath.basename(_read("path", path).rstrip("/")))


@pure("path.parent", path=either)
def parent(path: Path) -> Path:
    """Return the path without its last part: ``.`` for a bare name, ``/`` for the root."""
    plain = _read("path", path)
    stripped = plain.rstrip("/") or plain[:1]
    return _given(posixpath.dirname(stripped) or ".")


@pure("path.stem", path=either)
def stem(path: Path) -> Path:
    """Return the last part without its suffix."""
    return _given(posixpath.splitext(posixpath.basename(_read("path", path).rstrip("/")))[0])


@pure("path.suffix", path=either)
def suffix(path: Path) -> Path:
    """Return the suffix with its dot, or an empty text; the dot of ``.profile`` begins none."""
    return _given(posixpath.splitext(posixpath.basename(_read("path", path).rstrip("/")))[1])


@pure("path.split", path=either)
def split(path: Path) -> list[Path]:
    """Return the parts; the first is ``/`` for an absolute path."""
    plain = _read("path", path)
    parts = [part for part in plain.split("/") if part]
    return [_given(part) for part in (["/", *parts] if plain.startswith("/") else parts)]


@pure("path.is_absolute", path=either)
def is_absolute(path: Path) -> bool:
    """Tell whether it begins with a slash."""
    return _read("path", path).startswith("/")


@pure("path.normalize", path=either)
def normalize(path: Path) -> Path:
    """Return it without ``.``, doubled slashes, and ``..`` as far as text can tell."""
    return _given(_normal(_read("path", path)))


@pure("path.relative", path=either, base=either)
def relative(path: Path, base: Path) -> Path:
    """Return the way from ``base`` to ``path``; both absolute or both not."""
    target, start = _normal(_read("path", path)), _normal(_read("base", base))
    if target.startswith("/") != start.startswith("/"):
        raise Refused("base", "and path must both be absolute, or both not")
    if not target.startswith("/"):
        if _leads_up(target) or _leads_up(start):
            raise Refused("base", "and path must not lead above where they begin")
        target, start = f"/{target}", f"/{start}"
    return _given(posixpath.relpath(target, start))


@pure("path.is_within", path=either, base=either)
def is_within(path: Path, base: Path) -> bool:
    """Tell whether ``path`` is ``base`` or lies below it, as far as text can tell."""
    inner, outer = _normal(_read("path", path)), _normal(_read("base", base))
    if inner == outer:
        return True
    if outer == ".":
        return not inner.startswith("/") and not _leads_up(inner)
    outer = outer.rstrip("/") + "/"
    return inner.startswith(outer) and not _leads_up(inner[len(outer) :])


def _leads_up(path: str) -> bool:
    return path == ".." or path.startswith("../")


def _normal(path: str) -> str:
    """Return it normal; POSIX leaves two slashes at the beginning to the system, for Linux they are one."""
    made = posixpath.normpath(path)
    return made[1:] if made.startswith("//") else made


def _read(parameter: str, path: Path) -> str:
    """Return a path as text, with bytes that are no UTF-8 as PEP 383 has them."""
    if not path:
        raise Refused(parameter, "is empty")
    plain = path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path
    if "\0" in plain:
        raise Refused(parameter, "holds a NUL, which no path can")
    return plain


def _given(path: str) -> Path:
    """Return text, or bytes where it holds some that are no UTF-8."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogateescape")
    return path
