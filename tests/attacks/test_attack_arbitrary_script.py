"""The attacker wants a script of their own to run: unsigned, self-signed, swapped, or with a library of their own."""

from __future__ import annotations

from dataclasses import replace

from siege import Siege, approved, script
from world import World

from agent.cache import Entry

HARM = "return 'mine'\n"


def mine(world: World) -> Entry:
    """Return a bundle with everything about it signed, by somebody whom nobody knows."""
    entry = approved(world, script(HARM))
    about = {"digest": entry.bundle.digest}
    return Entry(entry.bundle, world.publication("mallory", **about), (world.approval("mallory", **about),))


async def test_a_script_that_strangers_signed(siege: Siege) -> None:
    assert await siege.attempt(siege.offer(mine(siege.world))) == "unknown_key"


async def test_a_script_that_nobody_signed(siege: Siege) -> None:
    entry = approved(siege.world, script(HARM))
    bare = replace(entry, publication=replace(entry.publication, signatures=()))
    assert await siege.attempt(siege.offer(bare)) == "unsigned"


async def test_a_script_that_nobody_approved(siege: Siege) -> None:
    assert (
        await siege.attempt(siege.offer(replace(approved(siege.world, script(HARM)), approvals=()))) == "not_approved"
    )


async def test_other_files_under_an_approved_digest(siege: Siege) -> None:
    """The statements are real, the digest is the approved one, the bytes are the attacker's."""
    real = approved(siege.world, script())
    assert await siege.attempt(siege.offer(replace(real, bundle=script(HARM)), real.bundle.digest)) == "wrong_digest"


async def test_the_statements_of_another_script(siege: Siege) -> None:
    real, harm = approved(siege.world, script()), script(HARM)
    assert await siege.attempt(siege.offer(replace(real, bundle=harm), harm.digest)) == "wrong_digest"


async def test_a_library_that_nobody_approved(siege: Siege) -> None:
    """A script that was approved pins what it loads; the attacker's library under that digest is not it."""
    library = script("return {}\n", name="checks/rates")
    pins = f'requires: [{{name: checks/rates, digest: "{library.digest}"}}]\n'
    user = approved(siege.world, script("return require('checks/rates')\n", more=pins))
    siege.offer(user)
    siege.offer(mine(siege.world), library.digest)
    assert await siege.attempt(user.bundle.digest) == "wrong_digest"
    siege.offer(replace(approved(siege.world, library), approvals=()))
    assert await siege.attempt(user.bundle.digest) == "not_approved"


async def test_what_is_in_order_runs_all_the_same(siege: Siege) -> None:
    """The attacks above fail for their reason and not because nothing ever runs here."""
    assert await siege.attempt(siege.offer(approved(siege.world, script()))) == "ran"
