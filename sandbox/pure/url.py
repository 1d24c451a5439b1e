"""``url.*``: RFC 3986, strictly: what is not a URL as the standard writes it is refused, never repaired.

Two readers that repair a URL in different ways see two different hosts in it; here there is nothing to repair.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from typing import Any

from sandbox.pure.declared import Refused, boolean, bounded, either, mapping, pure, shown, text

MAX_CHARACTERS = 8192  # of a URL; RFC 9110, section 4.1, asks for 8000 to be supported
MAX_FIELDS = 1000  # of a query

_OTHER = re.compile(r"[^A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]|%(?![0-9A-Fa-f]{2})")  # sections 2.1 to 2.3
_SPLIT = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?")  # appendix B
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*", re.ASCII)
_BRACKETS = re.compile(r"(?:[^/?\[\]]*:)?//[^/?\[\]]*\[[^/?\[\]]*\][^\[\]]*")  # only around the host
_NAME = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%-]*", re.ASCII)  # reg-name of section 3.2.2
_USER = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%:-]*", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_PARTS = ("scheme", "user", "password", "host", "port", "path", "query", "fragment")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@pure("url.parse", text=text)
def parse(text: str) -> dict[str, Any]:
    """Return the parts, still encoded; scheme and host in lower case."""
    return _parse("text", text)


def _parse(parameter: str, given: str) -> dict[str, Any]:
    found = _SPLIT.fullmatch(_checked(parameter, given))
    scheme, authority, path, query, fragment = found.groups() if found else (None, None, given, None, None)
    made: dict[str, Any] = {
        "scheme": (scheme or "").lower(),
        "user": None,
        "password": None,
        "host": None,
        "port": None,
    }
    if not _SCHEME.fullmatch(scheme or "none") or (scheme is None and authority is None and ":" in path.split("/")[0]):
        raise Refused(
            parameter, "begins with something that is no scheme"
        )  # section 3.3: nor may it be a first segment
    if authority is not None:
        made |= _authority(parameter, authority)
    return made | {"path": path, "query": query or "", "fragment": fragment or ""}


def _checked(parameter: str, given: str) -> str:
    found = _OTHER.search(bounded(parameter, given, MAX_CHARACTERS))
    if found:
        raise Refused(parameter, f"character {found.start() + 1} is {found[0]!a}, which must be percent-encoded")
    rest, _, fragment = given.partition("#")
    if "#" in fragment or "[" in fragment or "]" in fragment:
        raise Refused(parameter, "has one of # [ ] in its fragment, where it must be percent-encoded")
    if ("[" in rest or "]" in rest) and not _BRACKETS.fullmatch(rest):
        raise Refused(parameter, "has one of [ ] where it must be percent-encoded")
    return given


def _authority(parameter: str, netloc: str) -> dict[str, Any]:
    """Section 3.2: ``[ userinfo "@" ] host [ ":" port ]``."""
    login, at, place = netloc.rpartition("@")
    if not _USER.fullmatch(login):
        raise Refused(parameter, "has a user that must be percent-encoded")
    user, colon, password = login.partition(":")
    host, port = _place(parameter, place)
    return {"user": user if at else None, "password": password if colon else None, "host": host, "port": port}


def _place(parameter: str, place: str) -> tuple[str, int | None]:
    if place.startswith("["):
        host, _, after = place[1:].partition("]")
        if after and not after.startswith(":"):
            raise Refused(parameter, f"{shown(after)} follows its address")
        port = after[1:]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise Refused(parameter, f"{shown(host)} is no IPv6 address") from None
    else:
        host, _, port = place.partition(":")
        if not _NAME.fullmatch(host):
            raise Refused(parameter, f"{shown(host)} is no host")
    return host.lower(), _port(parameter, port)


def _port(parameter: str, digits: str) -> int | None:
    if not digits:
        return None
    if not _PORT.fullmatch(digits) or int(digits) > 65535:
        raise Refused(parameter, f"{shown(digits)} is no port")
    return int(digits)


@pure("url.build", parts=mapping)
def build(parts: dict[str, Any]) -> str:
    """Return the URL of parts as ``parse`` gives them; what would be read as other parts is refused."""
    for name, value in parts.items():
        if name not in _PARTS:
            raise Refused("parts", f"there is no part {shown(name)} (known: {', '.join(_PARTS)})")
        if value is not None and type(value) is not (int if name == "port" else str):
            raise Refused("parts", f"{name} must be {'a whole number' if name == 'port' else 'text'}")
    given: dict[str, Any] = {name: value for name, value in parts.items() if value is not None}
    made = _joined(given)
    read = _parse("parts", made)
    for name in _PARTS:
        wanted = given.get(name, None if name in ("user", "password", "host", "port") else "")
        if name in ("scheme", "host") and wanted is not None:
            wanted = wanted.lower()
        if read[name] != wanted:
            raise Refused("parts", f"{name} {shown(str(wanted))} would not be read as such")
    return made


def _joined(given: dict[str, Any]) -> str:
    made = f"{given['scheme']}:" if given.get("scheme") else ""
    if "host" in given:
        host = f"[{given['host']}]" if ":" in given["host"] else given["host"]
        login = given.get("user", "")
        login += f":{given['password']}" if "password" in given else ""
        made += f"//{login}{'@' if 'user' in given else ''}{host}"
        made += f":{given['port']}" if "port" in given else ""
    made += given.get("path", "")
    made += f"?{given['query']}" if given.get("query") else ""
    made += f"#{given['fragment']}" if given.get("fragment") else ""
    return str(made)


@pure("url.join", base=text, reference=text)
def join(base: str, reference: str) -> str:
    """Return what ``reference`` means in a document at ``base`` (section 5.2)."""
    if not _parse("base", base)["scheme"]:
        raise Refused("base", "must have a scheme")
    _parse("reference", reference)
    return urllib.parse.urljoin(base, reference)


@pure("url.encode", data=either)
def encode(data: str | bytes) -> str:
    """Return text or bytes so that they can be one part of a path or one field of a query."""
    return urllib.parse.quote(data, safe="")


@pure("url.decode", text=text)
def decode(text: str) -> str | bytes:
    """Return what percent-encoding stands for; bytes, if they are no UTF-8."""
    return _decoded("text", text)


def _decoded(parameter: str, given: str) -> str | bytes:
    wrong = _BAD_ESCAPE.search(given)
    if wrong:
        raise Refused(parameter, f"character {wrong.start() + 1}: % must be followed by two hexadecimal digits")
    made = urllib.parse.unquote_to_bytes(given)
    try:
        return made.decode("utf-8")
    except UnicodeDecodeError:
        return made


@pure("url.encode_query", fields=mapping)
def encode_query(fields: dict[str, Any]) -> str:
    """Return a query of names, sorted, with a text, number or boolean each, or a list of them."""
    pairs = [(name, item) for name in sorted(fields) for item in _listed(fields[name])]
    if len(pairs) > MAX_FIELDS:
        raise Refused("fields", f"has more than {MAX_FIELDS} values", "too_large")
    return "&".join(f"{encode(name)}={encode(_field(name, item))}" for name, item in pairs)


def _listed(value: Any) -> list[Any]:
    return value if type(value) is list else [value]


def _field(name: str, value: Any) -> str | bytes:
    kind = type(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is float:
        return repr(value)
    if isinstance(value, str | bytes):
        return value
    raise Refused("fields", f"{shown(name)} must be text, a number or a boolean, or a list of them")


@pure("url.decode_query", text=text, plus=boolean)
def decode_query(text: str, plus: bool = True) -> dict[str, list[str | bytes]]:
    """Return name to list of values; ``+`` is a space as in forms, unless ``plus`` is false."""
    made: dict[str, list[str | bytes]] = {}
    pairs = [pair for pair in text.split("&", MAX_FIELDS) if pair]
    if len(pairs) > MAX_FIELDS:
        raise Refused("text", f"has more than {MAX_FIELDS} fields", "too_large")
    for pair in pairs:
        name, _, value = (pair.replace("+", " ") if plus else pair).partition("=")
        plain = _decoded("text", name)
        if type(plain) is not str:
            raise Refused("text", f"the name {shown(name)} is not UTF-8")
        made.setdefault(plain, []).append(_decoded("text", value))
    return made
