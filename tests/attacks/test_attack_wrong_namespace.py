"""Somebody who may do a thing in one place does it in another: real keys, real roles, the wrong names."""

from __future__ import annotations

from dataclasses import replace

from siege import Siege, approved, script


async def test_an_author_of_another_namespace(siege: Siege) -> None:
    """``checksums`` begins like ``checks``, and is another one."""
    entry = approved(siege.world, script())
    foreign = replace(entry, publication=siege.world.publication("dan", digest=entry.bundle.digest))
    assert await siege.attempt(siege.offer(foreign)) == "wrong_namespace"


async def test_a_name_outside_of_the_authors_namespace(siege: Siege) -> None:
    assert await siege.attempt(siege.offer(approved(siege.world, script(name="checksums/disk")))) == "wrong_namespace"


async def test_a_reviewer_of_another_namespace(siege: Siege) -> None:
    entry = approved(siege.world, script(name="checksums/disk"))
    about = {"name": "checksums/disk", "digest": entry.bundle.digest}
    made = replace(
        entry, publication=siege.world.publication("dan", **about), approvals=(siege.world.approval("cid", **about),)
    )
    assert await siege.attempt(siege.offer(made)) == "not_approved"


async def test_a_withdrawal_by_a_stranger_to_the_namespace(siege: Siege) -> None:
    """Else every author could stop everybody's checks."""
    digest = siege.offer(approved(siege.world, script()))
    await siege.withdraw(
        siege.world.withdrawal("dan", digest=digest),
        siege.world.withdrawal("dan", digest=digest, name="checksums/disk"),
    )
    assert await siege.attempt(digest) == "ran"


async def test_a_revocation_takes_back_only_what_its_signer_approved(siege: Siege) -> None:
    digest = siege.offer(approved(siege.world, script()))
    for signer in ("dan", "cid", "mallory"):
        await siege.withdraw(siege.revocation(digest, signer))
    assert await siege.attempt(digest) == "ran"
    await siege.withdraw(siege.revocation(digest, "bob"))
    assert await siege.attempt(digest) == "revoked"
