"""The client of the HTTP API, against a server that answers as told."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from loopback import Answer, Answered, Asked, Loopback, answer, loopback, of_json

from cli import api as client
from cli.api import Api, UnreachableError
from cli.failures import exit_status
from cli.settings import Context
from protocol.errors import (
    DOORS,
    DeadlineError,
    OutriderError,
    ProtocolError,
    TooLargeError,
    TrustError,
)


@contextmanager
def speaking(told: Answer | Answered, token: str | None = "ort_secret") -> Iterator[tuple[Api, Loopback]]:
    keys = iter(f"key-{number}" for number in range(100))
    with (
        loopback(told if callable(told) else lambda _asked: told) as server,
        Api(Context(server.url, token), new_key=lambda: next(keys)) as made,
    ):
        yield made, server


def problem(code: str, status: int, **more: Any) -> bytes:
    body = {"type": f"urn:outrider:error:{code}", "code": code, "title": "T", "detail": "what happened", **more}
    return answer(status, json.dumps(body).encode(), content_type="application/problem+json")


def test_requests_carry_token_path_and_query() -> None:
    with speaking(of_json({"ok": True})) as (made, server):
        assert made.get("agents", name="web-*", label=None, old=False, both=["a b", "c&d"]) == {"ok": True}
        assert made.get("/readyz") == {"ok": True}
    first, second = server.asked
    assert first.target == "/api/v1/agents?name=web-%2A&old=false&both=a%20b&both=c%26d"
    assert first.headers["authorization"] == "Bearer ort_secret"
    assert second.target == "/readyz"


def test_no_token_no_header() -> None:
    with speaking(of_json({}), token=None) as (made, server):
        made.get("me")
    assert "authorization" not in server.asked[0].headers


def test_every_post_has_its_own_idempotency_key() -> None:
    """A start or an approval that is sent again by a retry must not happen twice."""
    with speaking(of_json({}, 201)) as (made, server):
        made.post("runs", {"a": 1})
        made.post("runs", {"a": 1})
        own = Api(made.context)
        own.post("runs", {})
        own.post("runs", {})
    keys = [asked.headers["idempotency-key"] for asked in server.asked]
    assert keys[:2] == ["key-0", "key-1"]
    assert len(set(keys)) == 4
    assert json.loads(server.asked[0].body) == {"a": 1}


@pytest.mark.parametrize("text", ["ü", "\N{PILE OF POO}", "\ud800"])
def test_a_text_arrives_as_it_is(text: str) -> None:
    """One that no UTF-8 can hold is for the server to refuse."""
    with speaking(of_json({})) as (made, server):
        made.put("x", {"text": text})
    assert json.loads(server.asked[0].body) == {"text": text}


@pytest.mark.parametrize("code", sorted(DOORS))
def test_a_refusal_by_the_server_exits_like_one_made_here(code: str) -> None:
    told = problem(code, DOORS[code].http_status, reason="self_approval", where="m.yaml:3")
    with speaking(told) as (made, _), pytest.raises(OutriderError) as caught:
        made.get("anything")
    assert caught.value.code == code
    assert exit_status(caught.value) == DOORS[code].exit_status
    assert "what happened" in caught.value.message


def test_the_reason_of_a_refusal_is_kept() -> None:
    told = problem("untrusted", 403, reason="self_approval")
    with speaking(told) as (made, _), pytest.raises(TrustError) as caught:
        made.post("reviews/r1/approve", {})
    assert caught.value.reason == "self_approval"


@pytest.mark.parametrize(
    "told",
    [
        answer(502, b"<html>bad gateway</html>"),
        of_json({"detail": "Not Found"}, 404),
        of_json(["no", "problem"], 500),
        answer(302, location="https://elsewhere.example"),
        answer(200, b"hello"),
    ],
    ids=["a proxy", "not found", "a list", "a redirect", "words"],
)
def test_what_does_not_answer_like_an_outrider_server_is_said(told: bytes) -> None:
    """A token is not carried along a redirect, and a proxy's page is not taken for an answer."""
    with speaking(told) as (made, _), pytest.raises(ProtocolError, match="Outrider server"):
        made.get("me")


def test_empty_answer_is_none() -> None:
    with speaking(answer(204)) as (made, _):
        assert made.delete("schedules/s1") is None


def test_network_failures_have_names() -> None:
    with speaking(b"rubbish\r\n\r\n") as (made, server), pytest.raises(UnreachableError, match=server.url):
        made.get("me")
    with pytest.raises(UnreachableError, match=f"no server answers at {server.url}"):
        made.get("me")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DeadlineError, match=url):
            Api(Context(url)).sent("PUT", "/x", [b"x"], {}, silent_s=0.05)


def test_an_answer_is_not_read_beyond_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 1000)

    def endless() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        while True:
            yield b"10000\r\n" + b"x" * 65536 + b"\r\n"

    with speaking(lambda _asked: endless()) as (made, server):
        with pytest.raises(TooLargeError):
            made.get("me")
        assert server.sent_bytes < 64 << 20, "what the kernel takes, and little more"


def paged(total: int) -> Answer:
    def told(asked: Asked) -> bytes:
        start = int(asked.query.get("cursor") or 0)
        limit = int(asked.query["limit"])
        items = [{"n": number} for number in range(start, min(start + limit, total))]
        following = str(start + limit) if start + limit < total else None
        return of_json({"items": items, "next": following})

    return told


@pytest.mark.parametrize(("total", "limit", "expected"), [(0, None, 0), (250, None, 250), (250, 120, 120), (5, 100, 5)])
def test_pages_are_walked_up_to_the_limit(total: int, limit: int | None, expected: int) -> None:
    with speaking(paged(total)) as (made, server):
        found = list(made.items("agents", limit=limit, name="web"))
    assert [item["n"] for item in found] == list(range(expected))
    assert all(asked.query["name"] == "web" for asked in server.asked)
    assert len(server.asked) <= 1 + expected // client.PAGE


def test_a_page_that_is_none_is_refused() -> None:
    with speaking(of_json([1, 2])) as (made, _), pytest.raises(ProtocolError, match="not a page"):
        list(made.items("agents"))


def events(*parts: bytes) -> list[Any]:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    with speaking(head + body + b"0\r\n\r\n") as (made, _):
        return list(made.events("records/tail"))


def test_events_whatever_way_the_bytes_are_cut() -> None:
    text = b': hello\r\n\r\nid: a:1\r\ndata: {"n": 1}\r\n\r\nevent: x\ndata: {"n":\ndata: 2}\n\n: beat\n\ndata: {"n": 3}\n\n'  # noqa: E501 - one literal stream
    for size in (1, 2, 7, len(text)):
        parts = [text[at : at + size] for at in range(0, len(text), size)]
        assert [event["n"] for event in events(*parts)] == [1, 2, 3]


def test_an_event_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_EVENT_BYTES", 100)
    with pytest.raises(TooLargeError):
        events(*[b"data: " + b"x" * 60] * 3)


def test_an_event_that_is_not_json_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not JSON"):
        events(b"data: {\n\n")


def test_a_refused_stream_is_an_error() -> None:
    with speaking(problem("unauthenticated", 401)) as (made, _), pytest.raises(OutriderError) as caught:
        list(made.events("records/tail"))
    assert caught.value.code == "unauthenticated"


def test_https_takes_the_roots_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A company's own authority is known to the system, not to a list inside a library."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "our own authority")])
    key, now = Ed25519PrivateKey.generate(), datetime.now(UTC)
    authority = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
    )
    roots = tmp_path / "roots.pem"
    roots.write_bytes(authority.public_bytes(Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    made = client._roots()
    assert [entry["subject"] for entry in made.get_ca_certs()] == [((("commonName", "our own authority"),),)]
    assert made.verify_mode is ssl.CERT_REQUIRED
    assert made.check_hostname is True


# answers that go on ---------------------------------------------------------------------------------------------------


def lines(*pieces: bytes, is_whole: bool = True) -> list[bytes]:
    head = b"HTTP/1.1 202 X\r\ntransfer-encoding: chunked\r\ncontent-type: application/x-ndjson\r\n\r\n"
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    return [head, *chunks, *([b"0\r\n\r\n"] if is_whole else [])]


def test_an_answer_that_goes_on_comes_line_by_line_without_the_empty_ones() -> None:
    with speaking(lambda _asked: lines(b'{"status": "asking"}\n', b"\n", b"\n\n", b'{"status": ', b'"open"}\n')) as (
        made, server,
    ):  # fmt: skip
        told = list(made.post_and_follow("sessions", {"agent": "web-1"}, 5.0))
    assert told == [{"status": "asking"}, {"status": "open"}]
    (asked,) = server.asked
    assert (asked.method, asked.path, json.loads(asked.body)) == ("POST", "/api/v1/sessions", {"agent": "web-1"})
    assert "application/x-ndjson" in asked.headers["accept"]
    assert "idempotency-key" not in asked.headers


def test_one_that_does_not_go_on_is_one_line() -> None:
    with speaking(of_json({"status": "open"}, 201)) as (made, _):
        assert list(made.post_and_follow("sessions", {}, 5.0)) == [{"status": "open"}]


def test_a_problem_ends_it_at_once_or_as_its_last_line() -> None:
    with speaking(problem("denied", 403)) as (made, _), pytest.raises(OutriderError, match="what happened") as at_once:
        list(made.post_and_follow("sessions", {}, 5.0))
    last = json.dumps({"problem": {"code": "denied", "detail": "root said no"}}).encode() + b"\n"
    with speaking(lambda _asked: lines(b'{"status": "asking"}\n', last)) as (made, _):
        told = made.post_and_follow("sessions", {}, 5.0)
        assert next(told) == {"status": "asking"}
        with pytest.raises(OutriderError, match="root said no") as later:
            next(told)
    assert at_once.value.code == later.value.code == "denied"


@pytest.mark.parametrize("line", [b"[1]\n", b"nothing\n", b'"text"\n', b"\xff\n"])
def test_lines_that_are_no_objects_are_refused(line: bytes) -> None:
    with speaking(lambda _asked: lines(line)) as (made, _), pytest.raises(ProtocolError, match="does not answer like"):
        list(made.post_and_follow("sessions", {}, 5.0))


def test_one_that_breaks_off_is_an_error_and_no_end() -> None:
    with speaking(lambda _asked: lines(b'{"status": "asking"}\n', is_whole=False)) as (made, _):
        told = made.post_and_follow("sessions", {}, 5.0)
        next(told)
        with pytest.raises(OutriderError):
            next(told)
