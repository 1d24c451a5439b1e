"""Script versions: publishing, looking, withdrawing; and whether one may run, as the agents will judge it.

What decides is :mod:`protocol.trust`, here and on every agent alike. The server refuses early so that people hear why;
an agent never relies on that.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select

from protocol.bundle import Bundle
from protocol.errors import ConflictError, NotFoundError, TrustError
from protocol.signing import Envelope
from protocol.trust import Authorised, authorise, check_publication, check_withdrawal
from server import clock
from server.core import Core
from server.services import desired, insights
from server.store.prepared import Prepared
from server.store.tables import approvals, reviews, scripts, withdrawals

WAITING, APPROVED, REJECTED, WITHDRAWN = "waiting", "approved", "rejected", "withdrawn"


# publishing ----------------------------------------------------------------------------------------------------------


async def publish(core: Core, envelope: Envelope, packed: bytes, principal: str) -> dict[str, Any]:
    """Publish a bundle that its author signed; the same again changes nothing.

    Raises:
        TrustError: The signature, digest, namespace or manifest is not what it must be.
        ArgumentError: The bundle is none, or its code has a syntax error, with its place.
        ConflictError: The version is published with other files, or there is no roster yet.
    """
    roster = core.roster
    published, authors = check_publication(envelope, roster, clock.now())
    bundle = await asyncio.to_thread(Bundle.unpack, packed)
    bundle.verify(published.digest)
    manifest = bundle.manifest
    told = (manifest.name, manifest.version, manifest.tier)
    if told != (published.name, published.version, published.tier):
        raise TrustError(
            f"the manifest says {manifest.name} {manifest.version} {manifest.tier.label}, its author signed "
            f"{published.name} {published.version} {published.tier.label}",
            reason="mix_and_match",
        )
    insight, found = await core.database.read(lambda connection: insights.read(core, connection, bundle))
    insights.refuse_syntax_errors(found)
    author = roster.name_of(min(authors & set(roster.authors(published.name, clock.now())))) or "?"
    held = await core.database.read(lambda connection: _held(connection, bundle))
    if held is None:
        # Git first: a crash after it leaves a tag that no row names, and publishing again finds the same tree.
        commit = await asyncio.to_thread(core.repository.publish, bundle, author, envelope.to_json())
        await core.database.write(
            lambda connection: _add(core, connection, bundle, envelope, author, commit, principal, insight)
        )
    return await core.database.read(lambda connection: _published(core, connection, bundle.digest))


def _held(connection: Connection, bundle: Bundle) -> Row[Any] | None:
    """Return the row of this version if it is published; ConflictError if it is with other files."""
    name, version = bundle.manifest.name, bundle.manifest.version
    row = connection.execute(select(scripts).where(scripts.c.name == name, scripts.c.version == version)).first()
    if row is not None and row.digest != bundle.digest:
        raise ConflictError(f"{name} {version} is published with other files ({row.digest}); give it a new version")
    return row


def _add(
    core: Core,
    connection: Connection,
    bundle: Bundle,
    envelope: Envelope,
    author: str,
    commit: str,
    principal: str,
    insight: dict[str, Any],
) -> None:
    if _held(connection, bundle) is not None:  # somebody published the same at the same moment
        return
    manifest, now_us = bundle.manifest, clock.now_us()
    connection.execute(
        insert(scripts).values(
            digest=bundle.digest, name=manifest.name, version=manifest.version, tier=manifest.tier.label, author=author,
            publication=envelope.to_json(), commit=commit, published_us=now_us,
        )
    )  # fmt: skip
    connection.execute(
        insert(reviews).values(id=secrets.token_hex(6), digest=bundle.digest, state="open", created_us=now_us)
    )
    insights.keep(connection, bundle.digest, insight)
    core.ledger.append(
        connection, call="script.publish", principal=principal,
        arguments={"script": manifest.name, "version": manifest.version, "digest": bundle.digest, "author": author},
    )  # fmt: skip


def _published(core: Core, connection: Connection, digest: str) -> dict[str, Any]:
    row = connection.execute(select(scripts).where(scripts.c.digest == digest)).one()
    review = connection.execute(select(reviews.c.id).where(reviews.c.digest == digest)).scalar()
    return {
        "name": row.name, "version": row.version, "digest": digest, "tier": row.tier, "author": row.author,
        "review": review, "status": status(core, connection, row),
    }  # fmt: skip


# judging -------------------------------------------------------------------------------------------------------------


def statements(connection: Connection, digest: str) -> tuple[list[Envelope], list[Envelope]]:
    """Return approvals and withdrawals of a digest."""
    given, taken = _GIVEN.all(connection, of=digest), _TAKEN.all(connection, of=digest)
    return [_envelope(row.envelope) for row in given], [_envelope(row.envelope) for row in taken]


_envelope = lru_cache(maxsize=1024)(Envelope.from_json)  # of our own rows, which never change
_GIVEN = Prepared(
    select(approvals.c.envelope).where(approvals.c.digest == bindparam("of")).order_by(approvals.c.id.desc())
)
_TAKEN = Prepared(select(withdrawals.c.envelope).where(withdrawals.c.digest == bindparam("of")))
_VERSIONS = select(scripts).where(scripts.c.name == bindparam("of")).order_by(scripts.c.published_us.desc())
_NEWEST = Prepared(_VERSIONS.limit(1))
_ALL = Prepared(_VERSIONS)
_VERSION = Prepared(_VERSIONS.where(scripts.c.version == bindparam("exact")))


def judge(core: Core, connection: Connection, row: Row[Any]) -> Authorised:
    """Return what is proved about a version now.

    Raises:
        TrustError: It must not run; says why.
    """
    given, taken = statements(connection, row.digest)
    publication, roster, now = _envelope(row.publication), core.roster, clock.now()

    def prove() -> Authorised:
        needed = core.config.reviewers_needed
        return authorise(row.digest, publication, given, taken, roster, now, reviewers_needed=needed)

    # The same row gives the same envelope while it is remembered.
    return core.proofs.find(row.digest, (publication, roster, len(given), *given, *taken), now, prove)


def status(core: Core, connection: Connection, row: Row[Any]) -> str:
    """Return how it stands with a version, in one word."""
    try:
        judge(core, connection, row)
    except TrustError as error:
        if error.reason == "not_approved":
            state = connection.execute(select(reviews.c.state).where(reviews.c.digest == row.digest)).scalar()
            return REJECTED if state == REJECTED else WAITING
        return error.reason
    return APPROVED


def resolve(core: Core, connection: Connection, name: str, version: str | None) -> tuple[Row[Any], Authorised]:
    """Return the version to run: the one that is named, or the newest that may run.

    Raises:
        NotFoundError: There is none of that name or version.
        TrustError: None may run; says why, of the newest.
    """
    rows = _NEWEST.all(connection, of=name) if version is None else _VERSION.all(connection, of=name, exact=version)
    if not rows:
        raise NotFoundError(f"there is no script {name[:100]!r}" + (f" of version {version[:40]}" if version else ""))
    first: TrustError | None = None
    for row in rows if version is not None else _newest_first(connection, rows[0]):
        try:
            return row, judge(core, connection, row)
        except TrustError as error:
            first = first or error
    raise first or NotFoundError(f"there is no script {name[:100]!r}")


def _newest_first(connection: Connection, newest: Any) -> Iterator[Any]:
    """Yield the versions of a script; the older ones are only read if the newest does not do."""
    yield newest
    yield from (row for row in _ALL.all(connection, of=newest.name) if row.digest != newest.digest)


# looking -------------------------------------------------------------------------------------------------------------


def find(connection: Connection, name: str, version: str | None) -> Row[Any]:
    """Return a version, the newest if none is named, whether it may run or not.

    Raises:
        NotFoundError: There is none.
    """
    query = select(scripts).where(scripts.c.name == name).order_by(scripts.c.published_us.desc())
    row = connection.execute(query if version is None else query.where(scripts.c.version == version)).first()
    if row is None:
        raise NotFoundError(f"there is no script {name[:100]!r}" + (f" of version {version[:40]}" if version else ""))
    return row


def by_digest(connection: Connection, digest: str) -> Row[Any]:
    """Return the version with this digest.

    Raises:
        NotFoundError: There is none.
    """
    row = connection.execute(select(scripts).where(scripts.c.digest == digest)).first()
    if row is None:
        raise NotFoundError(f"there is no script of digest {digest[:80]}")
    return row


def brief(core: Core, connection: Connection, row: Row[Any]) -> dict[str, Any]:
    """Return a version as a list shows it."""
    return {
        "name": row.name, "version": row.version, "digest": row.digest, "tier": row.tier, "author": row.author,
        "published": clock.text(row.published_us), "status": status(core, connection, row),
    }  # fmt: skip


def show(core: Core, connection: Connection, row: Row[Any]) -> dict[str, Any]:
    """Return a version in full, with the text of its files."""
    bundle = core.repository.bundle(row.name, row.version, row.digest)
    versions = connection.execute(
        select(scripts.c.version).where(scripts.c.name == row.name).order_by(scripts.c.published_us.desc())
    ).scalars()
    given, taken = statements(connection, row.digest)
    return brief(core, connection, row) | {
        "versions": list(versions), "description": bundle.manifest.description, "manifest": manifest_view(bundle),
        "files": texts(bundle), "publication": json.loads(row.publication),
        "approvals": [json.loads(each.to_json()) for each in given],
        "withdrawals": [json.loads(each.to_json()) for each in taken],
    }  # fmt: skip


def manifest_view(bundle: Bundle) -> dict[str, Any]:
    """Return what a manifest says, as plain data."""
    manifest = bundle.manifest
    return {
        "language": manifest.language, "main": manifest.main, "tier": manifest.tier.label,
        "limits": dict(manifest.limits), "needs": [need.call for need in manifest.needs],
        "metrics": [{"name": each.name, "type": each.type, "unit": each.unit} for each in manifest.metrics],
        "parameters": {
            name: {
                "type": each.type, "required": each.required, "default": each.default, "description": each.description,
            }
            for name, each in manifest.parameters.items()
        },
    }  # fmt: skip


def texts(bundle: Bundle) -> dict[str, str]:
    """Return the files of a bundle as text; what is not UTF-8 is only described."""
    found: dict[str, str] = {}
    for path, content in sorted(bundle.files.items()):
        try:
            found[path] = content.decode("utf-8")
        except UnicodeDecodeError:
            found[path] = f"({len(content)} bytes that are not text, sha256 {hashlib.sha256(content).hexdigest()})"
    return found


# withdrawing ---------------------------------------------------------------------------------------------------------


async def withdraw(core: Core, envelope: Envelope, principal: str) -> dict[str, Any]:
    """Withdraw a digest and tell all agents. Of what is withdrawn already nothing more is kept: agents are sent all.

    Raises:
        TrustError: The signer may not.
        NotFoundError: It was never published.
    """
    withdrawal, _ = check_withdrawal(envelope, core.roster, clock.now())

    def store(connection: Connection) -> dict[str, Any]:
        row = by_digest(connection, withdrawal.digest)
        if (row.name, row.version) != (withdrawal.name, withdrawal.version):
            raise TrustError("the withdrawal names another script than its digest is of", reason="mix_and_match")
        if status(core, connection, row) == WITHDRAWN:
            return brief(core, connection, row)
        connection.execute(
            insert(withdrawals).values(digest=withdrawal.digest, envelope=envelope.to_json(), stored_us=clock.now_us())
        )
        core.ledger.append(
            connection, call="script.withdraw", principal=principal,
            arguments={"script": row.name, "version": row.version, "digest": row.digest, "reason": withdrawal.reason},
        )  # fmt: skip
        return brief(core, connection, row)

    answer = await core.database.write(store)
    desired.push_all(core)
    return answer
