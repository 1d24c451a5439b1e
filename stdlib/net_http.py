"""``net.http`` and what is read over it: one request at a time, each hop of a redirect decided like the first."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from policies.targets import NetTarget
from protocol.errors import ArgumentError, UnavailableError
from protocol.tiers import Tier
from stdlib.call_specs import Decided, Permit
from stdlib.declaring import call
from stdlib.handles import Private
from stdlib.host import Host
from stdlib.net_probes import AuthorityText, Timeout, pattern_of
from stdlib.network.connection import Connection
from stdlib.network.http import Keep, Request, Response, check_headers, exchange
from stdlib.network.reach import Timings, endpoints, facts, within
from stdlib.network.readings import status_page
from stdlib.network.trust import secure
from stdlib.network.urls import Url
from stdlib.parameters import Bounds, Length
from stdlib.parameters import Url as UrlKind
from stdlib.searching import searched

if TYPE_CHECKING:
    from protocol.regex import Regex

MAX_BODY_BYTES: Final = 512 << 10  # of an answer; what fits into one frame with all around it
MAX_SENT_BYTES: Final = 512 << 10
MAX_REDIRECTS: Final = 10
MAX_PATTERNS: Final = 20  # for one body of at most 512 KiB
MAX_PAGE_BYTES: Final = 64 << 10  # of a status page

UrlText = Annotated[str, UrlKind()]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def requesting(_system: Host, arguments: Mapping[str, Any]) -> Decided:
    url = Url.parse(arguments["url"])
    method = arguments.get("method")
    return Decided((facts(NetTarget.of(url.host, url.port), *([method] if method else [])),))


@dataclass(frozen=True, slots=True)
class Answered:
    """What one hop came to."""

    response: Response | None  # None: who answers could not prove who it is
    ip: str | None
    cert: dict[str, Any] | None
    url: Url
    timings: dict[str, float | None]
    followed: int = 0  # redirects before it


@dataclass(frozen=True, slots=True)
class Hopper:
    """Makes one request after the other; each is decided anew."""

    system: Host
    permit: Permit
    ca: str
    max_body: int
    timeout_s: float
    is_method_decided: bool  # net.http is decided on it; other calls only read
    keep: Keep | None = None  # takes the body of the answer

    async def follow(self, request: Request, redirects: int) -> Answered:
        """Ask, and follow at most so many redirects; raises as ``redirected`` and what connecting raises."""
        for followed in range(redirects + 1):
            answered = await self.ask(request, Timings(self.system.monotonic))
            if answered.response is None or not answered.response.is_redirect or followed == redirects:
                break
            request = redirected(request, answered.response)
        return replace(answered, followed=followed)

    async def ask(self, request: Request, timings: Timings) -> Answered:
        """Make one request."""
        url = request.url
        words = (request.method,) if self.is_method_decided else ()
        found = await endpoints(self.system, self.permit, NetTarget.of(url.host, url.port), *words, timings=timings)
        if not url.is_secure:
            async with await Connection.open(found, timings, self.timeout_s) as plain:
                response = await exchange(plain, request, self.max_body, timings, self.keep)
            return Answered(response, plain.ip, None, url, timings.told)
        secured = await secure(
            found, url.host, ca=self.ca, protocols=("http/1.1",), timings=timings, timeout_s=self.timeout_s,
            now=self.system.clock(),
        )  # fmt: skip
        if secured.connection is None:
            return Answered(None, secured.ip, secured.cert, url, timings.told)
        async with secured.connection as connection:
            response = await exchange(connection, request, self.max_body, timings, self.keep)
        return Answered(response, secured.ip, secured.cert, url, timings.told)


@call(
    "net.http",
    tier=Tier.INSPECT,
    changes=True,
    decides=requesting,
    lua='local code = net.http("https://www.example.org/health").code',
    python='code = net.http("https://www.example.org/health")["code"]',
)
async def http(
    system: Host,
    permit: Permit,
    url: UrlText,
    method: Method = "GET",
    headers: dict[str, Private] = {},  # noqa: B006 - never changed; the catalogue needs the value itself
    body: Annotated[Private, Length(MAX_SENT_BYTES)] | None = None,
    redirects: Annotated[int, Bounds(0, MAX_REDIRECTS)] = 5,
    timeout: Timeout = 15.0,  # noqa: ASYNC109 - the name that scripts use
    max_body: Annotated[int, Bounds(0, MAX_BODY_BYTES, "bytes")] = 64 << 10,
    match: Annotated[list[str], Length(256), Bounds(0, MAX_PATTERNS)] = [],  # noqa: B006 - as above
    ca: AuthorityText = "",
    auth: dict[str, Private] = {},  # noqa: B006 - as above
) -> dict[str, Any]:
    """Make one HTTP/1.1 request and follow its redirects, each of which is decided like the first.

    ``code``, ``url`` (where the answer came from), ``redirects`` (how many were followed), ``headers`` (names in lower
    case), ``body`` (text if it is UTF-8, at most ``max_body`` bytes, as it came: nothing is decompressed), ``bytes``,
    ``truncated``, ``matches`` (for each RE2 pattern in ``match``, whether the body has it), ``ip``, ``cert`` (as
    ``net.tls_peer``), ``error``, ``duration``, and of the last request ``tt_resolve``, ``tt_connect``, ``tt_tls``,
    ``tt_firstbyte`` (all in milliseconds). If a server cannot prove who it is, nothing is sent to it: ``code`` is
    nothing and ``error`` says why.

    ``GET`` and ``HEAD`` are for tier ``inspect``, other methods for ``operate``. Another origin gets none of the
    ``headers`` and no ``auth``. Their values and the ``body`` can be secrets. ``auth`` is a map of ``user`` and
    ``password`` (Basic, RFC 7617) or of ``bearer`` (RFC 6750). No proxy is used. There is no way from https back to
    http.
    """
    place = Url.parse(url)
    patterns = [pattern_of(text, "match") for text in match or []]  # before anything is sent
    revealed = {name: _header(name, item, "headers") for name, item in headers.items()}
    if auth and any(name.lower() == "authorization" for name in revealed):
        raise ArgumentError("auth: headers has an authorization already", parameter="auth")
    revealed |= _authorization(auth)
    request = Request(method, place, check_headers(revealed), body.reveal() if body is not None else b"")
    hopper = Hopper(system, permit, ca, int(max_body), timeout, is_method_decided=True)
    started = system.monotonic()
    async with within(timeout, f"{method} {place.authority}"):
        answered = await hopper.follow(request, int(redirects))
    return {
        "url": str(answered.url), "redirects": answered.followed, **await _told(answered, patterns),
        **answered.timings, "duration": Timings(system.monotonic).since(started),
    }  # fmt: skip


def _header(name: str, item: Private, parameter: str) -> str:
    try:
        return item.reveal().decode("utf-8")
    except UnicodeDecodeError:
        raise ArgumentError(f"{parameter}: {name!r:.60} is not text in UTF-8", parameter=parameter) from None


def _authorization(auth: Mapping[str, Private]) -> dict[str, str]:
    """Return the header of an ``auth`` argument; none without one."""
    if not auth:
        return {}
    told = {name: _header(name, item, "auth") for name, item in auth.items()}
    if set(told) == {"bearer"} and told["bearer"]:
        return {"authorization": f"Bearer {told['bearer']}"}
    if set(told) != {"user", "password"}:
        raise ArgumentError("auth: must be user and password, or bearer", parameter="auth")
    if ":" in told["user"]:  # RFC 7617 section 2: what comes after it would belong to the password
        raise ArgumentError("auth: a user has no colon", parameter="auth")
    pair = base64.b64encode(f"{told['user']}:{told['password']}".encode()).decode("ascii")
    return {"authorization": f"Basic {pair}"}


def redirected(request: Request, response: Response) -> Request:
    """Return what to ask next.

    Raises:
        UnavailableError: The redirect leads nowhere that we would go.
    """
    try:
        url = request.url.join(response.headers["location"])
    except ArgumentError as error:
        raise UnavailableError(f"{request.url.authority} redirects badly: {error.message}"[:300]) from None
    if request.url.is_secure and not url.is_secure:
        raise UnavailableError(f"{request.url.authority} redirects from https to http")
    is_same = (url.scheme, url.host, url.port) == (request.url.scheme, request.url.host, request.url.port)
    headers = request.headers if is_same else ()
    keeps_method = response.code in (307, 308) or request.method in ("GET", "HEAD")  # RFC 9110 section 15.4
    if keeps_method and request.body and not is_same:  # it may hold a secret that is meant for the first
        raise UnavailableError(f"{request.url.authority} redirects what was sent to {url.authority}")
    if keeps_method:
        return replace(request, url=url, headers=headers)
    return Request("GET", url, tuple(item for item in headers if not item[0].lower().startswith("content-")))


async def _told(answered: Answered, patterns: Sequence[Regex]) -> dict[str, Any]:
    response, cert = answered.response, answered.cert
    if response is None:
        return {
            "code": None, "headers": {}, "body": None, "bytes": 0, "truncated": False, "matches": {}, "cert": cert,
            "ip": answered.ip, "error": cert and cert["error"],
        }  # fmt: skip
    found = await searched(patterns, response.body)
    matches = {pattern.pattern: match is not None for pattern, match in zip(patterns, found, strict=False)}
    try:
        body: str | bytes = response.body.decode("utf-8")
    except UnicodeDecodeError:
        body = response.body
    return {
        "code": response.code, "headers": dict(response.headers), "body": body, "bytes": len(response.body),
        "truncated": response.truncated, "matches": matches,
        "cert": cert, "ip": answered.ip, "error": None,
    }  # fmt: skip


@call(
    "net.http_status_page",
    tier=Tier.INSPECT,
    decides=requesting,
    lua='local busy = net.http_status_page("http://www.example.org/server-status?auto").busy_workers',
    python='busy = net.http_status_page("http://www.example.org/server-status?auto")["busy_workers"]',
)
async def http_status_page(
    system: Host,
    permit: Permit,
    url: UrlText,
    timeout: Timeout = 10.0,  # noqa: ASYNC109 - the name that scripts use
    ca: AuthorityText = "",
) -> dict[str, Any]:
    """Return what the status page of a web server says, and its ``server``: ``apache`` or ``nginx``.

    Apache (``server-status?auto``): ``total_accesses``, ``total_kbytes``, ``uptime`` (seconds),
    ``requests_per_second``, ``bytes_per_second``, ``bytes_per_request``, ``busy_workers``, ``idle_workers``,
    ``cpu_load`` (percent); of its workers ``waiting``, ``starting``, ``reading``, ``sending``, ``keepalive``, ``dns``,
    ``closing``, ``logging``, ``gracefully_finishing``, ``idle``, ``open``. What the page leaves out is nothing. nginx
    (``stub_status``): ``active``, ``accepts``, ``handled``, ``requests``, ``reading``, ``writing``, ``waiting``.
    """
    place = Url.parse(url)
    hopper = Hopper(system, permit, ca, MAX_PAGE_BYTES, timeout, is_method_decided=False)
    async with within(timeout, f"GET {place.authority}"):
        answered = await hopper.ask(Request("GET", place), Timings(system.monotonic))
    if answered.response is None:
        raise UnavailableError(f"{place.authority}: {answered.cert and answered.cert['error']}")
    if answered.response.code != 200 or answered.response.truncated:
        raise UnavailableError(f"{place.authority} answers {answered.response.code}, which is no status page")
    return status_page(answered.response.body.decode("utf-8", "replace"))
