"""Where webhooks may go: by https, and to nothing that is guarded unless the server's configuration names it.

The form of an address, and what its name stands for anywhere, is looked at when a webhook is made and at each attempt.
So are the addresses that the name has: when it is made only so that nobody makes one that every attempt would refuse,
and what cannot be looked up then is let be. What decides is each attempt.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from policies.targets import LOOPBACK, NetTarget, TargetPattern
from protocol.errors import ArgumentError, UnavailableError

MAX_URL_CHARACTERS: Final = 2_000
LOOK_UP_S: Final = 3.0  # for the addresses of a name when a webhook is made; who makes it waits
#: RFC 6761 and 7686: names that the system's resolver never finds an address for.
NOWHERE: Final = ("invalid", "onion")
_EXAMPLE: Final = "a webhook goes to an address such as https://chat.example.org/hooks/7"


def check_url(url: str, allowed: Sequence[TargetPattern]) -> tuple[NetTarget, bool]:
    """Return where an address leads, and whether by TLS.

    Args:
        url: The address.
        allowed: Targets that the server's configuration names; only to them without TLS, or to what is guarded.

    Raises:
        ArgumentError: It is none, or would not be allowed whatever its name stands for.
    """
    parts, port = _parts(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise _wrong("a webhook goes to an https:// address")
    if parts.username is not None or parts.fragment:
        raise _wrong("the address of a webhook holds no user and no fragment")
    try:
        target = NetTarget.of(parts.hostname, port)
    except ArgumentError as error:
        raise _wrong(error.message) from None
    is_tls = parts.scheme == "https"
    if not is_tls and not any(pattern.allows(target) for pattern in allowed):
        raise _wrong(
            f"a webhook goes to an https:// address; without TLS to {parts.hostname} only if webhook_targets of the"
            " server's config.yaml names it"
        )
    require_allowed(target, allowed)
    _check_name(target, allowed)
    return target, is_tls


def _parts(url: str) -> tuple[SplitResult, int]:
    if len(url) > MAX_URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        raise _wrong(_EXAMPLE)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _wrong(_EXAMPLE) from None
    if port == 0:
        raise _wrong("nothing can be reached at port 0")
    return parts, port or (443 if parts.scheme == "https" else 80)


def _check_name(target: NetTarget, allowed: Sequence[TargetPattern]) -> None:
    """Return if a name can stand for what is allowed: some stand for the same everywhere, or for nothing."""
    last = target.host.rpartition(".")[2]
    if last in NOWHERE:
        raise _wrong(f"{target.host} has no address anywhere: no resolver looks up names below .{last}")
    if last != "localhost":
        return
    here = (target.at("127.0.0.1"), target.at("::1"))  # RFC 6761 section 6.3
    if not any(pattern.allows(each) for pattern in allowed for each in here):
        raise _guarded(target, LOOPBACK)


async def check_now(url: str, allowed: Sequence[TargetPattern]) -> None:
    """Return if a webhook can be made for an address: also what its name stands for now is allowed.

    Raises:
        ArgumentError: It is not, or as :func:`check_url`.
    """
    target, _ = check_url(url, allowed)
    try:
        async with asyncio.timeout(LOOK_UP_S):
            found = await addresses(target)
    except (TimeoutError, OSError, UnavailableError):  # it may have one by the time that there is something to tell
        return
    for address in found:
        require_allowed(target.at(address), allowed)


async def addresses(target: NetTarget) -> list[str]:
    """Return the addresses that a target's host has now, one or more.

    Raises:
        OSError: They cannot be looked up, or there is no such name.
        UnavailableError: It has none.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    if not found:
        raise UnavailableError(f"{target.host} has no address")
    return [str(each[4][0]) for each in found]


def require_allowed(target: NetTarget, allowed: Sequence[TargetPattern]) -> None:
    """Return if a webhook may go to a target; asked again with each address that a name was found to have.

    Raises:
        ArgumentError: It is guarded, and the configuration does not name it.
    """
    if target.guarded and not any(pattern.allows(target) for pattern in allowed):
        raise _guarded(target, target.guarded)


def without_path(url: str) -> str:
    """Return where an address leads, without what stands behind its host: for many receivers that is the secret."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "?"
    place = f"[{host}]" if ":" in host else host
    is_more = parts.path not in ("", "/") or parts.query or parts.fragment
    return f"{parts.scheme}://{place}{'' if port is None else f':{port}'}/{'...' if is_more else ''}"


def _guarded(target: NetTarget, what: str) -> ArgumentError:
    return _wrong(f"{target} is {what}, which webhook_targets of the configuration must name")


def _wrong(message: str) -> ArgumentError:
    return ArgumentError(message, parameter="url")
