"""The tables, in SQLAlchemy Core. Times are microseconds since 1970 UTC; JSON columns hold plain values.

``records`` keeps the exact bytes that were hashed; its other columns are derived from them and only there to search by.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", Text, nullable=False))

tokens = Table(
    "tokens",
    metadata,
    Column("id", String, primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),  # SHA-256 of the whole token
    Column("principal", String, nullable=False),
    Column("roles", JSON, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("revoked_us", BigInteger),
)

agents = Table(
    "agents",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("public_key", String, nullable=False, unique=True),
    Column("hostname", String, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("last_seen_us", BigInteger),
    Column("schedules_version", BigInteger, nullable=False),  # that the agent last said it has
    Column("frozen", Boolean, nullable=False),
    Column("freeze_reason", Text, nullable=False),
    Column("removed_us", BigInteger),
    Column("last_sequence", BigInteger, nullable=False),  # newest record held
    Column("last_hash", LargeBinary, nullable=False),
    Column("sealing_key", Text),  # the agent's own statement about it; None until it has told
    Column("approvals_through", BigInteger, nullable=False, server_default="0"),  # newest approval that it has heard of
)

invites = Table(
    "invites",
    metadata,
    Column("id", String, primary_key=True),  # token id
    Column("secret_digest", LargeBinary, nullable=False),
    Column("name", String),
    Column("labels", JSON, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("used_us", BigInteger),
    Column("used_by", String),  # agent id
)

rosters = Table(
    "rosters",
    metadata,
    Column("version", BigInteger, primary_key=True),
    Column("envelope", Text, nullable=False),
    Column("stored_us", BigInteger, nullable=False),
)

scripts = Table(
    "scripts",
    metadata,
    Column("digest", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("version", String, nullable=False),
    Column("tier", String, nullable=False),
    Column("author", String, nullable=False),  # name in the roster
    Column("publication", Text, nullable=False),
    Column("commit", String, nullable=False),
    Column("published_us", BigInteger, nullable=False),
    Column("rank", String, nullable=False, server_default=""),  # protocol.versions.Version.rank; empty: not read yet
    Column("visibility", String, nullable=False, server_default="private"),  # as its manifest says
    Column("published_by", String, nullable=False, server_default=""),  # principal of the token
    Column("owners", JSON, nullable=False, server_default="[]"),  # names in the roster, when it was published
    Column("level", String, nullable=False, server_default=""),  # policies.levels, against the version before it
    UniqueConstraint("name", "version"),
)

names = Table(
    "names",
    metadata,
    Column("name", String, primary_key=True),  # of a script; what follows is of its newest version
    Column("folder", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("rank", String, nullable=False),
    Column("visibility", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("language", String, nullable=False),
    Column("description", Text, nullable=False),
    Column("licence", String, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("links", JSON, nullable=False),
    Column("search", Text, nullable=False),  # name, description and tags in lower case
    Column("owners", Text, nullable=False),  # names in the roster, each with a newline before and behind it
    Column("owned_since_us", BigInteger, nullable=False),  # issue of the transfer that made them owners; 0 if none
    Index("names_of_folder", "folder", "name"),
    Index("names_to_search", "name", "search"),  # all that a search looks at
)

deprecations = Table(
    "deprecations",
    metadata,
    Column("name", String, primary_key=True),
    Column("version", String, primary_key=True),  # empty: all of them
    Column("reason", Text, nullable=False),
    Column("replacement", String, nullable=False),  # the name of another script; may be empty
    Column("principal", String, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

grants = Table(
    "grants",
    metadata,
    Column("id", String, primary_key=True),
    Column("who", String, nullable=False),  # a principal, @group or role:NAME
    Column("scripts", String, nullable=False),  # a pattern of names
    Column("target", String, nullable=False),
    Column("parameters", JSON),  # name -> allowed texts, or null for any; null at all: any
    Column("actions", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    Column("principal", String, nullable=False),  # who gave it
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String, primary_key=True),
    Column("url", Text, nullable=False),
    Column("events", JSON, nullable=False),
    Column("secret", String, nullable=False),
    Column("secret_before", String),  # signs, too, for a while after a rotation
    Column("rotated_us", BigInteger),
    Column("principal", String, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("position", Integer, primary_key=True),
    Column("webhook", String, nullable=False),
    Column("message", String, nullable=False),  # the same for every attempt
    Column("event", String, nullable=False),
    Column("body", Text, nullable=False),  # exactly what is signed
    Column("created_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_us", BigInteger),  # when it is tried next; None: taken, or given up
    Column("status", Integer),  # of the last answer
    Column("error", Text),
    Column("tried_us", BigInteger),
    Index("deliveries_due", "next_us"),
    Index("deliveries_of_webhook", "webhook", "position"),
    Index("deliveries_by_message", "message"),
)

access_grants = Table(
    "access_grants",
    metadata,
    Column("id", String, primary_key=True),
    Column("who", String, nullable=False),  # a principal, @group or role:NAME
    Column("scope", JSON, nullable=False),  # as services.access_rules.Scope
    Column("reason", Text, nullable=False),
    Column("principal", String, nullable=False),  # who gave it
    Column("request", String),  # that it came of
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
    Column("revoked_by", String),
)

access_requests = Table(
    "access_requests",
    metadata,
    Column("id", String, primary_key=True),
    Column("principal", String, nullable=False),  # who asks
    Column("scope", JSON, nullable=False),
    Column("ttl_s", Float, nullable=False),  # that the grant would last
    Column("reason", Text, nullable=False),
    Column("state", String, nullable=False),  # open, approved, denied
    Column("created_us", BigInteger, nullable=False),
    Column("decided_us", BigInteger),
    Column("decided_by", String),
    Column("decision", Text),  # why
    Column("grant", String),  # what came of it
)

transfers = Table(
    "transfers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False, index=True),
    Column("envelope", Text, nullable=False),  # the owner's statement
    Column("stored_us", BigInteger, nullable=False),
)

reviews = Table(
    "reviews",
    metadata,
    Column("id", String, primary_key=True),
    Column("digest", String, nullable=False, unique=True),
    Column("state", String, nullable=False),  # open | approved | rejected
    Column("created_us", BigInteger, nullable=False),
    Column("decided_us", BigInteger),
    Column("decided_by", String),
    Column("reason", Text),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String, nullable=False, index=True),
    Column("reviewer", String, nullable=False),
    Column("envelope", Text, nullable=False),
    Column("stored_us", BigInteger, nullable=False),
)

withdrawals = Table(
    "withdrawals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String, nullable=False, index=True),
    Column("envelope", Text, nullable=False),
    Column("stored_us", BigInteger, nullable=False),
)

revocations = Table(
    "revocations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String, nullable=False, index=True),
    Column("reviewer", String, nullable=False),
    Column("envelope", Text, nullable=False),
    Column("stored_us", BigInteger, nullable=False),
)

review_comments = Table(
    "review_comments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("review", String, nullable=False, index=True),
    Column("principal", String, nullable=False),
    Column("place", String),  # such as main.lua:12; None: the whole version
    Column("text", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

trials = Table(
    "trials",
    metadata,
    Column("run", String, primary_key=True),
    Column("review", String, nullable=False, index=True),
)

insights = Table(
    "insights",
    metadata,
    Column("digest", String, primary_key=True),
    Column("made_by", String, nullable=False),  # which analysis and which calls; another one reads it anew
    Column("found", JSON, nullable=False),  # as server.services.insights.read
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", String, primary_key=True),
    Column("target", String, nullable=False),
    Column("spec", JSON, nullable=False),  # as protocol.schedules.ScheduleSpec.to_wire
    Column("version", String, nullable=False),  # of the script
    Column("order", Text),  # the operator's envelope
    Column("principal", String, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("permit", String),  # the grant under which it was made; None if a role allowed it
)

runs = Table(
    "runs",
    metadata,
    Column("position", Integer, primary_key=True),  # newest last; what pages go by
    Column("id", String, nullable=False, unique=True),
    Column("agent", String, nullable=False),
    Column("script", String, nullable=False),
    Column("version", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("status", String, nullable=False),
    Column("reason", Text),
    Column("principal", String, nullable=False),
    Column("purpose", Text, nullable=False),  # why it was asked for
    Column("schedule", String),
    Column("fire_us", BigInteger),
    Column("created_us", BigInteger, nullable=False),
    Column("started_us", BigInteger),
    Column("finished_us", BigInteger),
    Column("ending", JSON),  # data of the record run.end
    Column("waits_until_us", BigInteger),  # for its host to be back; None if it does not wait
    Column("ordered", Boolean),  # by this server; None of what an agent alone tells of, by schedule or not
    Index("runs_of_agent", "agent", "position"),
    Index("runs_by_status", "status", "position"),
    Index("runs_of_schedule", "schedule", "position"),
    Index(
        "runs_ordered",
        "agent",
        "digest",
        sqlite_where=text("ordered = 1 AND status IN ('queued', 'running', 'lost')"),
    ),
)

awaited_runs = Table(
    "awaited_runs",
    metadata,
    Column("run", String, primary_key=True),
    Column("agent", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("body", JSON, nullable=False),  # of the request run.start, without the run's id
    Column("until_us", BigInteger, nullable=False),
    Column("token", String, nullable=False),  # id of the one with which it was asked for
    Column("permit", String),  # the grant that allows it; None if a role does
    Column("tried_us", BigInteger),  # when it was sent, if nobody knows whether it arrived
    Index("awaited_runs_of_agent", "agent", "digest"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("position", Integer, primary_key=True),  # newest last; what pages go by
    Column("id", String, nullable=False, unique=True),
    Column("agent", String, nullable=False),
    Column("kind", String, nullable=False),  # terminal, command, files, forward
    Column("tier", String, nullable=False),
    Column("principal", String, nullable=False),
    Column("purpose", Text, nullable=False),  # why it was asked for
    Column("grant", JSON, nullable=False),
    Column("status", String, nullable=False),  # opening, asking, open, ended, killed, lost, refused
    Column("reason", Text),  # why it is not open any more
    Column("created_us", BigInteger, nullable=False),
    Column("opened_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("about", JSON),  # data of the record session.open, then of session.close
    Column("access", String),  # the access grant that it stands on
    Column("asker_waits", Boolean),  # for the host's owner to answer, on one connection, and was not told yet
    Index("sessions_of_agent", "agent", "position"),
    Index("sessions_by_status", "status", "position"),
)

records = Table(
    "records",
    metadata,
    Column("position", Integer, primary_key=True),  # in the order of arrival; what pages go by
    Column("agent", String, nullable=False),  # id, or "server"
    Column("sequence", BigInteger, nullable=False),
    Column("blob", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("call", String, nullable=False),
    Column("run", String, nullable=False),
    UniqueConstraint("agent", "sequence"),
    Index("records_of_run", "run"),
    Index("records_by_kind", "kind", "position"),
)

record_nodes = Table(
    "record_nodes",
    metadata,
    Column("level", Integer, primary_key=True),  # a multiple of server.record_tree.STRIDE
    Column("place", BigInteger, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
)

record_heads = Table(
    "record_heads",
    metadata,
    Column("size", BigInteger, primary_key=True),
    Column("note", Text, nullable=False),  # as protocol.tree_heads.sign_head
    Column("signed_us", BigInteger, nullable=False),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", String, primary_key=True),
    Column("agent", String, primary_key=True),
    Column("version", BigInteger, nullable=False),  # stays when the secret is removed, so that none is used twice
    Column("scripts", JSON, nullable=False),  # who may use it; bound into the box
    Column("sealed", LargeBinary),  # readable by that agent alone; None once removed
    Column("principal", String, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("hash", String, primary_key=True),  # sha256: and hexadecimal digits
    Column("size", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),  # moves on whenever it is put or fetched
)

blob_sources = Table(
    "blob_sources",
    metadata,
    Column("hash", String, primary_key=True),
    Column("source", String, primary_key=True),  # "agent:" and its id, or "person:" and a principal
    Column("name", String, nullable=False),
    Column("script", String, nullable=False),  # of an agent's; empty otherwise
    Column("run", String, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Index("blobs_of_source", "source"),
)

answers = Table(
    "answers",
    metadata,
    Column("key", String, primary_key=True),  # principal and Idempotency-Key
    Column("request", LargeBinary, nullable=False),  # SHA-256 of what was asked
    Column("status", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)
