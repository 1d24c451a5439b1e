"""Sessions on hosts as commands use them: opened for one purpose at one tier, closed at the end.

The order is signed with the operator's own key if he has one that the roster lets order sessions of that tier; without
one the host decides whether it takes the server's word. Whether a reason is needed, the server says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from cli.invocation import Invocation
from cli.values import segment
from cli.wire import decoded, encoded, messages
from policies.users import check_account, is_number
from protocol.errors import (
    ArgumentError,
    ConflictError,
    DeniedError,
    NotFoundError,
    OutriderError,
    UnavailableError,
)
from protocol.tiers import Tier

if TYPE_CHECKING:
    from protocol.signing import Signer

MESSAGES = "application/vnd.outrider.stream"
OVER = frozenset({"ended", "killed", "lost", "refused"})
LONGEST_CALL_S = 3600.0  # without a word; the session's own end is sooner
SILENT_S = 60.0  # without a word, not even an empty line (server.api.held.BEAT_S), after which a server is gone


class RemoteSession:
    """One session, open or to be opened again. Use :func:`opened`.

    Args:
        invocation: Whose it is.
        agent: Name or id of the host.
        kind: terminal, command, files or forward.
        tier: Of what is done in it.
        reason: Why; may be empty where the server asks for none.
        grant: What it narrows itself to, and names.
        longest_s: Seconds that it may be open; the host may say less.
        idle_s: Seconds without use that end it; the host may say less.
        beside: A terminal on whose timeline it is to be.
    """

    def __init__(
        self, invocation: Invocation, agent: str, kind: str, tier: Tier, reason: str,
        grant: Mapping[str, Any] | None = None, *, longest_s: float | None = None, idle_s: float | None = None,
        beside: str | None = None,
    ) -> None:  # fmt: skip
        self.api = invocation.api
        self.agent = agent
        self.kind = kind
        self.tier = tier
        self.reason = reason
        self.grant = dict(grant or {})
        self.about: dict[str, Any] = {}  # as the server shows it, once it is open
        self._invocation = invocation
        self._more = {
            name: each
            for name, each in (("longest_s", longest_s), ("idle_s", idle_s), ("beside", beside))
            if each is not None
        }

    @property
    def id(self) -> str:
        """As the server gave it."""
        return str(self.about["id"])

    def open(self) -> None:
        """Open it, or one like it if it is over; the owner of the host may have to be asked.

        Raises:
            click.UsageError: The server wants a reason.
            DeniedError: The owner of the host said no.
            OutriderError: Server or host refuses.
        """
        body = {
            "agent": self.agent, "kind": self.kind, "tier": self.tier.label, "reason": self.reason,
            "grant": self.grant, **self._more,
        }  # fmt: skip
        order = self._order()
        try:
            answer = self.api.post_and_follow("sessions", body if order is None else {**body, "order": order}, SILENT_S)
            with closing(answer) as told:  # as long as it is open, somebody waits: the server ends it with us
                self._follow(told)
        except ArgumentError as error:
            if error.parameter != "reason":
                raise
            text = f"A session at tier {self.tier.label} needs a reason: say why with --reason TEXT."
            raise click.UsageError(text) from None

    def _follow(self, told: Iterator[dict[str, Any]]) -> None:
        """Take the session from what the server tells of it, until it is open.

        Raises:
            DeniedError: The owner of the host said no.
            UnavailableError: The server told nothing, or not what became of it.
        """
        say = self._invocation.output.say
        self.about = dict(next(told, {}))
        if self.about.get("status") == "asking":
            say(f"{self.about['agent']} asks its owner ...")
            self.about = next((dict(each) for each in told), {})
            for _ in told:  # to its end: whoever leaves before that was not told
                pass
        elif self.about:
            return
        if not self.about:
            raise UnavailableError("the server ended before it told what became of the session")
        if self.about["status"] != "open":
            why = self.about.get("reason") or f"the session is {self.about['status']}"
            raise DeniedError(str(why), rule="consent")
        say(f"granted by {self.about['consented']}" if self.about.get("consented") else "granted")

    def is_open(self) -> bool:
        """Tell whether the server holds it for open."""
        return self.api.get(f"sessions/{self.id}").get("status") not in OVER

    def close(self, reason: str = "") -> None:
        """Close it."""
        self.api.post(f"sessions/{self.id}/close", {"reason": reason})

    def call(self, name: str, **arguments: Any) -> Any:
        """Make one call; what is None is left out. Names that are not UTF-8 come back as ``os.fsdecode`` has them."""
        given = {key: encoded(value) for key, value in arguments.items() if value is not None}
        return decoded(self.api.post(f"sessions/{self.id}/calls", {"call": name, "arguments": given})["value"])

    def long_call(self, name: str, **arguments: Any) -> Any:
        """Make one call that may take its time, and return its value; raises as :meth:`call`."""
        given = {key: encoded(value) for key, value in arguments.items() if value is not None}
        body = {"call": name, "arguments": given}
        with self.messages("POST", "stream", body=body, silent_s=LONGEST_CALL_S) as coming:
            for message in coming:
                if message[0] == "value":
                    return decoded(message[1])
        raise UnavailableError(f"{name} gave nothing")

    def stream(self, name: str, **arguments: Any) -> Iterator[Any]:
        """Yield the items of a call whose result streams; the last one yielded is the summary.

        Raises:
            OutriderError: What the call came to.
        """
        given = {key: encoded(value) for key, value in arguments.items() if value is not None}
        with self.messages("POST", "stream", body={"call": name, "arguments": given}) as coming:
            for message in coming:
                match message:
                    case ["items", list() as items]:
                        yield from items
                    case ["bytes", data]:
                        yield data
                    case ["value" | "end", last]:
                        yield last

    @contextmanager
    def messages(
        self, method: str, where: str, *, body: Mapping[str, Any] | None = None, query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None, silent_s: float | None = 90.0, in_parts: bool = False,
    ) -> Iterator[Iterator[Any]]:  # fmt: skip
        """Ask for something of the session that answers with messages; one that is an error is raised.

        With ``in_parts`` one that is a word and many bytes is yielded as several, as they come.
        """
        asked = {"Accept": MESSAGES, **(headers or {})}
        with self.api.streamed(method, self.path(where, query), body=body, headers=asked, silent_s=silent_s) as read:
            yield messages(read.read, read.part if in_parts else None)

    def path(self, where: str, query: Mapping[str, Any] | None = None) -> str:
        """Return the path of something below the session; values of the query may hold any bytes of a name."""
        given = {name: str(value) for name, value in (query or {}).items() if value is not None}
        text = urlencode(given, errors="surrogateescape", quote_via=quote)
        return f"/api/v1/sessions/{segment(self.id)}/{where}{f'?{text}' if text else ''}"

    def _order(self) -> dict[str, Any] | None:
        key = self._key()
        if key is None:
            return None
        from cli.orders import session_order

        agent = self.api.get(f"agents/{segment(self.agent)}")
        return session_order(key, self.kind, [str(agent["id"])], self.tier.label, self.grant, self.reason)

    def _key(self) -> Signer | None:
        """Return the operator's key, if there is one and the roster lets it order this.

        A key that was named on the command line is used whatever the roster says, so that its refusal tells why.
        """
        path = self._invocation.key_path
        if self._invocation.asked.key:
            return self._invocation.signing_key()
        if not path.exists() and not str(path).startswith("agent:"):
            return None
        key = self._invocation.signing_key()
        from cli.statements import read_roster

        try:
            roster = read_roster(self.api.get("roster"))
        except (NotFoundError, ConflictError):  # there is none yet
            roster = None
        may = roster is not None and key.public.key_id in roster.operators(self.tier, datetime.now(UTC))
        return key if may else None


@contextmanager
def opened(
    invocation: Invocation, agent: str, kind: str, tier: Tier, reason: str, grant: Mapping[str, Any] | None = None,
    *, longest_s: float | None = None, beside: str | None = None,
) -> Iterator[RemoteSession]:  # fmt: skip
    """Yield an open session, and close it in any case."""
    session = RemoteSession(invocation, agent, kind, tier, reason, grant, longest_s=longest_s, beside=beside)
    session.open()
    try:
        yield session
    finally:
        with suppress(OutriderError):  # a host that is away closes it by itself; what failed before is what matters
            session.close()


def as_user(user: str, call: str = "*") -> dict[str, Any]:
    """Return the grant of a session in which ``call`` is made as this user of the host and as nobody else.

    It is in the order that an operator signs, so that no server makes it somebody else. A number is not bound by it, as
    only the host knows whose it is; nor is the agent's own user, which an empty text means.

    Raises:
        ArgumentError: Nobody can be called that.
    """
    rule: dict[str, Any] = {"call": call}
    if user:
        check_account(user, parameter="--user")
        rule |= {} if is_number(user) else {"users": [user]}
    return {} if rule == {"call": "*"} else {"allow": [rule]}


def ask_reason(invocation: Invocation, tier: Tier, reason: str) -> str:
    """Return the reason, asked for if a person is there and the tier is one that usually needs it."""
    if reason or tier < Tier.OPERATE or not invocation.may_ask:
        return reason
    return str(click.prompt("Reason (it is on the record)", err=True, default="", show_default=False))
