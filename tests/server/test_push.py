"""``git push`` without a socket: what a hostile client can send, that it is bounded, and that nothing is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import packs
import pytest
from headquarters import Headquarters, expect, plain, refused, script
from packs import BLOB, COMMIT, REF_DELTA, TREE, Pushed

from protocol.bundle import Bundle
from server import git_program, push_lines, quarantine
from server.api import git, push

PATH = f"{git.PATH}/git-receive-pack"
NAME = "checks/disk"
REFERENCE = f"refs/heads/review/{NAME}"
pytestmark = pytest.mark.skipif(git_program.find() is None, reason="git is not installed here")


def command(commit: str, reference: str = REFERENCE, *, before: str = push_lines.NOTHING) -> bytes:
    return push_lines.packet(f"{before} {commit} {reference}\0report-status side-band-64k".encode()) + b"0000"


async def send(server: Headquarters, body: Any, *, role: str = "author", **headers: str) -> httpx2.Response:
    given = {"Content-Type": "application/x-git-receive-pack-request", **server.authorization(role), **headers}
    return await server.api.post(PATH, content=body, headers=given)


def told(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.content.decode("utf-8", "replace")


def statement(server: Headquarters, bundle: Bundle, *, by: str = "ann", **changes: Any) -> bytes:
    about = server.about(bundle) | {"tier": bundle.manifest.tier.label}
    return json.dumps(plain(server.world.publication(by, **(about | changes)))).encode()


def files(server: Headquarters, bundle: Bundle | None = None, **changes: Any) -> dict[str, bytes]:
    made = bundle or script()
    return {**made.files, ".publication.json": statement(server, made, **changes)}


def good(server: Headquarters, bundle: Bundle | None = None, **changes: Any) -> bytes:
    made = Pushed()
    top = made.top(made.folder(files(server, bundle, **changes)))
    return command(top) + made.pack()


async def nothing_left(server: Headquarters) -> None:
    """Nothing is published, and nothing lies about."""
    assert await server.pages("/scripts") == []
    assert server.core.repository.references() == {}
    folder = server.directory / quarantine.FOLDER
    assert not folder.exists() or list(folder.iterdir()) == []


async def test_what_is_pushed_is_published(server: Headquarters) -> None:
    bundle = script("return 7\n", files={"lib.lua": b"return 1\n"})
    assert f"published {NAME} 1.2.0 (observe), waiting for review" in told(await send(server, good(server, bundle)))
    (listed,) = await server.pages("/scripts")
    assert (listed["digest"], listed["status"]) == (bundle.digest, "waiting")
    shown = await server.get("/scripts/show", name=NAME)
    assert set(shown["files"]) == {"main.lua", "manifest.yaml", "lib.lua"}, "and no statement"
    record = (await server.records(call="script.publish"))[-1]
    assert (record["principal"], record["arguments"]["digest"]) == ("author", bundle.digest)
    assert list(server.core.repository.references()) == ["refs/heads/main", f"refs/tags/{NAME}@1.2.0"]


async def test_git_asks_first_whether_it_may(server: Headquarters) -> None:
    assert told(await send(server, b"0000")) == ""
    told_refs = await server.api.get(
        f"{git.PATH}/info/refs?service=git-receive-pack", headers=server.authorization("author")
    )
    assert "capabilities^{}\0report-status side-band-64k" in told_refs.text
    await send(server, good(server))
    told_refs = await server.api.get(
        f"{git.PATH}/info/refs?service=git-receive-pack", headers=server.authorization("author")
    )
    assert "refs/heads/main\0report-status" in told_refs.text
    assert "delete-refs" not in told_refs.text


@pytest.mark.parametrize("role", ["viewer", "auditor", "operator", "support", "reviewer", "approver", "moderator"])
async def test_only_who_may_publish_may_push(server: Headquarters, role: str) -> None:
    refused(await send(server, good(server), role=role), 403, "denied")
    answer = await server.api.get(f"{git.PATH}/info/refs?service=git-receive-pack", headers=server.authorization(role))
    refused(answer, 403, "denied")
    await nothing_left(server)


async def test_a_stranger_is_asked_for_a_token(server: Headquarters) -> None:
    headers = {"Content-Type": "application/x-git-receive-pack-request"}
    answer = await server.api.post(PATH, content=good(server), headers=headers)
    refused(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422), (b"00", 422), (b"zzzz", 422), (b"0004", 422), (b"0001", 422), (b"ffff", 413), (b"0010abc", 422),
        (b"000dnonsense\n0000", 422), (command("0" * 39 + "1")[:-4], 422),
        (push_lines.packet(b"shallow " + b"1" * 40) + b"0000", 422),
        (push_lines.packet(b"push-cert\0") + b"0000", 422),
        (b"".join(push_lines.packet(f"{'0' * 40} {'1' * 40} refs/x/{n}".encode()) for n in range(17)), 413),
    ],
)  # fmt: skip
async def test_what_is_no_push_is_refused(server: Headquarters, body: bytes, status: int) -> None:
    assert (await send(server, body)).status_code == status
    await nothing_left(server)


async def test_the_form_of_a_request(server: Headquarters) -> None:
    refused(await send(server, good(server), **{"Content-Type": "text/plain"}), 422, "invalid_argument")
    refused(await send(server, good(server), **{"Content-Encoding": "gzip"}), 422, "invalid_argument")
    await nothing_left(server)


@pytest.mark.parametrize(
    ("reference", "before", "after"),
    [
        ("refs/heads/main", "0" * 40, None), ("refs/tags/checks/disk@9.9.9", "0" * 40, None),
        ("refs/heads/review/../main", "0" * 40, None), ("refs/heads/review/checks", "0" * 40, None),
        ("refs/heads/review/checks//disk", "0" * 40, None), ("refs/heads/review/checks/Disk", "0" * 40, None),
        (REFERENCE, "1" * 40, None), (REFERENCE, "0" * 40, "0" * 40),
        ("refs/heads/review/checks/other", "0" * 40, None), ("refs/heads/review/" + "a/" * 120 + "b", "0" * 40, None),
    ],
)  # fmt: skip
async def test_no_other_reference_is_made_or_moved(
    server: Headquarters, reference: str, before: str, after: str | None
) -> None:
    made = Pushed()
    top = made.top(made.folder(files(server)))
    answer = told(await send(server, command(after or top, reference, before=before) + made.pack()))
    assert f"ng {reference} " in answer
    await nothing_left(server)


async def test_two_at_once_are_both_refused(server: Headquarters) -> None:
    made = Pushed()
    top = made.top(made.folder(files(server)))
    both = command(top)[:-4] + push_lines.packet(f"{'0' * 40} {top} {REFERENCE}-2".encode()) + b"0000"
    answer = told(await send(server, both + made.pack()))
    assert answer.count("ng refs/heads/review/") == 2
    assert "one script at a time" in answer
    await nothing_left(server)


# whose word counts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "changes", "reason"),
    [
        ("stranger", {}, "signed by 0 of the 1 known keys"), ("bob", {}, ""), ("dan", {}, ""),
        ("ann", {"digest": "sha256:" + "0" * 64}, "the bundle is sha256:"),
        ("ann", {"version": "1.2.1"}, "the manifest says"),
        ("ann", {"tier": "admin"}, "the manifest says"),
    ],
)  # fmt: skip
async def test_only_the_authors_statement_over_the_digest_counts(
    server: Headquarters, by: str, changes: dict[str, str], reason: str
) -> None:
    """Whoever pushes, and with whatever token: the same is asked as of one who publishes."""
    answer = told(await send(server, good(server, by=by, **changes), role="admin"))
    assert f"ng {REFERENCE} " in answer
    assert reason in answer
    await nothing_left(server)


async def test_a_refusal_of_trust_is_on_record(server: Headquarters) -> None:
    told(await send(server, good(server, by="stranger")))
    (record,) = await server.records(kind="refusal")
    assert (record["call"], record["principal"], record["outcome"]) == (f"POST {PATH}", "author", "untrusted")
    assert record["arguments"]["script"] == NAME


async def test_a_version_cannot_be_pushed_with_other_files(server: Headquarters) -> None:
    expect(await server.publish(script("return 1\n")), 201)
    answer = told(await send(server, good(server, script("return 2\n"))))
    assert f"ng {REFERENCE} {NAME} 1.2.0 is published with other files" in answer
    assert (await server.get("/scripts/show", name=NAME))["digest"] == script("return 1\n").digest


# what a tree may hold -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "name", "reason"),
    [
        ("120000", "link.lua", "symbolic link"), ("160000", "sub", "submodule"), ("100644", "..", ""),
        ("100644", ".git", ""), ("40000", ".git", ""), ("100644", "MAIN.LUA", "differ only in case"),
        ("100644", "a/b", ""), ("100644", "git~1", ""), ("100644", "x\ny.lua", "control or invisible"),
        ("100644", "main.lua", ""), ("20666", "tty", ""),
    ],
)  # fmt: skip
async def test_tricks_of_trees(server: Headquarters, mode: str, name: str, reason: str) -> None:
    made = Pushed()
    listed = [("100644", each, made.add(BLOB, content)) for each, content in files(server).items()]
    target = made.add(TREE, b"") if mode == "40000" else made.add(BLOB, b"/etc/passwd")
    top = made.top(made.add(TREE, packs.tree(sorted([*listed, (mode, name, target)], key=lambda each: each[1]))))
    answer = told(await send(server, command(top) + made.pack()))
    assert f"ng {REFERENCE} " in answer, answer
    assert reason in answer
    await nothing_left(server)


async def test_a_tree_that_holds_itself_often(server: Headquarters) -> None:
    """Ten levels of ten are ten thousand million files, out of a pack of a kilobyte."""
    made = Pushed()
    inner = made.folder(files(server))
    for _ in range(10):
        inner = made.add(TREE, packs.tree(("40000", f"d{number}", inner) for number in range(10)))
    answer = told(await send(server, command(made.top(inner)) + made.pack()))
    assert "holds too much" in answer
    await nothing_left(server)


async def test_more_than_a_bundle_holds(server: Headquarters) -> None:
    for more in ({f"f{n}.lua": b"" for n in range(300)}, {"big.bin": bytes(5 << 20)}):
        made = Pushed()
        top = made.top(made.folder({**files(server), **more}))
        assert "holds over 256 files or 4194304 bytes" in told(await send(server, command(top) + made.pack()))
    await nothing_left(server)


# hostile packs --------------------------------------------------------------------------------------------------------


def spoilt(server: Headquarters) -> dict[str, bytes]:
    """Return pushes whose pack is not one."""
    made = Pushed()
    top = made.top(made.folder(files(server)))
    whole = made.pack()
    blob = Pushed()
    return {
        "no pack": command(top), "half": command(top) + whole[: len(whole) // 2],
        "wrong sum": command(top) + whole[:-1] + bytes([whole[-1] ^ 1]),
        "more behind": command(top) + whole + b"x" * 100, "not the commit": command("1" * 40) + whole,
        "a blob": command(blob.add(BLOB, b"x")) + blob.pack(),
        "count too low": command(top) + packs.pack(made.entries, count=1),
        "count too high": command(top) + packs.pack(made.entries, count=9),
        "a missing tree": command(top) + packs.pack(made.entries[-1:]),
        "size lies": command(top) + packs.pack([*made.entries[:-1], packs.entry(COMMIT, b"short", size=1 << 40)]),
        "version 9": command(top) + b"PACK\0\0\0\x09" + whole[8:], "no zlib": command(top) + whole[:13] + b"\xff" * 200,
        "a broken commit": command(packs.identity(COMMIT, b"tree x")) + packs.pack([packs.entry(COMMIT, b"tree x")]),
        "an unknown base": command(top) + packs.pack([packs.entry(REF_DELTA, b"\x01\x01\x01x", base="7" * 40)]),
    }  # fmt: skip


KINDS = [
    "no pack", "half", "wrong sum", "not the commit", "a blob", "count too low", "count too high", "a missing tree",
    "size lies", "version 9", "no zlib", "a broken commit", "an unknown base",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_hostile_packs(server: Headquarters, kind: str) -> None:
    answer = told(await send(server, spoilt(server)[kind]))
    assert f"ng {REFERENCE} " in answer, answer
    await nothing_left(server)


async def test_too_many_objects(server: Headquarters) -> None:
    body = b"PACK" + (2).to_bytes(4, "big") + (quarantine.MAX_OBJECTS + 1).to_bytes(4, "big") + bytes(100)
    assert "over 20000" in told(await send(server, command("1" * 40) + body))


async def test_too_many_bytes(server: Headquarters) -> None:
    body = command("1" * 40) + packs.pack([packs.entry(BLOB, bytes(10))]) + bytes(13 << 20)
    refused(await send(server, body), 413, "too_large")
    await nothing_left(server)


@pytest.mark.timeout(120)
async def test_a_delta_that_unpacks_to_more_than_memory(server: Headquarters) -> None:
    """A few bytes that say: copy the base again and again. Git needs the room, and has not more than it is given."""
    base = bytes(1 << 20)
    size = 4 << 30
    once = b"\xf0" + (1 << 20).to_bytes(3, "little")  # copy so many bytes from the beginning of the base
    delta = packs.varint(len(base)) + packs.varint(size) + once * (size >> 20)
    made = packs.pack([packs.entry(BLOB, base), packs.entry(REF_DELTA, delta, base=packs.identity(BLOB, base))])
    assert len(made) < 64 << 10
    answer = told(await send(server, command("1" * 40) + made))
    assert "git does not take the push" in answer
    await nothing_left(server)


@pytest.mark.timeout(180)
async def test_deltas_that_take_more_time_than_there_is(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_program, "_LIMITED", git_program._LIMITED.replace("ulimit -t 20", "ulimit -t 1"))
    base = bytes(1 << 20)
    size = 200 << 20
    once = b"\xf0" + (1 << 20).to_bytes(3, "little")
    deltas = []
    for number in range(2_000):
        delta = packs.varint(len(base)) + packs.varint(size + 2) + once * (size >> 20)
        delta += b"\x02" + number.to_bytes(2, "big")
        deltas.append(packs.entry(REF_DELTA, delta, base=packs.identity(BLOB, base)))
    answer = told(await send(server, command("1" * 40) + packs.pack([packs.entry(BLOB, base), *deltas])))
    assert "more time or memory than a script is worth" in answer
    await nothing_left(server)


async def test_a_long_chain_of_deltas_is_read(server: Headquarters) -> None:
    """Each rests on the one before; it is bounded by the number of objects, and neither stack nor time run out."""
    data, entries = b"-- 0\n" + bytes(64), []
    entries.append(packs.entry(BLOB, data))
    for number in range(1, 5_000):
        after = b"-- %d\n" % number + data[data.index(b"\n") + 1 :]
        line, keep = after[: after.index(b"\n") + 1], len(data) - data.index(b"\n") - 1
        delta = packs.varint(len(data)) + packs.varint(len(after)) + bytes([len(line)]) + line
        delta += bytes([0x91, data.index(b"\n") + 1, keep])
        entries.append(packs.entry(REF_DELTA, delta, base=packs.identity(BLOB, data)))
        data = after
    made = Pushed()
    inner = files(server, script(files={"long.bin": data}))
    top = made.top(made.folder(inner))
    last = packs.entry(BLOB, data)
    kept = [each for each in made.entries if each != last]
    answer = told(await send(server, command(top) + packs.pack([*entries, *kept])))
    assert f"ok {REFERENCE}" in answer, answer


# bounds of the server -------------------------------------------------------------------------------------------------


async def test_so_many_pushes_at_once(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def locked(self) -> bool:
            return True

    monkeypatch.setattr(push, "_turns", Full())
    refused(await send(server, good(server)), 503, "unavailable")


async def test_one_person_does_not_take_all_pushes(server: Headquarters) -> None:
    """Who sends slowly holds one turn, and whoever else pushes has the other."""
    began, goes_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield good(server)[:20]
        began.set()
        await goes_on.wait()

    first = asyncio.create_task(send(server, slow()))
    await began.wait()
    told_so = refused(await send(server, good(server)), 503, "unavailable")
    assert "of yours" in told_so["detail"]
    assert f"ok {REFERENCE}" in told(await send(server, good(server), role="admin"))
    goes_on.set()
    refused(await first, 422, "invalid_argument")
    assert not push._under_way


async def test_a_push_that_never_ends(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "MAX_PUSH_S", 0.0)
    refused(await send(server, good(server)), 504, "deadline")
    await nothing_left(server)


async def test_without_git_it_is_said(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_program, "find", lambda: None)
    refused(await send(server, good(server)), 404, "not_found")


async def test_nothing_that_is_not_asked_for_is_kept(server: Headquarters) -> None:
    """What else the commit holds is neither in the repository nor anywhere else."""
    made = Pushed()
    other = made.add(BLOB, b"somebody's secret")
    inner = made.folder(files(server))
    root = made.add(TREE, packs.tree([("100644", "other.txt", other), ("40000", "script", inner)]))
    assert f"ok {REFERENCE}" in told(await send(server, command(made.top(root)) + made.pack()))
    for folder in (server.config.repository, server.directory):
        for path in folder.rglob("*"):
            assert other[2:] not in path.name
