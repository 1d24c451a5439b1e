"""From what a script asks for to the addresses that may be connected to.

The order is fixed: the name is decided before it is looked up, it is looked up once, and every address that it was
found to have is decided; one that is denied denies the call. Nothing after this looks the name up again.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal, Protocol
from weakref import WeakKeyDictionary

from kernel.visits import Account, Visits, accounts
from policies.model import Facts
from policies.targets import NetTarget
from protocol.errors import ArgumentError, DeadlineError, NotFoundError, UnavailableError
from stdlib.host import Host

MAX_ADDRESSES: Final = 16  # of one name; what more there is, is not used
MAX_LOOKUPS: Final = 16  # at once; a resolver that hangs holds up other lookups and nothing else
MAX_LOOKUPS_OF_ONE: Final = 4  # at once, of one run, script, session or person: a name may be made so that it hangs

Family = Literal["any", "4", "6"]
_NO_SUCH_NAME: Final = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
FAMILIES: Final = {"any": socket.AF_UNSPEC, "4": socket.AF_INET, "6": socket.AF_INET6}


class Authority(Protocol):
    """Who decides; see ``stdlib.call_specs.Permit``."""

    async def settle(self, facts: Facts) -> None:
        """Return if the call is allowed on this, by the rules or by a person that they ask; else ``DeniedError``."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address that was decided on, as the system takes it."""

    target: NetTarget  # with its address
    family: int
    sockaddr: Any


@dataclass(slots=True)
class Timings:
    """How long each step took, in milliseconds; None for a step that was not taken."""

    clock: Callable[[], float]  # monotonic seconds
    told: dict[str, float | None] = field(
        default_factory=lambda: dict.fromkeys(("tt_resolve", "tt_connect", "tt_tls", "tt_firstbyte"))
    )

    def since(self, started: float) -> float:
        """Return the milliseconds since a reading of the clock."""
        return round((self.clock() - started) * 1000, 3)


def facts(target: NetTarget, *arguments: str) -> Facts:
    """Return what is decided on: the target, and the method of ``net.http``."""
    return Facts(target=target, arguments=arguments or None)


@asynccontextmanager
async def within(timeout_s: float, what: str) -> AsyncIterator[None]:
    """Bound all that happens inside.

    Raises:
        DeadlineError: It took longer than ``timeout_s`` seconds.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise DeadlineError(f"{what} did not finish in {timeout_s:g} s") from None


async def endpoints(
    host: Host,
    authority: Authority,
    asked: NetTarget,
    *arguments: str,
    family: Family = "any",
    timings: Timings | None = None,
) -> list[Endpoint]:
    """Return the decided addresses of ``asked``, in the order of the system's resolver; at least one.

    Raises:
        DeniedError: The name, or one of its addresses, is not allowed.
        NotFoundError: The name has no address of this family.
        UnavailableError: It cannot be looked up now.

    Cancellation:
        Safe. A lookup that has begun goes on unseen to its own end on a thread of its own.
    """
    await authority.settle(facts(asked, *arguments))
    timings = timings or Timings(host.monotonic)
    started = timings.clock()
    found = await look_up(host, asked, family)
    timings.told["tt_resolve"] = timings.since(started)
    for endpoint in found:
        await authority.settle(facts(endpoint.target, *arguments))
    return found


async def look_up(host: Host, asked: NetTarget, family: Family) -> list[Endpoint]:
    """Return the addresses of ``asked``, which nobody has decided on yet; see :func:`endpoints`."""
    flags = socket.AI_NUMERICHOST if asked.address is not None else 0

    def ask() -> list[Any]:
        return host.getaddrinfo(asked.host, asked.port or 0, FAMILIES[family], socket.SOCK_STREAM, 0, flags)

    try:
        answers = ask() if asked.address is not None else await _on_thread(ask)
    except (OSError, UnicodeError) as error:
        if asked.address is not None:
            raise ArgumentError(f"{asked.host} is no address of family {family}", parameter="family") from None
        if isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME:
            raise NotFoundError(f"{asked.host} has no such address") from None
        raise UnavailableError(f"{asked.host} cannot be looked up: {_told(error)}") from None
    found: dict[str | None, Endpoint] = {}
    for kind, *_, sockaddr in answers:
        if kind in (socket.AF_INET, socket.AF_INET6):
            target = asked.at(str(sockaddr[0]))
            found.setdefault(target.address, Endpoint(target, kind, sockaddr))
    if not found:
        raise NotFoundError(f"{asked.host} has no address")
    return list(found.values())[:MAX_ADDRESSES]


#: Threads of lookups alone: what waits for the host's files must not wait for names as well.
_lookups: Final = Visits(MAX_LOOKUPS, kept_threads=1)
#: What whoever has an account for visits may have of these threads.
_shares: Final[WeakKeyDictionary[Account, Account]] = WeakKeyDictionary()


def _on_thread(ask: Callable[[], list[Any]]) -> asyncio.Future[list[Any]]:
    """Return what will have the answers, from a thread on the account of whoever this task is for."""
    whose = accounts()
    for one in whose:
        _shares.setdefault(one, Account(one.name, MAX_LOOKUPS_OF_ONE))
    # With the accounts themselves, so that they last as long as what hangs on them, also when their run is over.
    return _lookups.begin(partial(_answers, ask, whose), tuple(_shares[one] for one in whose))


def _answers(ask: Callable[[], list[Any]], _whose: tuple[Account, ...]) -> list[Any]:
    return ask()


def _told(error: OSError | UnicodeError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "not a name"


def without_port(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint for protocols without ports."""
    return replace(endpoint, sockaddr=(endpoint.sockaddr[0], 0, *endpoint.sockaddr[2:]))
