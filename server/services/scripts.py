"""Script versions: publishing, looking, withdrawing; and whether one may run, as the agents will judge it.

What decides is :mod:`protocol.trust`, here and on every agent alike. The server refuses early so that people hear why;
an agent never relies on that.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select

from policies.levels import FIRST, level, refuse_silent_break
from protocol.bundle import MANIFEST, Bundle
from protocol.code_parts import texts
from protocol.errors import ConflictError, NotFoundError, TrustError
from protocol.manifest import Manifest
from protocol.ownership import owners_after
from protocol.parameters import Parameter
from protocol.roster import needed
from protocol.signing import Envelope
from protocol.statements import Publication
from protocol.taking_back import REVOCATION
from protocol.tiers import Tier
from protocol.trust import Authorised, authorise, check_publication, check_withdrawal
from protocol.versions import Version
from sandbox.analysis import Pinned
from server import clock, reading
from server.core import Core
from server.reading import Found
from server.services import desired, insights, namespace
from server.services.visibility import EVERYTHING, Viewer, may_see, versions_for
from server.store.prepared import Prepared
from server.store.tables import approvals, reviews, revocations, scripts, withdrawals

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
    may = roster.authors(published.name, clock.now())
    signers = {key_id: roster.name_of(key_id) or "?" for key_id in authors if key_id in may}
    if not signers:  # such as one that was retired since: what it published counts, and it publishes nothing more
        raise TrustError(f"{published.name} is signed by a key that may publish no more", reason="expired")
    author = signers[min(signers)]
    # Each way to another thread and back costs more than most of what is done there: there are three.
    bundle, libraries, found = await core.database.read(
        lambda connection: _read(core, connection, published, packed, author)
    )
    if found is None:
        found = await asyncio.to_thread(reading.read, bundle, *libraries)
    insight, wrong = found
    insights.refuse_syntax_error(wrong)

    def commit(connection: Connection) -> tuple[_Place, str] | None:
        place = _place(core, connection, bundle, frozenset(signers.values()))
        if place is None:
            return None
        return place, core.repository.publish(
            bundle, author, envelope.to_json(), owners=place.owners, is_newest=place.is_newest, is_new=True
        )  # fmt: skip

    def add(connection: Connection, place: _Place, made: str) -> dict[str, Any]:
        _add(core, connection, bundle, envelope, author, made, principal, insight, place)
        return _published(core, connection, bundle.digest)

    # One after the other: whoever comes second to a name or version must see that somebody was first.
    async with core.publishing:
        # Git first, and the row decides: a crash between them leaves a tag that the next start takes away.
        committed = await core.database.read(commit)
        if committed is not None:
            return await core.database.write(lambda connection: add(connection, *committed))
    return await core.database.read(lambda connection: _published(core, connection, bundle.digest))


def _read(
    core: Core, connection: Connection, published: Publication, packed: bytes, author: str
) -> tuple[Bundle, tuple[list[Pinned], list[str]], Found | None]:
    """Return a bundle that is what its author signed, its libraries, and what reading them finds.

    None where they are long: that takes its time, and must not hold up other readers of the database.

    Raises:
        TrustError: It is something else.
        ArgumentError: It is none.
    """
    bundle = Bundle.unpack(packed)
    bundle.verify(published.digest)
    manifest = bundle.manifest
    told = (manifest.name, manifest.version, manifest.tier)
    if told != (published.name, published.version, published.tier):
        raise TrustError(
            f"the manifest says {manifest.name} {manifest.version} {manifest.tier.label}, its author signed "
            f"{published.name} {published.version} {published.tier.label}",
            reason="mix_and_match",
        )
    libraries = insights.libraries_of(core, connection, bundle, author)
    is_short = reading.is_short(bundle, libraries[0])
    return bundle, libraries, reading.read(bundle, *libraries) if is_short else None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a new version stands among those of its name."""

    owners: tuple[str, ...]
    level: str
    rank: str
    is_newest: bool


def _place(core: Core, connection: Connection, bundle: Bundle, signers: frozenset[str]) -> _Place | None:
    """Return where a version would stand; None if it is published already.

    Raises:
        ConflictError: It is published with other files, or breaks what its number does not announce.
        DeniedError: The name belongs to others.
    """
    if _held(connection, bundle) is not None:
        return None
    manifest = bundle.manifest
    name = namespace.find(connection, manifest.name)
    owners = () if name is None else namespace.owners_of(name)
    owners_now = owners_after(owners, signers, core.roster, manifest.name, clock.now())
    version = Version.parse(manifest.version)
    base = namespace.newest_below(connection, manifest.name, version)
    level = FIRST
    if base is not None:
        before = core.repository.bundle(base.name, base.version, base.digest)
        refuse_silent_break(before.manifest, manifest)
        level = level_between(before, bundle)
    return _Place(owners_now, level, version.rank, namespace.is_newest(connection, manifest.name, version.rank))


def level_between(before: Bundle, after: Bundle) -> str:
    """Return how far a version is from another one."""
    is_code_same = _code(before) == _code(after)
    return level(before.manifest, after.manifest, is_code_same=is_code_same)


def _code(bundle: Bundle) -> dict[str, bytes]:
    return {path: content for path, content in bundle.files.items() if path != MANIFEST}


def _held(connection: Connection, bundle: Bundle) -> Any:
    """Return the row of this version if it is published; ConflictError if it is with other files."""
    name, version = bundle.manifest.name, bundle.manifest.version
    row = _EXACT.first(connection, of=name, exact=version)
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
    place: _Place,
) -> None:
    manifest, now_us = bundle.manifest, clock.now_us()
    _ADD.add(connection, [{
        "digest": bundle.digest, "name": manifest.name, "version": manifest.version, "tier": manifest.tier.label,
        "author": author, "publication": envelope.to_json(), "commit": commit, "published_us": now_us,
        "rank": place.rank, "level": place.level, "visibility": manifest.visibility, "published_by": principal,
        "owners": list(place.owners),
    }])  # fmt: skip
    namespace.keep(connection, bundle, place.rank, place.owners)
    review = {"id": secrets.token_hex(6), "digest": bundle.digest, "state": "open", "created_us": now_us}
    _ADD_REVIEW.add(connection, [review])
    insights.keep(connection, bundle.digest, insight)
    core.ledger.append(
        connection, call="script.publish", principal=principal,
        arguments={"script": manifest.name, "version": manifest.version, "digest": bundle.digest, "author": author},
    )  # fmt: skip


def _published(core: Core, connection: Connection, digest: str) -> dict[str, Any]:
    row, review = _BY_DIGEST.first(connection, of=digest), _REVIEW.first(connection, of=digest)
    return {
        "name": row.name, "version": row.version, "digest": digest, "tier": row.tier, "author": row.author,
        "review": review.id if review is not None else None, "status": status(core, connection, row),
        "reviewers": reviewers_needed(core, Tier.parse(row.tier)), "level": row.level, "owners": row.owners,
        "visibility": row.visibility, "warnings": namespace.warnings(connection, row.name, row.version),
    }  # fmt: skip


def reviewers_needed(core: Core, tier: Tier) -> int:
    """Return how many people must approve for a tier: as the roster says, or more if this server asks for more."""
    return max(needed(core.roster.reviewers_needed, tier), needed(core.config.reviewers_needed, tier))


# judging -------------------------------------------------------------------------------------------------------------


def statements(connection: Connection, digest: str) -> tuple[list[Envelope], list[Envelope]]:
    """Return approvals of a digest, and what takes it back: withdrawals and revocations."""
    given = _GIVEN.all(connection, of=digest)
    taken = [*_TAKEN.all(connection, of=digest), *_REVOKED.all(connection, of=digest)]
    return [_envelope(row.envelope) for row in given], [_envelope(row.envelope) for row in taken]


_envelope = lru_cache(maxsize=1024)(Envelope.from_json)  # of our own rows, which never change
_GIVEN = Prepared(
    select(approvals.c.envelope).where(approvals.c.digest == bindparam("of")).order_by(approvals.c.id.desc())
)
_TAKEN = Prepared(select(withdrawals.c.envelope).where(withdrawals.c.digest == bindparam("of")))
_REVOKED = Prepared(select(revocations.c.envelope).where(revocations.c.digest == bindparam("of")))
_REVIEW = Prepared(select(reviews.c.id, reviews.c.state).where(reviews.c.digest == bindparam("of")))
_VERSIONS = (
    select(scripts)
    .where(scripts.c.name == bindparam("of"))
    .order_by(scripts.c.rank.desc(), scripts.c.published_us.desc())
)
_NEWEST = Prepared(_VERSIONS.limit(1))
_ALL = Prepared(_VERSIONS)
_VERSION = Prepared(_VERSIONS.where(scripts.c.version == bindparam("exact")))
_EXACT = Prepared(select(scripts).where(scripts.c.name == bindparam("of"), scripts.c.version == bindparam("exact")))
_BY_DIGEST = Prepared(select(scripts).where(scripts.c.digest == bindparam("of")))
_ADD = Prepared(insert(scripts), *scripts.c.keys())
_ADD_REVIEW = Prepared(insert(reviews), "id", "digest", "state", "created_us")


def judge(core: Core, connection: Connection, row: Row[Any]) -> Authorised:
    """Return what is proved about a version now.

    Raises:
        TrustError: It must not run; says why.
    """
    given, taken = statements(connection, row.digest)
    publication, roster, now = _envelope(row.publication), core.roster, clock.now()

    def prove() -> Authorised:
        asked = core.config.reviewers_needed
        return authorise(row.digest, publication, given, taken, roster, now, reviewers_needed=asked)

    # The same row gives the same envelope while it is remembered.
    return core.proofs.find(row.digest, (publication, roster, len(given), *given, *taken), now, prove)


def status(core: Core, connection: Connection, row: Row[Any]) -> str:
    """Return how it stands with a version, in one word."""
    return stands(core, connection, row)[0]


def stands(core: Core, connection: Connection, row: Row[Any]) -> tuple[str, datetime | None]:
    """Return how it stands with a version, in one word, and until when time alone cannot change that, if known."""
    try:
        proved = judge(core, connection, row)
    except TrustError as error:
        if error.reason == "not_approved":
            review = _REVIEW.first(connection, of=row.digest)
            return REJECTED if review is not None and review.state == REJECTED else WAITING, None
        return error.reason, None
    return APPROVED, proved.unchanged_until


def resolve(
    core: Core, connection: Connection, name: str, version: str | None, viewer: Viewer = EVERYTHING
) -> tuple[Row[Any], Authorised]:
    """Return the version to run: the one that is named, or the newest that may run.

    Raises:
        NotFoundError: There is none of that name or version that the viewer may see.
        TrustError: None may run; says why, of the newest.
    """
    rows = _NEWEST.all(connection, of=name) if version is None else _VERSION.all(connection, of=name, exact=version)
    first: TrustError | None = None
    for row in rows if version is not None or not rows else _newest_first(connection, rows[0]):
        if not may_see(connection, viewer, row):
            continue
        try:
            return row, judge(core, connection, row)
        except TrustError as error:
            first = first or error
    raise first or NotFoundError(
        f"there is no script {name[:100]!r}" + (f" of version {version[:40]}" if version else "")
    )


def refuse_library(manifest: Manifest) -> None:
    """Return if a version can be run by itself.

    Raises:
        ConflictError: It is a library.
    """
    if manifest.kind == "library":
        raise ConflictError(f"{manifest.name} is a library: scripts pin it in requires, nothing runs it by itself")


def _newest_first(connection: Connection, newest: Any) -> Iterator[Any]:
    """Yield the versions of a script; the older ones are only read if the newest does not do."""
    yield newest
    yield from (row for row in _ALL.all(connection, of=newest.name) if row.digest != newest.digest)


# looking -------------------------------------------------------------------------------------------------------------


def find(connection: Connection, name: str, version: str | None, viewer: Viewer) -> Row[Any]:
    """Return a version, the newest if none is named, whether it may run or not.

    Raises:
        NotFoundError: There is none that the viewer may see.
    """
    query = (
        select(scripts)
        .where(scripts.c.name == name, versions_for(viewer))
        .order_by(scripts.c.rank.desc(), scripts.c.published_us.desc())
    )
    row = connection.execute(query if version is None else query.where(scripts.c.version == version)).first()
    if row is None:
        raise NotFoundError(f"there is no script {name[:100]!r}" + (f" of version {version[:40]}" if version else ""))
    return row


def by_digest(connection: Connection, digest: str) -> Any:
    """Return the version with this digest.

    Raises:
        NotFoundError: There is none.
    """
    row = _BY_DIGEST.first(connection, of=digest)
    if row is None:
        raise NotFoundError(f"there is no script of digest {digest[:80]}")
    return row


def commits(connection: Connection) -> dict[str, str]:
    """Return the commit of every version, by ``<name>@<version>``."""
    rows = connection.execute(select(scripts.c.name, scripts.c.version, scripts.c.commit))
    return {f"{row.name}@{row.version}": row.commit for row in rows}


def brief(core: Core, connection: Connection, row: Row[Any], stands: str | None = None) -> dict[str, Any]:
    """Return a version in brief; how it ``stands`` is found out unless it is known."""
    return {
        "name": row.name, "version": row.version, "digest": row.digest, "tier": row.tier, "author": row.author,
        "published": clock.text(row.published_us),
        "status": status(core, connection, row) if stands is None else stands,
        "visibility": row.visibility, "level": row.level,
        "deprecated": namespace.deprecation(connection, row.name, row.version),
    }  # fmt: skip


def show(core: Core, connection: Connection, row: Row[Any], viewer: Viewer) -> dict[str, Any]:
    """Return a version in full, with the text of its files."""
    bundle = core.repository.bundle(row.name, row.version, row.digest)
    versions = connection.execute(
        select(scripts.c.version)
        .where(scripts.c.name == row.name, versions_for(viewer))
        .order_by(scripts.c.rank.desc(), scripts.c.published_us.desc())
    ).scalars()
    name = namespace.find(connection, row.name)
    given, taken = statements(connection, row.digest)
    return brief(core, connection, row) | {
        "versions": list(versions), "owners": row.owners if name is None else namespace.owners_of(name),
        "owners_when_published": row.owners, "description": bundle.manifest.description,
        "manifest": manifest_view(bundle),
        "files": texts(bundle), "publication": json.loads(row.publication),
        "approvals": [json.loads(each.to_json()) for each in given],
        "withdrawals": [json.loads(each.to_json()) for each in taken if each.payload_type != REVOCATION],
        "revocations": [json.loads(each.to_json()) for each in taken if each.payload_type == REVOCATION],
    }  # fmt: skip


def manifest_view(bundle: Bundle) -> dict[str, Any]:
    """Return what a manifest says, as plain data."""
    manifest = bundle.manifest
    result = manifest.result
    return {
        "language": manifest.language, "main": manifest.main, "tier": manifest.tier.label, "kind": manifest.kind,
        "visibility": manifest.visibility, "tags": list(manifest.tags), "licence": manifest.licence,
        "links": manifest.links, "requires": [{"name": each.name, "digest": each.digest} for each in manifest.requires],
        "result": None if result is None else {"type": result.type, "fields": result.fields},
        "limits": dict(manifest.limits), "needs": [need.call for need in manifest.needs],
        "metrics": [{"name": each.name, "type": each.type, "unit": each.unit} for each in manifest.metrics],
        "parameters": {name: parameter_view(each) for name, each in manifest.parameters.items()},
    }  # fmt: skip


def parameter_view(parameter: Parameter) -> dict[str, Any]:
    """Return a parameter as plain data, as a form needs it."""
    return {
        "type": parameter.type, "required": parameter.required, "default": parameter.default,
        "description": parameter.description, "locked": parameter.is_locked, "choices": list(parameter.choices),
        "pattern": parameter.pattern, "minimum": parameter.minimum, "maximum": parameter.maximum,
        "min_length": parameter.min_length, "max_length": parameter.max_length, "min_items": parameter.min_items,
        "max_items": parameter.max_items,
        "items": None if parameter.items is None else parameter_view(parameter.items),
    }  # fmt: skip


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
