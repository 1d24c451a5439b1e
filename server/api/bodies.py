"""The forms of request bodies: strict types, every field bounded, no unknown field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from protocol import limits as wire
from protocol import sealing
from server import limits
from server.services.editing import MAX_TEXT_CHARACTERS

Envelope = Annotated[dict[str, Any], Field(description="A DSSE envelope.")]
Name = Annotated[str, Field(min_length=1, max_length=wire.MAX_NAME_CHARACTERS)]
Reason = Annotated[str, Field(max_length=1000)]
Labels = Annotated[dict[str, str], Field(max_length=wire.MAX_LABELS)]
Target = Annotated[str, Field(min_length=1, max_length=wire.MAX_TARGET_CHARACTERS)]
Duration = Annotated[str, Field(max_length=20, description="Such as 30s, 5m, 1h.")]
Parameters = Annotated[dict[str, Any], Field(max_length=256)]
MAX_FIELDS = 64  # of a body; the largest form has under 20
MAX_NESTING = 64  # levels; protocol.limits.MAX_DEPTH of what is sent, which stands some levels deep in a body
MAX_ENTRIES = 1_000  # of a map in it; the largest, of sealed secrets, has limits.MAX_SEALED_AT_ONCE


class Body(BaseModel):
    """What all bodies share."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _holds_text(cls, value: Any) -> Any:
        """Refuse half a surrogate pair, wherever it stands: JSON can say one, and nothing can keep or send it.

        And more fields than any form has, or entries than any of its maps: each that is wrong would be an error of its
        own, made before anybody counts them.
        """
        if isinstance(value, dict):
            if len(value) > MAX_FIELDS:
                raise PydanticCustomError("too_long", "The body has more than {most} fields", {"most": MAX_FIELDS})
            large = next((key for key, item in value.items() if isinstance(item, dict) and len(item) > MAX_ENTRIES), "")
            if large:
                told = {"name": large[:40], "most": MAX_ENTRIES}
                raise PydanticCustomError("too_long", "{name} has more than {most} entries", told)
        if not _is_text(value):
            raise PydanticCustomError(
                "no_text", "{where} holds half a surrogate pair, which is no text", _no_text(value, "")
            )
        return value


def _is_text(value: Any) -> bool:
    """Tell whether all of a JSON value is text that UTF-8 stands for; :func:`_no_text` says where it is not.

    Raises:
        PydanticCustomError: It is nested deeper than anything that can be sent or kept.
    """
    level, depth = [value], 0
    while level:
        if depth > MAX_NESTING:
            raise PydanticCustomError("too_deep", "The body has more than {most} levels", {"most": MAX_NESTING})
        following: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if _has_surrogate(item):
                    return False
            elif isinstance(item, dict):
                if any(map(_has_surrogate, item)):
                    return False
                following += item.values()
            elif isinstance(item, list):
                following += item
        level, depth = following, depth + 1
    return True


def _no_text(value: Any, where: str) -> dict[str, Any] | None:
    """Return where in a JSON value there is something that no UTF-8 stands for; None if there is nothing."""
    if isinstance(value, str):
        return {"where": where or "it"} if _has_surrogate(value) else None
    if isinstance(value, dict):
        for name, item in value.items():
            if _has_surrogate(name):
                return {"where": f"a name in {where or 'the body'}"}
            wrong = _no_text(item, f"{where}.{name:.40}" if where else f"{name:.40}")
            if wrong is not None:
                return wrong
    elif isinstance(value, list):
        for number, item in enumerate(value):
            wrong = _no_text(item, f"{where}[{number}]")
            if wrong is not None:
                return wrong
    return None


def _has_surrogate(text: str) -> bool:
    if text.isascii():  # known without a look
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


class NewInvite(Body):
    """An invitation for one host."""

    name: Name | None = None
    labels: Labels = {}
    ttl_s: Annotated[float, Field(gt=0, le=limits.MAX_INVITE_TTL_S)] = limits.DEFAULT_INVITE_TTL_S


class AgentChange(Body):
    """A new name, new labels, or both."""

    name: Name | None = None
    labels: Labels | None = None


class Freeze(Body):
    """Stop a host, or let it go on."""

    frozen: bool
    reason: Reason = ""


class NewScript(Body):
    """A bundle and its author's publication."""

    publication: Envelope
    bundle: Annotated[str, Field(max_length=limits.MAX_BODY_BYTES, description="The packed bundle in base64.")]


class Statement(Body):
    """One signed statement: a withdrawal, a revocation or a roster."""

    envelope: Envelope


class Deprecation(Body):
    """Why people should not use a script any more, and what instead; ``undo`` takes it back."""

    name: Name
    version: Annotated[str, Field(max_length=64, description="All of them if it is null.")] | None = None
    reason: Annotated[str, Field(max_length=500)] = ""
    replacement: Annotated[str, Field(max_length=wire.MAX_NAME_CHARACTERS)] | None = None
    undo: bool = False


class NewApproval(Body):
    """A reviewer's approval."""

    approval: Envelope


class NewTrial(Body):
    """Try the version of a review on hosts: a dry run, by the caller's own signed order."""

    target: Target
    order: Annotated[dict[str, Any], Field(description="The order of a dry run of this version, in a DSSE envelope.")]
    parameters: Parameters = {}
    reason: Reason = ""
    wait_s: Annotated[float, Field(ge=0, le=limits.MAX_WAIT_S)] = 0.0
    timeout_s: Annotated[float, Field(gt=0, le=wire.MAX_TIMEOUT_S)] | None = None


class NewComment(Body):
    """Something to say about a version."""

    text: Annotated[str, Field(min_length=1, max_length=4000)]
    place: Annotated[str | None, Field(max_length=200, description="Such as main.lua:12.")] = None


class Rejection(Body):
    """Why a version is rejected."""

    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class NewSchedule(Body):
    """What runs when on whom; exactly one of cron, every and every_s."""

    script: Name
    on: Target
    version: Annotated[str, Field(max_length=64)] | None = None
    parameters: Parameters = {}
    cron: Annotated[str, Field(max_length=wire.MAX_CRON_CHARACTERS)] | None = None
    every: Duration | None = None
    every_s: float | None = None
    zone: Annotated[str, Field(max_length=wire.MAX_ZONE_CHARACTERS)] | None = None
    splay: Duration | None = None
    splay_s: float | None = None
    overlap: Annotated[str, Field(max_length=20)] | None = None
    catch_up: Annotated[str, Field(max_length=20)] | None = None
    timeout: Duration | None = None
    timeout_s: float | None = None
    order: Envelope | None = None


class NewSecret(Body):
    """One version of a secret, sealed for each host that gets it."""

    name: Name
    version: Annotated[int, Field(ge=1, le=wire.MAX_SEQUENCE)]
    scripts: Annotated[list[Name], Field(min_length=1, max_length=sealing.MAX_PATTERNS, description="Who may use it.")]
    sealed: Annotated[
        dict[str, Annotated[str, Field(max_length=2 * sealing.MAX_BOX_BYTES)]],
        Field(min_length=1, max_length=limits.MAX_SEALED_AT_ONCE, description="By id of the host, in base64."),
    ]


class ScheduleChange(Body):
    """Pause a schedule, or let it fire again."""

    enabled: bool


class NewRun(Body):
    """Run a script once on whoever is meant."""

    target: Target
    script: Name
    version: Annotated[str, Field(max_length=64)] | None = None
    parameters: Parameters = {}
    reason: Reason = ""
    wait_s: Annotated[float, Field(ge=0, le=limits.MAX_WAIT_S)] = 0.0
    timeout_s: Annotated[float, Field(gt=0, le=wire.MAX_TIMEOUT_S)] | None = None
    order: Envelope | None = None
    dry_run: Annotated[bool, Field(description="Decide and record what changes anything, and do not do it.")] = False
    when_back_s: (
        Annotated[
            float,
            Field(
                gt=0, le=limits.MAX_WHEN_BACK_S, description="For hosts that are away: run it there once they are back."
            ),
        ]
        | None
    ) = None


class NewSession(Body):
    """A session on one host."""

    agent: Target
    kind: Literal["terminal", "command", "files", "forward"]
    tier: Annotated[str, Field(max_length=20)]
    reason: Reason = ""
    grant: Annotated[dict[str, Any], Field(description="Narrows the tier, as an approval's grant does.")] = {}
    idle_s: Annotated[float, Field(gt=0, le=wire.MAX_TIMEOUT_S)] | None = None
    longest_s: Annotated[float, Field(gt=0, le=wire.MAX_TIMEOUT_S)] | None = None
    wait_s: Annotated[float, Field(ge=0, le=limits.MAX_WAIT_S, description="While the host's owner is asked.")] = (
        limits.MAX_WAIT_S
    )
    order: Envelope | None = None
    beside: Annotated[
        str | None,
        Field(max_length=100, description="A terminal on the same host in which you may type: put on its timeline."),
    ] = None


Kinds = Annotated[list[Literal["terminal", "command", "files", "forward"]], Field(min_length=1, max_length=4)]
Items = Annotated[list[Annotated[str, Field(min_length=1, max_length=4096)]], Field(max_length=64)]


class _Scope(Body):
    """What a grant is about, and what a request asks for."""

    kinds: Kinds
    tier: Annotated[str, Field(max_length=20)]
    target: Target
    users: Items = []
    paths: Items = []
    targets: Items = []
    reason: Reason = ""


class NewAccess(_Scope):
    """Who may open what on which hosts."""

    who: Annotated[str, Field(min_length=1, max_length=100)]
    ttl_s: Annotated[float, Field(gt=0, le=limits.MAX_TOKEN_TTL_S)] | None = None


class NewRequest(_Scope):
    """Access that somebody asks for."""

    ttl_s: Annotated[float, Field(ge=60, le=limits.MAX_INVITE_TTL_S)]
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class NewReview(Body):
    """What is decided about a request."""

    approved: bool
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class NewConsent(Body):
    """An answer to what a host's owner is asked."""

    granted: bool
    reason: Reason = ""


class NewCall(Body):
    """One call in a session. Bytes stand as ``{"$bytes": "<base64>"}``."""

    call: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[a-z0-9_.]+$")]
    arguments: Parameters = {}


class NewUpload(Body):
    """New content for a file, which comes in pieces."""

    path: Annotated[str | dict[str, str], Field(description='Absolute; or {"$bytes": "<base64>"}.')]
    mode: Annotated[str, Field(pattern=r"^0?[0-7]{3,4}$")] | None = None
    if_hash: Annotated[str, Field(max_length=80, description="sha256 of what must be there, or absent.")] | None = None


class Finish(Body):
    """What an upload must be to be put in its place."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class NewCommand(Body):
    """A program to run in a session. Below tier admin only ``argv`` and ``merge`` can be chosen."""

    argv: Annotated[list[Annotated[str, Field(max_length=32 << 10)]], Field(min_length=1, max_length=1000)]
    env: Annotated[dict[str, str], Field(max_length=256)] | None = None
    cwd: Annotated[str, Field(max_length=wire.MAX_PATH_BYTES)] | None = None
    user: Annotated[str, Field(max_length=64)] | None = None
    group: Annotated[str, Field(max_length=64)] | None = None
    merge: bool | None = None
    timeout_s: Annotated[float, Field(gt=0, le=wire.MAX_TIMEOUT_S)] | None = None
    stdin: Annotated[bool, Field(description="Whether something will be put to its stdin.")] = False


class NewSignal(Body):
    """A signal for a command."""

    signal: Annotated[str, Field(pattern=r"^[A-Z0-9]{2,10}$", description="Such as INT, without SIG.")]
    to_group: bool = False


class NowEditing(Body):
    """What somebody edits right now."""

    path: Annotated[str, Field(min_length=1, max_length=wire.MAX_PATH_BYTES)]
    text: Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS)] | None = None
    cursor: Annotated[list[int], Field(min_length=2, max_length=2, description="Line and column, from 1.")] | None = (
        None
    )


class Ending(Body):
    """Why a session is closed."""

    reason: Reason = ""


class NewGrant(Body):
    """Let somebody run scripts without the role for it."""

    who: Annotated[str, Field(min_length=1, max_length=100, description="A principal, @group or role:NAME.")]
    scripts: Name
    target: Target
    parameters: Annotated[
        dict[str, list[str] | None] | None,
        Field(max_length=64, description="Allowed values by name, null for any; null for any parameters at all."),
    ] = {}
    actions: Annotated[list[str], Field(min_length=1, max_length=2)] = ["run"]
    ttl_s: Annotated[float, Field(gt=0, le=limits.MAX_TOKEN_TTL_S)] | None = None
    reason: Reason = ""


class NewWebhook(Body):
    """Tell another system what happens to scripts."""

    url: Annotated[str, Field(min_length=1, max_length=2_000)]
    events: Annotated[list[Name], Field(max_length=32, description="All of them if it is empty.")] = []


class NewToken(Body):
    """A token for a principal."""

    principal: Annotated[str, Field(min_length=1, max_length=100)]
    roles: Annotated[list[str], Field(min_length=1, max_length=16)]
    ttl_s: Annotated[float, Field(gt=0, le=limits.MAX_TOKEN_TTL_S)] = limits.DEFAULT_TOKEN_TTL_S
