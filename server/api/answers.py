"""The forms of answers, for the description of the API only: handlers build plain values and are not slowed by them.

Every answer of the tests of the API is held against these forms, so they say what is really sent.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")
Moment = str  # RFC 3339 in UTC
Envelope = dict[str, Any]


class Answer(BaseModel):
    """What all forms share: every field is named here, and all that are named are sent."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """An error (RFC 9457). Programs branch on ``code`` and ``reason``; ``detail`` is for people."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="`urn:outrider:problem:` and the code.")
    title: str
    status: int
    code: str
    detail: str
    request_id: str = Field(description="What the server's log calls this request.")
    reason: str = Field("", description="Why a signature, approval or token does not count.")
    parameter: str = ""
    rule: str = Field("", description="What decided a refusal.")
    budget: str = ""
    sequence: int = 0
    where: str = Field("", description="A place in a document or body.")
    errors: list[dict[str, str]] = Field([], description="Every wrong field.")


class Paged(Answer, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next: str | None = Field(description="The cursor of the next page, null on the last one.")


class Me(Answer):
    """Who asks."""

    principal: str
    roles: list[str]
    expires: Moment


class ServerNow(Answer):
    """The server itself."""

    version: str
    time: Moment


class Status(Answer):
    """The fleet in numbers."""

    server: ServerNow
    agents: int
    connected: int
    schedules: int
    reviews_open: int
    runs_under_way: int
    roster_version: int | None


class Agent(Answer):
    """A host."""

    id: str
    name: str
    hostname: str
    labels: dict[str, str]
    connected: bool
    last_seen: Moment | None
    created: Moment
    frozen: bool
    freeze_reason: str
    facts: dict[str, Any]
    schedules_version: int
    records: int
    key: str
    sealing_key: Envelope | None = Field(description="The host's own statement about it; null until it has told.")


class HostsSecret(Answer):
    """A secret on one host."""

    agent: str
    host: str
    version: int
    scripts: list[str] = Field(description="Names and namespaces of the scripts that may use it.")
    principal: str
    created: Moment


class Secret(Answer):
    """A secret: where it is and who may use it. Its value is not here."""

    name: str
    next_version: int
    hosts: list[HostsSecret]


class NextVersion(Answer):
    """The version that the next secret of a name must have."""

    version: int


class Invitation(Answer):
    """A join token, shown once."""

    id: str
    token: str
    expires: Moment
    name: str | None
    labels: dict[str, str]


class Published(Answer):
    """A version that is published now."""

    name: str
    version: str
    digest: str
    tier: str
    author: str
    review: str
    status: str


class Script(Answer):
    """A version, in brief."""

    name: str
    version: str
    digest: str
    tier: str
    author: str
    published: Moment
    status: str


class ShownParameter(Answer):
    """A parameter of a script."""

    type: str
    required: bool
    default: Any
    description: str


class ShownMetric(Answer):
    """A metric that a script promises."""

    name: str
    type: str
    unit: str


class ShownManifest(Answer):
    """What a manifest says."""

    language: str
    main: str
    tier: str
    limits: dict[str, float]
    needs: list[str]
    metrics: list[ShownMetric]
    parameters: dict[str, ShownParameter]


class ShownScript(Script):
    """A version in full."""

    versions: list[str]
    description: str
    manifest: ShownManifest
    files: dict[str, str]
    publication: Envelope
    approvals: list[Envelope]
    withdrawals: list[Envelope]


class Review(Answer):
    """A review, in brief."""

    id: str
    script: str
    version: str
    digest: str
    tier: str
    author: str
    state: Literal["open", "approved", "rejected"]
    created: Moment
    decided: Moment | None
    decided_by: str | None
    reason: str | None


class SinceApproved(Answer):
    """What the permissions gained since the version that was approved before."""

    previous: str | None = Field(description="That version; null if there is none that was not withdrawn.")
    gained: list[str] = Field(description="The first of them, such as `+ fs.write /etc/**`.")
    more: int = Field(description="How many more there are.")


class RiskInShort(Answer):
    """Calls that mean more together than each alone."""

    code: str
    short: str


class ListedReview(Review):
    """A review in a list. What is null was not read yet by this release; ask again, or show it."""

    since_approved: SinceApproved | None
    risks: list[RiskInShort] | None


class ShownRisk(RiskInShort):
    """The same with its reasons."""

    means: str
    calls: list[str]
    paths: list[str] = Field(description="Of the script, which make it so; none if it is bound to none.")


class Need(BaseModel):
    """A call that a script asks for."""

    model_config = ConfigDict(extra="forbid")

    call: str
    paths: list[str] = []
    commands: list[str] = []
    targets: list[str] = []
    names: list[str] = []


class InferredNeed(BaseModel):
    """A call that the code makes, and what it is given."""

    model_config = ConfigDict(extra="forbid")

    call: str
    paths: list[str] = []
    commands: list[str] = []
    targets: list[str] = []
    bounded: bool = Field(description="False: there may be others.")


class InferredCall(Answer):
    """A call that the code can make."""

    call: str
    tier: str
    places: list[str] = Field(description="Such as `main.lua:4`; the last one may say how many more there are.")


class PermissionChange(Answer):
    """One difference to the permissions of the version before; to none at all if there is none."""

    area: Literal["tier", "language", "needs", "calls", "commands", "limits", "requires", "parameters"]
    kind: Literal["added", "removed", "widened", "narrowed", "changed"]
    subject: str
    now: str
    before: str
    gain: bool = Field(description="Whether the script may do more, or other code comes in.")
    text: str


class ShownRequirement(Answer):
    """A library that a script pins."""

    name: str
    digest: str


class Event(Answer):
    """Something that happened to a script. What does not apply is null."""

    time: Moment
    what: Literal["published", "approved", "rejected", "withdrawn"]
    version: str
    by: str | None
    reason: str | None
    tier: str | None
    grant: dict[str, Any] | None = Field(description="What an approval narrows the script to.")
    expires: Moment | None


class ShownReview(Review):
    """All that a reviewer needs, but the code."""

    since_approved: SinceApproved
    previous: str | None
    changes: list[PermissionChange]
    more_changes: int
    risks: list[ShownRisk]
    inferred_tier: str
    inferred: list[InferredCall]
    inferred_needs: list[InferredNeed]
    calls: list[str]
    dynamic: list[str]
    unknown: list[str]
    wrong: list[str] = Field(description="Arguments that are certainly wrong.")
    needs: list[Need]
    requires: list[ShownRequirement]
    tests: list[str] = Field(description="Names of the manifest's tests.")
    tests_passed: bool | None = Field(description="Whether they passed when the author checked; null: not known.")
    manifest: ShownManifest
    history: list[Event] = Field(description="Newest first, at most 100.")


class CodePart(Answer):
    """A part of one file: of its text, or of its unified difference to the version before."""

    path: str
    change: Literal["whole", "added", "removed", "changed"]
    part: int
    text: str


Level = Literal["first", "metadata", "compatible", "breaking"]


class LoggedVersion(Answer):
    """A version in the log of its script, against the one that was published before it."""

    version: str
    digest: str
    published: Moment
    author: str
    tier: str
    status: str
    change: Level = Field(description="For whoever uses the script; by what the manifest promises.")
    since: SinceApproved = Field(description="Since the version that was published before, approved or not.")
    approvals: list[Event]


class TwoVersions(Answer):
    """What a version of a script may do that another one may not."""

    name: str
    before: str
    after: str
    change: Level
    changes: list[PermissionChange]
    more_changes: int
    risks: list[ShownRisk]


class Schedule(BaseModel):
    """What runs when on whom; exactly one of ``cron`` and ``every_s`` is there."""

    model_config = ConfigDict(extra="forbid")

    id: str
    name: str
    script: str
    digest: str
    version: str
    parameters: dict[str, Any]
    on: str
    cron: str = ""
    every_s: float = 0.0
    zone: str
    splay_s: float
    overlap: str
    catch_up: str
    timeout_s: float = 0.0
    enabled: bool
    principal: str
    created: Moment
    is_signed: bool


class Fires(Answer):
    """Fire times."""

    fires: list[Moment]


class Run(Answer):
    """One run of a script on one host."""

    id: str
    agent: str
    agent_id: str
    script: str
    version: str
    digest: str
    status: str
    reason: str | None
    code: str | None  # of the error that kept it from beginning
    principal: str
    purpose: str
    schedule: str | None
    fire_time: Moment | None
    created: Moment
    started: Moment | None
    finished: Moment | None
    result: Any
    output: Any
    truncated: Any
    metrics: Any
    state: Any
    status_text: Any
    rows: Any
    progress: Any
    usage: Any
    walls: Any


class Runs(Answer):
    """The runs that one request began."""

    runs: list[Run]


class Record(Answer):
    """A record, as its bytes say."""

    agent: str
    agent_id: str
    sequence: int
    hash: str
    previous: str
    time: Moment
    time_us: int
    mono_us: int
    session: str
    run: str
    principal: str
    kind: str
    call: str
    arguments: dict[str, Any]
    verdict: str
    rule: str
    outcome: str
    duration_us: int
    bytes: int
    data: dict[str, Any]


class ProvedLedger(Answer):
    """What proving one ledger found."""

    agent: str
    agent_id: str
    records: int
    head: str | None
    checkpoints: int
    error: str | None = Field(description="What is wrong and where; null if nothing is.")


class Proof(Answer):
    """What proving ledgers found."""

    ok: bool
    agents: list[ProvedLedger]


class Roster(Answer):
    """The newest roster."""

    version: int
    envelope: Envelope


class Token(Answer):
    """A token, without what would let anybody in."""

    id: str
    principal: str
    roles: list[str]
    created: Moment
    expires: Moment
    revoked: Moment | None


class NewToken(Answer):
    """A token, shown once."""

    id: str
    token: str
    principal: str
    roles: list[str]
    expires: Moment


class Alive(Answer):
    """The event loop turns."""

    alive: bool


class Ready(Answer):
    """Whether requests can be served, and what was looked at."""

    ready: bool
    checks: dict[str, str]
