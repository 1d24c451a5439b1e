"""The tables, in SQLAlchemy Core. Times are microseconds since 1970 UTC; JSON columns hold plain values.

``records`` keeps the exact bytes that were hashed; its other columns are derived from them and only there to search by.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
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
    UniqueConstraint("name", "version"),
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
    Index("runs_of_agent", "agent", "position"),
    Index("runs_by_status", "status", "position"),
    Index("runs_of_schedule", "schedule", "position"),
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

answers = Table(
    "answers",
    metadata,
    Column("key", String, primary_key=True),  # principal and Idempotency-Key
    Column("request", LargeBinary, nullable=False),  # SHA-256 of what was asked
    Column("status", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)
