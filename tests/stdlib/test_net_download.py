"""``net.download``: kept only with the hash that was said; every hop is decided; nothing is left of anything else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from netlab import LOOPBACK, Authority, Granted, Web, answer, host, no_sockets_left, serving
from test_fs_blobs import Store

from protocol.errors import (
    ArgumentError,
    DeadlineError,
    DeniedError,
    OutriderError,
    TooLargeError,
    TrustError,
)
from protocol.errors import UnavailableError as Gone
from stdlib.host import Host, RunContext
from stdlib.net_download import download

DATA = bytes(range(256)) * 8192  # two megabytes
HASH = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "blobs")


async def get(
    store: Store, url: str, sha256: str = HASH, *, granted: Any = None, system: Any = None, **more: Any
) -> str:
    return await download(system or Host(), RunContext(blobs=store), granted or Granted(), url, sha256, **more)


async def test_a_file_with_its_hash_is_kept(store: Store) -> None:
    web = Web({"/x/site.tgz?v=1": answer(DATA), "/here": answer(b"", "302 Found", "Location: /x/site.tgz?v=1")})
    async with serving(web) as port:
        with no_sockets_left():
            blob = await get(store, f"http://{LOOPBACK}:{port}/here", max=len(DATA))
    assert blob == f"sha256:{HASH}"
    assert (store.content(blob), store.names) == (DATA, ["here"])


async def test_what_is_anything_else_is_not_kept(store: Store) -> None:
    pages = {
        "/f": answer(DATA), "/gone": answer(b"no such file", "404 Not Found"), "/empty": answer(b"", "204 No Content"),
        "/part": answer(DATA, "206 Partial Content"), "/loop": answer(b"", "302 Found", "Location: /loop"),
        "/cut": answer(DATA)[:-1000],
    }  # fmt: skip
    async with serving(Web(pages)) as port:
        wrong: list[tuple[str, str, dict[str, Any], type[OutriderError], str]] = [
            ("/f", "0" * 64, {}, TrustError, "sent what has the hash sha256:"),
            ("/f", HASH, {"max": len(DATA) - 1}, TooLargeError, "more than"),
            ("/f", "md5", {}, ArgumentError, "sha256: must be 64 lower-case hexadecimal digits, with or without"),
            ("/gone", HASH, {}, Gone, "answers 404"), ("/empty", HASH, {}, Gone, "answers 204"),
            ("/part", HASH, {}, Gone, "answers 206"), ("/loop", HASH, {"redirects": 2}, Gone, "answers 302"),
            ("/cut", HASH, {}, Gone, "not HTTP|closed"),
        ]  # fmt: skip
        for path, sha256, more, kind, told in wrong:
            with no_sockets_left(), pytest.raises(kind, match=told):
                await get(store, f"http://{LOOPBACK}:{port}{path}", sha256, **more)
    assert store.held() == []


async def test_every_hop_is_decided(store: Store) -> None:
    """A redirect is how a service of the host itself, or a cloud's metadata, would be reached."""
    web = Web({"/": answer(b"", "302 Found", "Location: http://169.254.169.254/latest/")})
    async with serving(web) as port:
        with pytest.raises(DeniedError):
            await get(store, f"http://{LOOPBACK}:{port}/")
    assert store.held() == []


async def test_a_server_must_prove_who_it_is(store: Store) -> None:
    authority = Authority()
    async with serving(Web({"/f": answer(DATA)}), tls=authority.server("web.test")) as port:
        system, granted = host((LOOPBACK,)), Granted(["web.test", LOOPBACK])
        url = f"https://web.test:{port}/f"
        assert await get(store, url, system=system, granted=granted, ca=authority.pem) == f"sha256:{HASH}"
        other = Store(store.directory.parent / "other")
        with pytest.raises(Gone, match=r"certificate|self-signed|unable to get"):
            await get(other, url, system=system, granted=granted, ca=Authority().pem)
    assert other.held() == []


async def test_one_that_never_ends_is_given_up(store: Store) -> None:
    async def serve(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(DATA)[:-5])
        await writer.drain()
        await reader.read()

    async with serving(serve) as port:
        with pytest.raises(DeadlineError):
            await get(store, f"http://{LOOPBACK}:{port}/", timeout=0.5)
    assert store.held() == []
