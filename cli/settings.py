"""Which server, which token, which key: found from flags, environment, the configuration file, or a demo here.

The order: flags win over the environment (OUTRIDER_SERVER, OUTRIDER_TOKEN, OUTRIDER_KEY, OUTRIDER_CONTEXT), which
wins over the context chosen in ``$XDG_CONFIG_HOME/outrider/config.yaml``; with nothing of these, ``.demo/context.yaml``
of the working directory, or of the nearest one above it that has one, is used, if it is this user's own and on
loopback, so that a demo can be talked to at once.
A server never gets the token of another: one named by flag or environment comes with a token named the same way, or
none, and a demo found so is sent its own token only.
A file that holds tokens must not be readable by others; ``http`` is accepted on loopback only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from protocol.errors import ArgumentError, DocumentError, UnauthenticatedError
from protocol.loopback import is_loopback

if TYPE_CHECKING:
    from protocol.document import Reader

MAX_CONFIG_BYTES = 256 * 1024  # chosen without measurement; a context takes about 200 bytes
MAX_TOKEN_BYTES = 4096
DEMO_CONTEXT = Path(".demo") / "context.yaml"


@dataclass(frozen=True, slots=True)
class Context:
    """One server and how to speak to it."""

    server: str
    token: str | None = field(default=None, repr=False)
    key: Path | None = None  # private key that signs publications, approvals and orders
    origin: str = ""  # where it was found, for ``outrider status``
    is_demo: bool = False  # found in the working directory or above it, not chosen by anybody


@dataclass(frozen=True, slots=True)
class Contexts:
    """The configuration file: named contexts and the current one."""

    current: str | None = None
    contexts: Mapping[str, Context] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line said; None where it said nothing."""

    server: str | None = None
    token_file: str | None = None
    context: str | None = None
    key: str | None = None


def config_path(environment: Mapping[str, str] | None = None) -> Path:
    """Return the path of the configuration file, by the XDG base directory rules."""
    known = os.environ if environment is None else environment
    base = known.get("XDG_CONFIG_HOME") or str(Path(known.get("HOME") or Path.home()) / ".config")
    return Path(base) / "outrider" / "config.yaml"


def default_key_path(environment: Mapping[str, str] | None = None) -> Path:
    """Return where ``outrider key new`` puts a key unless told otherwise."""
    return config_path(environment).with_name("key")


def check_server(url: str, *, where: str | None = None) -> str:
    """Return the server's URL without a trailing slash.

    Raises:
        ArgumentError: Not an http(s) URL of a host, or plain http to another machine.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ArgumentError(f"{url!r} is not a server (example: https://outrider.example.net)", where=where)
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ArgumentError(f"{url!r}: a server on another machine needs https", where=where)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def read_private(path: Path, max_bytes: int) -> str:
    """Return the text of a file that holds a secret.

    Raises:
        ArgumentError: It cannot be read, is readable by others, is too long, or is not text.
    """
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise ArgumentError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if stat.S_ISREG(facts.st_mode) and facts.st_mode & 0o077:
        raise ArgumentError(f"holds a secret and is open to others (chmod 600 {path})", where=str(path))
    if len(data) > max_bytes:
        raise ArgumentError(f"is larger than {max_bytes} bytes", where=str(path))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ArgumentError("is not text in UTF-8", where=str(path)) from None


def write_private(path: Path, text: str) -> None:
    """Write a file that holds a secret: whole or not at all, mode 0600, its directory 0700 if it is made here."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read_token(source: str, stdin: Any = None) -> str:
    """Return the token in file ``source``; ``-`` reads ``stdin``.

    Raises:
        ArgumentError: There is none, or the file is open to others.
    """
    if source == "-":
        text = stdin.read(MAX_TOKEN_BYTES + 1) if stdin is not None else ""
    else:
        text = read_private(Path(source), MAX_TOKEN_BYTES)
    token = str(text).strip()
    if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii() or not token.isprintable():
        raise ArgumentError("holds no token", where="standard input" if source == "-" else source)
    return token


def load_contexts(path: Path) -> Contexts:
    """Return what the configuration file holds; nothing if there is none.

    Raises:
        DocumentError: It is wrong, at the place named.
        ArgumentError: It is open to others.
    """
    if not path.exists():
        return Contexts()
    from protocol.document import Reader, load  # loads the YAML library; only a command that has settings pays for it

    document = load(read_private(path, MAX_CONFIG_BYTES), str(path), max_bytes=MAX_CONFIG_BYTES)
    reader = Reader(document)
    current = reader.text("current", default=None)
    listed = reader.section("contexts")
    names = list(document.value.get("contexts") or {})
    contexts = {name: _context(listed.section(name), f"context {name} of {path}") for name in names}
    listed.finish()
    reader.finish()
    if current is not None and current not in contexts:
        raise DocumentError(f"there is no context {current!r}", where=document.where(("current",)))
    return Contexts(current, contexts)


def _context(reader: Reader, origin: str) -> Context:
    server = check_server(str(reader.text("server")), where=origin)
    token = reader.text("token", default=None)
    key = reader.text("key", default=None)
    reader.finish()
    return Context(server, token, Path(key) if key else None, origin)


def save_contexts(path: Path, contexts: Contexts) -> None:
    """Write the configuration file, mode 0600."""
    import yaml  # only a command that writes settings pays for it

    listed = {name: context_document(context) for name, context in contexts.contexts.items()}
    write_private(path, yaml.safe_dump({"current": contexts.current, "contexts": listed}, sort_keys=False))


def context_document(context: Context) -> dict[str, str]:
    """Return a context as it stands in a file."""
    given = {"server": context.server, "token": context.token, "key": str(context.key) if context.key else None}
    return {name: value for name, value in given.items() if value is not None}


def find_context(asked: Asked, environment: Mapping[str, str] | None = None, *, here: Path | None = None) -> Context:
    """Return the context to use now.

    Raises:
        UnauthenticatedError: No server is known.
        ArgumentError: What names it is wrong.
    """
    known = os.environ if environment is None else environment
    named = asked.server or (None if asked.context else known.get("OUTRIDER_SERVER"))
    if named:
        found = Context(check_server(named), origin="--server" if asked.server else "OUTRIDER_SERVER")
    else:
        found = _from_files(asked.context or known.get("OUTRIDER_CONTEXT"), known, here or Path())
    if asked.token_file:
        found = replace(found, token=read_token(asked.token_file))
    elif known.get("OUTRIDER_TOKEN") and not asked.context:
        if not found.is_demo:
            return replace(found, token=known["OUTRIDER_TOKEN"].strip())
        # Else whoever set it would take it for what they speak with, and be somebody who may do everything.
        found = replace(
            found, origin=f"{found.origin}, with its own token: OUTRIDER_TOKEN goes to OUTRIDER_SERVER alone"
        )
    return found


def find_key_path(asked: Asked, environment: Mapping[str, str] | None = None, *, here: Path | None = None) -> Path:
    """Return the file of the private key to sign with: flag, environment, context, or the default place."""
    known = os.environ if environment is None else environment
    if asked.key:
        return Path(asked.key)
    if known.get("OUTRIDER_KEY"):
        return Path(known["OUTRIDER_KEY"])
    try:
        key = find_context(asked, environment, here=here).key
    except UnauthenticatedError:  # signing needs no server; the default place may hold a key all the same
        key = None
    return key or default_key_path(environment)


def _from_files(name: str | None, environment: Mapping[str, str], here: Path) -> Context:
    path = config_path(environment)
    contexts = load_contexts(path)
    chosen = name or contexts.current
    if chosen is not None:
        if chosen not in contexts.contexts:
            known = ", ".join(contexts.contexts) or "none"
            raise ArgumentError(f"there is no context {chosen!r} in {path} (known: {known})")
        return contexts.contexts[chosen]
    return _from_demo(_nearest_demo(here.resolve()))


def _nearest_demo(here: Path) -> Path:
    """Return the file of a demo in a directory or the nearest one above it: only this user's own file, and no link.

    Raises:
        UnauthenticatedError: There is none.
    """
    for folder in (here, *here.parents):
        path = folder / DEMO_CONTEXT
        try:
            if path.is_file() and not path.is_symlink() and path.stat().st_uid == os.getuid():
                return path
        except OSError:  # a directory above that is closed to this user
            continue
    raise UnauthenticatedError("no server is known")


def _from_demo(path: Path) -> Context:
    """Return the context of a demo, which is only on loopback."""
    from protocol.document import Reader, load  # as in load_contexts

    document = load(read_private(path, MAX_CONFIG_BYTES), str(path), max_bytes=MAX_CONFIG_BYTES)
    context = _context(Reader(document), str(path))
    if not is_loopback(urlsplit(context.server).hostname or ""):
        raise ArgumentError(f"a demo runs on loopback, not on {context.server}", where=str(path))
    return replace(context, is_demo=True)
