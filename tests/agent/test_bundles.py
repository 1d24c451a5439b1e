"""Where bundles come from: the cache, else the server, asked once however many wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from premises import approved, script, until
from works import Repository
from world import DIGEST, NOW, World

from agent.approvals import adding
from agent.bundles import Bundles
from agent.cache import Cache, Entry
from agent.link import Fetched
from protocol.errors import NotConnectedError, OutriderError, TrustError
from protocol.signing import Envelope, sign
from protocol.timestamps import stamp


class Store:
    """Bundles over a cache on disk, and the server behind."""

    def __init__(self, directory: Path, world: World) -> None:
        directory.mkdir()
        self.world = world
        self.roster = world.roster()
        self.directory = directory
        self.entry: Entry = approved(world, script())
        self.digest = self.entry.bundle.digest
        self.repository = Repository()
        self.repository.put(self.entry)
        self.restart()

    def restart(self) -> None:
        self.bundles = Bundles(Cache(self.directory), self._adding)
        self.bundles.fetch = self.repository.fetch
        self.bundles.needed = lambda: {self.digest}

    def _adding(self, entry: Entry, given: Sequence[Envelope]) -> Entry:
        return adding(entry, given, self.roster, NOW)

    def approval(self, **changes: Any) -> Envelope:
        """Return one that is newer than the first and says something else."""
        about = {"digest": self.digest, "grant": {"calls": ["fs.stat"]}, "issued": stamp(NOW)}
        return self.world.approval(**(about | changes))

    def damage(self) -> None:
        (path,) = self.directory.iterdir()
        path.write_bytes(path.read_bytes()[:-1])


@pytest.fixture
def store(tmp_path: Path, world: World) -> Store:
    return Store(tmp_path / "cache", world)


async def test_the_server_is_asked_once(store: Store) -> None:
    for _ in range(2):
        assert (await store.bundles.get(store.digest)).bundle.digest == store.digest
    store.restart()
    await store.bundles.get(store.digest)
    assert store.repository.asked == [store.digest]


async def test_the_server_is_asked_once_however_many_wait(store: Store) -> None:
    """A schedule on a thousand fire times, or a hundred runs at once, must not fetch a hundred times."""
    found = await asyncio.gather(*(store.bundles.get(store.digest) for _ in range(10)))
    assert {id(entry) for entry in found} == {id(found[0])}
    assert store.repository.asked == [store.digest]


async def test_one_who_gives_up_does_not_stop_the_others(store: Store) -> None:
    arrives = asyncio.Event()

    async def slowly(digest: str) -> Fetched:
        await arrives.wait()
        return await store.repository.fetch(digest)

    store.bundles.fetch = slowly
    first, second = (asyncio.create_task(store.bundles.get(store.digest)) for _ in range(2))
    await until(lambda: store.bundles._under_way)
    first.cancel()
    await asyncio.wait([first])
    arrives.set()
    assert (await second).bundle.digest == store.digest


async def test_after_a_failure_the_server_is_asked_again(store: Store) -> None:
    held = store.repository.held.pop(store.digest)
    with pytest.raises(OutriderError, match="no such bundle"):
        await store.bundles.get(store.digest)
    store.repository.held[store.digest] = held
    assert (await store.bundles.get(store.digest)).bundle.digest == store.digest


async def test_without_a_link_only_what_is_here_can_be_had(store: Store) -> None:
    await store.bundles.get(store.digest)
    store.bundles.fetch = None
    assert (await store.bundles.get(store.digest)).bundle.digest == store.digest
    with pytest.raises(NotConnectedError, match=DIGEST):
        await store.bundles.get(DIGEST)
    with pytest.raises(NotConnectedError):
        await store.bundles.refresh(store.digest)


async def test_what_is_not_what_was_asked_for_is_not_kept(store: Store) -> None:
    store.repository.put(store.entry, digest=DIGEST)
    with pytest.raises(TrustError):
        await store.bundles.get(DIGEST)
    assert list(store.directory.iterdir()) == []


async def test_what_cannot_be_kept_runs_all_the_same(store: Store) -> None:
    """A full disk is no reason to refuse a run whose bundle has just arrived."""
    store.directory.rmdir()
    assert (await store.bundles.get(store.digest)).bundle.digest == store.digest


async def test_what_schedules_need_is_fetched_ahead(store: Store) -> None:
    await store.bundles.bring_needed()
    store.bundles.fetch = None
    assert (await store.bundles.get(store.digest)).bundle.digest == store.digest


async def test_what_schedules_need_and_is_here_is_not_fetched(store: Store) -> None:
    await store.bundles.bring_needed()
    store.restart()
    await store.bundles.bring_needed()
    assert store.repository.asked == [store.digest]


async def test_what_schedules_need_and_is_damaged_is_fetched_again(store: Store) -> None:
    """Found at the fire time, the server may be gone, and the run with it."""
    await store.bundles.bring_needed()
    store.damage()
    store.restart()
    await store.bundles.bring_needed()
    assert store.repository.asked == [store.digest, store.digest]


async def test_who_asks_for_what_comes_already_does_not_wait_beside_it(store: Store) -> None:
    """A server that sets schedules without end, and keeps their bundles back, fills no memory with who waits."""
    arrives, asked = asyncio.Event(), []

    async def slowly(digest: str) -> Fetched:
        asked.append(digest)
        await arrives.wait()
        return await store.repository.fetch(digest)

    store.bundles.fetch = slowly
    first = asyncio.create_task(store.bundles.bring_needed())
    await until(lambda: asked)
    later = approved(store.world, script("return 2\n"))
    store.repository.put(later)
    store.bundles.needed = lambda: {store.digest, later.bundle.digest}
    others = [asyncio.create_task(store.bundles.bring_needed()) for _ in range(100)]
    await until(lambda: all(other.done() for other in others))
    arrives.set()
    await first
    assert sorted(asked) == sorted({store.digest, later.bundle.digest}), "and what they asked for came"
    await store.bundles.bring_needed()


async def test_only_of_what_must_stay_it_is_remembered_what_that_requires(store: Store) -> None:
    """Whoever has bundles fetched without end, each requiring a lot, fills no memory either."""
    requires = f'requires: [{{name: lib/rates, digest: "{DIGEST}"}}]\n'
    entries = [approved(store.world, script(f"return {n}\n", more=requires)) for n in range(3)]
    for entry in entries:
        store.repository.put(entry)
        await store.bundles.get(entry.bundle.digest)
    assert store.bundles._required == {}
    wanted = entries[1].bundle.digest
    store.bundles.needed = lambda: {wanted}
    await store.bundles.bring_needed()
    assert store.bundles._required == {wanted: (DIGEST,)}
    assert store.bundles._kept() == {wanted, DIGEST}
    store.bundles.needed = tuple
    await store.bundles.get(store.digest)
    assert store.bundles._required == {}


async def test_one_that_cannot_be_had_does_not_keep_the_others_away(store: Store) -> None:
    store.bundles.needed = lambda: {DIGEST, store.digest, "sha256:" + 64 * "0"}
    await store.bundles.bring_needed()
    assert len(store.repository.asked) == 3
    store.bundles.fetch = None
    assert (await store.bundles.get(store.digest)).bundle.digest == store.digest


async def test_parts_that_do_not_make_the_bundle_are_let_go_and_all_of_it_is_fetched_once(store: Store) -> None:
    """A server that lied about the beginning costs one transfer; one that goes on lying is refused."""
    good = store.repository.held[store.digest]
    store.repository.held[store.digest] = replace(good, packed=b"lies" + good.packed[4:], is_resumed=True)

    async def fetch(digest: str) -> Fetched:
        found = await store.repository.fetch(digest)
        store.repository.held[digest] = good
        return found

    store.bundles.fetch = fetch
    assert (await store.bundles.get(store.digest)).bundle.digest == store.digest
    assert len(store.repository.asked) == 2
    store.repository.held[store.digest] = replace(good, packed=b"lies", is_resumed=True)
    store.bundles.fetch = store.repository.fetch
    with pytest.raises(OutriderError):
        await store.bundles.refresh(store.digest)
    assert len(store.repository.asked) == 4


# approvals that come later --------------------------------------------------------------------------------------------


async def test_a_newer_approval_of_what_is_here_is_kept(store: Store) -> None:
    before = await store.bundles.get(store.digest)
    newer = store.approval()
    assert store.bundles.learn([newer]) == [store.digest]
    store.restart()
    assert (await store.bundles.get(store.digest)).approvals == (newer, *before.approvals)
    assert store.bundles.learn([newer]) == [], "the same again changes nothing"
    assert len(store.repository.asked) == 1


async def test_an_approval_of_what_is_not_here_fetches_nothing(store: Store) -> None:
    """It comes with the bundle, if that is ever wanted."""
    assert store.bundles.learn([store.approval(), store.world.approval(digest=DIGEST)]) == []
    assert (store.repository.asked, list(store.directory.iterdir())) == ([], [])


async def test_an_approval_that_comes_while_its_bundle_is_under_way_is_not_lost(store: Store) -> None:
    """The server may have answered before it was given."""
    asked, goes_on = asyncio.Event(), asyncio.Event()

    async def slowly(digest: str) -> Fetched:
        found = await store.repository.fetch(digest)
        asked.set()
        await goes_on.wait()
        return found

    store.bundles.fetch = slowly
    fetching = asyncio.create_task(store.bundles.get(store.digest))
    await asked.wait()
    newer = store.approval()
    assert store.bundles.learn([newer]) == []
    goes_on.set()
    assert newer in (await fetching).approvals
    store.restart()
    assert newer in (await store.bundles.get(store.digest)).approvals
    assert not store.bundles._told


async def test_what_is_fetched_anew_keeps_the_approvals_that_count(store: Store) -> None:
    """A server that has lost them, or would rather show an earlier one, takes none away from this host."""
    await store.bundles.get(store.digest)
    newer = store.approval()
    store.bundles.learn([newer])
    assert newer in (await store.bundles.refresh(store.digest)).approvals
    assert len(store.repository.asked) == 2


async def test_what_is_no_approval_is_refused_and_nothing_is_kept(store: Store) -> None:
    before = await store.bundles.get(store.digest)
    publication = store.world.publication(digest=store.digest)
    nonsense = sign("approval", {"type": "approval"}, store.world.key("bob"))
    for bad in (publication, nonsense):
        with pytest.raises(OutriderError):
            store.bundles.learn([store.approval(), bad])
    assert (await store.bundles.get(store.digest)).approvals == before.approvals
