"""Whole files of a session over HTTP: down in parts, up whole or in pieces, and nothing that is not what was meant."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fleet import Fleet, expect
from protocol.frames import LengthPrefixed, decode

MESSAGES = {"Accept": "application/vnd.outrider.stream"}


def opened(fleet: Fleet, tier: str = "admin", **more: Any) -> str:
    body = {"agent": "host-1", "kind": "files", "tier": tier, "reason": "T-7", **more}
    return f"/api/v1/sessions/{expect(fleet.api.post('/api/v1/sessions', json=body), 201)['id']}"


@pytest.fixture
def session(host: Fleet) -> Iterator[str]:
    made = opened(host)
    yield made
    host.api.post(f"{made}/close", json={})


def get(fleet: Fleet, session: str, path: Path | str, **headers: str) -> httpx2.Response:
    return fleet.api.get(f"{session}/file", params={"path": str(path)}, headers=headers)


def put(fleet: Fleet, session: str, path: Path | str, data: Any, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return fleet.api.put(f"{session}/file", params={"path": str(path)}, content=data, headers=named)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 700_000, 5_000_000])
def test_a_file_goes_up_and_comes_down_as_it_was(host: Fleet, session: str, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    done = put(host, session, tmp_path / "x", data)
    assert expect(done, 201) == {
        "created": True,
        "old_hash": None,
        "new_hash": sha256(data),
        "journal": done.json()["journal"],
        "no_undo": None,
    }
    assert (tmp_path / "x").read_bytes() == data
    back = get(host, session, tmp_path / "x")
    assert back.content == data
    if size <= 1 << 20:
        assert back.headers["etag"] == f'"sha256:{sha256(data)}"'


@pytest.mark.parametrize(
    ("asked", "status", "first", "last", "told"),
    [
        ("bytes=0-9", 206, 0, 10, "bytes 0-9/1000"), ("bytes=990-", 206, 990, 1000, "bytes 990-999/1000"),
        ("bytes=-5", 206, 995, 1000, "bytes 995-999/1000"), ("bytes=0-99999", 206, 0, 1000, "bytes 0-999/1000"),
        ("bytes=1000-", 416, 0, 0, "bytes */1000"), ("bytes=9-1", 200, 0, 1000, None),
        ("lines=1-2", 200, 0, 1000, None),
    ],
)  # fmt: skip
def test_a_part_is_what_was_asked_for(
    host: Fleet, session: str, tmp_path: Path, asked: str, status: int, first: int, last: int, told: str | None
) -> None:
    data = os.urandom(1000)
    (tmp_path / "x").write_bytes(data)
    answer = get(host, session, tmp_path / "x", Range=asked)
    assert (answer.status_code, answer.content, answer.headers.get("content-range")) == (status, data[first:last], told)


def test_a_save_over_what_somebody_else_wrote_is_refused(host: Fleet, session: str, tmp_path: Path) -> None:
    """Compare and swap: the loser must hear of it, and what is there must stay."""
    path = tmp_path / "x"
    path.write_bytes(b"one")
    tag = get(host, session, path).headers["etag"]
    assert get(host, session, path, **{"If-None-Match": tag}).status_code == 304
    path.write_bytes(b"two")
    problem = expect(put(host, session, path, b"three", If_Match=tag), 409)
    assert problem["code"] == "conflict"
    assert path.read_bytes() == b"two"
    fresh = get(host, session, path).headers["etag"]
    assert expect(put(host, session, path, b"three", If_Match=fresh), 200)["old_hash"] == sha256(b"two")
    assert expect(put(host, session, path, b"four", If_None_Match="*"), 409)["code"] == "conflict"


def test_damaged_bytes_change_nothing(host: Fleet, session: str, tmp_path: Path) -> None:
    wrong = base64.b64encode(hashlib.sha256(b"meant").digest()).decode()
    problem = expect(put(host, session, tmp_path / "x", b"sent", Content_Digest=f"sha-256=:{wrong}:"), 409)
    assert "not what was meant" in problem["detail"]
    host.wait_for("what came to be gone", lambda: not list(tmp_path.iterdir()))  # after the answer


def test_an_upload_goes_on_where_it_stood(host: Fleet, session: str, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    begun = expect(host.api.post(f"{session}/uploads", json={"path": str(tmp_path / "x"), "mode": "0600"}), 201)
    where = f"{session}/uploads/{begun['upload']}"
    half = expect(host.api.put(where, params={"offset": 0}, content=data[:1_500_000]), 200)
    assert half == {"bytes": 1_500_000, "sha256": sha256(data[:1_500_000])}
    assert "at 1500000" in expect(host.api.put(where, params={"offset": 7}, content=b"x"), 409)["detail"]
    assert expect(host.api.get(where), 200) == half
    expect(host.api.put(where, params={"offset": 1_500_000}, content=data[1_500_000:]), 200)
    assert not (tmp_path / "x").exists()
    assert expect(host.api.post(f"{where}/finish", json={"sha256": sha256(data)}), 200)["new_hash"] == sha256(data)
    assert (tmp_path / "x").read_bytes() == data
    assert (tmp_path / "x").stat().st_mode & 0o7777 == 0o600
    expect(host.api.get(where), 404)


def test_an_upload_that_is_dropped_or_left_leaves_nothing(host: Fleet, tmp_path: Path) -> None:
    session = opened(host)
    for _ in range(2):
        begun = expect(host.api.post(f"{session}/uploads", json={"path": str(tmp_path / "x")}), 201)
        expect(host.api.put(f"{session}/uploads/{begun['upload']}", content=b"some"), 200)
    assert host.api.delete(f"{session}/uploads/{begun['upload']}").status_code == 204
    assert len(list(tmp_path.iterdir())) == 1
    expect(host.api.post(f"{session}/close", json={}), 200)
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_goes_away_in_the_middle_leaves_what_was_there(host: Fleet, session: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")

    def broken() -> Iterator[bytes]:
        yield bytes(300_000)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put(host, session, tmp_path / "x", broken())
    host.wait_for("the rest to be gone", lambda: [each.name for each in tmp_path.iterdir()] == ["x"])
    assert (tmp_path / "x").read_bytes() == b"old"


def test_messages_tell_the_hash_of_what_was_sent_and_whether_it_changed(
    host: Fleet, session: str, tmp_path: Path
) -> None:
    data = os.urandom(2_000_000)
    (tmp_path / "x").write_bytes(data)
    answer = host.api.get(f"{session}/file", params={"path": str(tmp_path / "x")}, headers=MESSAGES)
    first, *pieces, last = [decode(frame) for frame in LengthPrefixed().feed(answer.content)]
    assert (first[0], first[1]["size"], first[1]["length"]) == ("file", len(data), len(data))
    assert b"".join(piece for _, piece in pieces) == data
    assert last == ["end", {"bytes": len(data), "changed": False, "sha256": sha256(data)}]


def test_a_name_that_is_no_utf_8_is_reached(host: Fleet, session: str, tmp_path: Path) -> None:
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    query = "".join(f"%{byte:02x}" for byte in odd)
    expect(host.api.put(f"{session}/file?path={query}", content=b"x"), 201)
    assert os.listdir(os.fsencode(tmp_path)) == [b"caf\xe9"]
    assert host.api.get(f"{session}/file?path={query}").content == b"x"
    listed = host.api.post(f"{session}/stream", json={"call": "fs.walk", "arguments": {"root": str(tmp_path)}})
    assert base64.b64encode(b"caf\xe9").decode() in listed.text


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/no/such", 404, "not_found"), ("/etc", 422, "invalid_argument"), ("etc", 422, "invalid_argument"),
        ("/etc/shadow", 403, "denied"), ("", 422, "invalid_argument"), ("/" + "x" * 300, 422, "invalid_argument"),
        ("/" + "x/" * 3000, 422, "invalid_argument"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(host: Fleet, session: str, path: str, status: int, code: str) -> None:
    assert expect(get(host, session, path), status)["code"] == code


def test_what_may_not_be_written_is_refused_while_it_comes(host: Fleet, session: str) -> None:
    """Whoever is refused must hear it, though most of the body was not sent yet."""
    assert expect(put(host, session, "/etc/shadow", bytes(20_000_000)), 403)["code"] == "denied"
    assert expect(put(host, session, "/no/such/x", b""), 404)["code"] == "not_found"
    assert expect(put(host, session, "/etc", b""), 422)["code"] == "invalid_argument"


@pytest.mark.parametrize(
    "headers", [{"If_Match": "*"}, {"If_Match": '"other"'}, {"If_None_Match": '"x"'}, {"Content_Digest": "md5=:xx:"}]
)
def test_conditions_that_cannot_be_held_are_refused(
    host: Fleet, session: str, tmp_path: Path, headers: dict[str, str]
) -> None:
    expect(put(host, session, tmp_path / "x", b"x", **headers), 422)
    assert not (tmp_path / "x").exists()


def test_a_body_without_bound_is_taken_only_where_it_streams(host: Fleet, session: str) -> None:
    expect(host.api.post(f"{session}/calls", content=bytes(13 << 20)), 413)


def test_files_in_proc_are_read_to_their_end(host: Fleet, session: str) -> None:
    """Their size says 0, which is not what is in them."""
    assert b"MemTotal" in get(host, session, "/proc/meminfo").content


def test_a_session_that_needs_a_reason_says_so(host: Fleet) -> None:
    body = {"agent": "host-1", "kind": "files", "tier": "operate", "reason": " "}
    problem = expect(host.api.post("/api/v1/sessions", json=body), 422)
    assert problem["parameter"] == "reason"


def test_those_who_watch_see_records_and_what_is_edited(host: Fleet, tmp_path: Path) -> None:
    session = opened(host)
    put(host, session, tmp_path / "x", b"x")
    told = {"path": str(tmp_path / "x"), "text": "half a wo", "cursor": [1, 10]}
    assert host.api.put(f"{session}/editing", json=told).status_code == 204
    seen = []
    with host.api.stream("GET", f"{session}/events") as answer:
        for line in answer.iter_lines():
            seen.append(line)
            if "half a wo" in line:
                expect(host.api.post(f"{session}/close", json={}), 200)
    text = "\n".join(seen)
    assert text.index('"session.open"') < text.index('"fs.write_stream"') < text.index('"session.close"')
    assert '"cursor": [1, 10]' in text
    assert "event: end" in text
    expect(host.api.put(f"{session}/editing", json=told), 409)


@pytest.mark.parametrize("kind", ["files", "command"])
def test_the_agents_own_files_are_out_of_reach_at_every_tier(host: Fleet, kind: str, tmp_path: Path) -> None:
    """The owner's ceiling is as high as whoever may write it; by a call of tier admin everybody might."""
    session = opened(host, kind=kind)
    state = host.directory / "host-1"
    before = {path: path.read_bytes() for path in (state / "ceiling.yaml", state / "identity.key")}
    (tmp_path / "way").symlink_to(state)
    for path in (*before, tmp_path / "way" / "ceiling.yaml", state / "frozen.json"):
        assert get(host, session, path).status_code == 403, path
        assert put(host, session, path, b"highest_tier: admin").status_code == 403, path
    for number, path in enumerate(before):  # anybody may have made those, on a host that lets everybody link
        (tmp_path / f"hard-{number}").hardlink_to(path)
        assert get(host, session, tmp_path / f"hard-{number}").status_code == 403, path
        assert put(host, session, tmp_path / f"hard-{number}", b"highest_tier: admin").status_code == 403, path
    away = str(state.parent) + "-2"
    for call, arguments in (
        ("fs.rename", {"source": str(state), "path": away}),
        ("fs.rename", {"source": str(state.parent), "path": away}),
        ("fs.link", {"source": str(state / "ceiling.yaml"), "path": str(tmp_path / "hard")}),
        ("fs.unlink", {"path": str(state / "ceiling.yaml")}),
        ("fs.remove", {"path": str(state), "recursive": True}),
        ("fs.remove", {"path": str(state.parent), "recursive": True}),
        ("fs.chmod", {"path": str(state / "ceiling.yaml"), "mode": "0666"}),
    ):  # fmt: skip
        answer = host.api.post(f"{session}/calls", json={"call": call, "arguments": arguments})
        assert answer.status_code == 403, (call, answer.text)
        assert "the agent's own files: deny" in answer.text
    for path, content in before.items():
        assert path.read_bytes() == content
    assert not (state / "frozen.json").exists()
    assert put(host, session, tmp_path / "else", b"x").status_code == 201
    host.api.post(f"{session}/close", json={})
