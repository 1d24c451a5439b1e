"""What the battery needs from pytest: one set of sandboxes, one place for each technique, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from battery import Battery
from place import Place


def _children() -> dict[int, str]:
    found = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that ended meanwhile has no children
            for pid in (task / "children").read_text().split():
                with contextlib.suppress(OSError):  # nor does it matter what a process was that is gone
                    found[int(pid)] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(bytes(1), b" ").decode()
    return found


@pytest.fixture(autouse=True)
def no_leaked_children() -> Iterator[None]:
    """As everywhere, but zygotes live as long as the battery, and are replaced while it runs."""
    before = set(_children())
    yield
    own = Path("/proc/self/cmdline").read_bytes().replace(bytes(1), b" ").decode()  # of a zygote not yet exec'ed
    left = {pid: line for pid, line in _children().items() if pid not in before}
    left = {pid: line for pid, line in left.items() if "sandbox.seed" not in line and line not in (own, "")}
    assert not left, f"left running: {left}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def battery() -> AsyncIterator[Battery]:
    """The sandboxes, real and weakened."""
    before = set(_children())
    kept = Battery()
    yield kept
    await kept.close()
    left = {pid: line for pid, line in _children().items() if pid not in before}
    assert not left, f"left running: {left}"


@pytest.fixture(scope="module")
def reachable_tmp() -> Iterator[Path]:
    """A directory that other users can walk to. Pytest's own are closed to them, again and again while it runs."""
    with tempfile.TemporaryDirectory(prefix="outrider-escape-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest_asyncio.fixture(loop_scope="module")
async def place(reachable_tmp: Path, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """The canaries of one technique, and a listener that tells its token to whoever connects."""
    names = request.node.name.translate(str.maketrans("[]/", "___"))
    root = reachable_tmp / names
    root.mkdir()
    told: list[bytes] = []

    async def tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(told[0])
        writer.close()

    server = await asyncio.start_server(tell, "127.0.0.1", 0)
    made = Place(root, server.sockets[0].getsockname()[1])
    told.append(made.token.encode())
    made.make()
    yield made
    server.close()
    await server.wait_closed()
