"""Where bundles come from: the cache, else the server, asked once however many wait."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from premises import approved, script, until
from works import Repository
from world import DIGEST, World

from agent.bundles import Bundles
from agent.cache import Cache, Entry
from agent.link import Fetched
from protocol.errors import NotConnectedError, OutriderError, TrustError


class Store:
    """Bundles over a cache on disk, and the server behind."""

    def __init__(self, directory: Path, world: World) -> None:
        directory.mkdir()
        self.directory = directory
        self.entry: Entry = approved(world, script())
        self.digest = self.entry.bundle.digest
        self.repository = Repository()
        self.repository.put(self.entry)
        self.restart()

    def restart(self) -> None:
        self.bundles = Bundles(Cache(self.directory))
        self.bundles.fetch = self.repository.fetch
        self.bundles.needed = lambda: {self.digest}

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


async def test_one_that_cannot_be_had_does_not_keep_the_others_away(store: Store) -> None:
    store.bundles.needed = lambda: {DIGEST, store.digest, "sha256:" + 64 * "0"}
    await store.bundles.bring_needed()
    assert len(store.repository.asked) == 3
    store.bundles.fetch = None
    assert (await store.bundles.get(store.digest)).bundle.digest == store.digest
