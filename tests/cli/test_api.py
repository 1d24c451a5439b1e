"""The client of the HTTP API, against a transport that answers as told."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cli import api as client
from cli.api import Api
from cli.failures import exit_status
from cli.settings import Context
from protocol.errors import (
    DOORS,
    DeadlineError,
    OutriderError,
    ProtocolError,
    TooLargeError,
    TrustError,
    UnavailableError,
)

Handler = Callable[[httpx2.Request], httpx2.Response]


def api(handler: Handler, token: str | None = "ort_secret") -> Api:
    keys = iter(f"key-{number}" for number in range(100))
    context = Context("https://server.example", token)
    return Api(context, transport=httpx2.MockTransport(handler), new_key=lambda: next(keys))


def problem(code: str, status: int, **more: Any) -> httpx2.Response:
    body = {"type": f"urn:outrider:error:{code}", "code": code, "title": "T", "detail": "what happened", **more}
    return httpx2.Response(status, json=body, headers={"content-type": "application/problem+json"})


def test_requests_carry_token_path_and_query() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json={"ok": True})

    with api(answer) as made:
        assert made.get("agents", name="web-*", label=None) == {"ok": True}
        assert made.get("/readyz") == {"ok": True}
    assert str(seen[0].url) == "https://server.example/api/v1/agents?name=web-%2A"
    assert seen[0].headers["authorization"] == "Bearer ort_secret"
    assert seen[1].url.path == "/readyz"


def test_no_token_no_header() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert "authorization" not in request.headers
        return httpx2.Response(200, json={})

    api(answer, token=None).get("me")


def test_every_post_has_its_own_idempotency_key() -> None:
    """A start or an approval that is sent again by a retry must not happen twice."""
    keys = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        keys.append(request.headers["idempotency-key"])
        assert json.loads(request.content) == {"a": 1}
        return httpx2.Response(201, json={})

    made = api(answer)
    made.post("runs", {"a": 1})
    made.post("runs", {"a": 1})
    assert keys == ["key-0", "key-1"]


@pytest.mark.parametrize("code", sorted(DOORS))
def test_a_refusal_by_the_server_exits_like_one_made_here(code: str) -> None:
    made = api(lambda _request: problem(code, DOORS[code].http_status, reason="self_approval", where="m.yaml:3"))
    with pytest.raises(OutriderError) as caught:
        made.get("anything")
    assert caught.value.code == code
    assert exit_status(caught.value) == DOORS[code].exit_status
    assert "what happened" in caught.value.message


def test_the_reason_of_a_refusal_is_kept() -> None:
    made = api(lambda _request: problem("untrusted", 403, reason="self_approval"))
    with pytest.raises(TrustError) as caught:
        made.post("reviews/r1/approve", {})
    assert caught.value.reason == "self_approval"


@pytest.mark.parametrize(
    "response",
    [
        lambda: httpx2.Response(502, text="<html>bad gateway</html>"),
        lambda: httpx2.Response(404, json={"detail": "Not Found"}),
        lambda: httpx2.Response(500, json=["no", "problem"]),
        lambda: httpx2.Response(302, headers={"location": "https://elsewhere.example"}),
        lambda: httpx2.Response(200, text="hello"),
    ],
)
def test_what_does_not_answer_like_an_outrider_server_is_said(response: Callable[[], httpx2.Response]) -> None:
    """A token is not carried along a redirect, and a proxy's page is not taken for an answer."""
    with pytest.raises(ProtocolError, match="Outrider server"):
        api(lambda _request: response()).get("me")


def test_empty_answer_is_none() -> None:
    assert api(lambda _request: httpx2.Response(204)).delete("schedules/s1") is None


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (httpx2.ConnectError("refused"), UnavailableError),
        (httpx2.ReadTimeout("slow"), DeadlineError),
        (httpx2.RemoteProtocolError("garbage"), UnavailableError),
    ],
)
def test_network_failures_have_names(raised: Exception, expected: type[OutriderError]) -> None:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        raise raised

    with pytest.raises(expected, match=r"server\.example"):
        api(answer).get("me")


def test_an_answer_is_not_read_beyond_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 1000)
    sent = 0

    class Endless(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            nonlocal sent
            while True:
                sent += 1
                yield b"x" * 100

    with pytest.raises(TooLargeError):
        api(lambda _request: httpx2.Response(200, stream=Endless())).get("me")
    assert sent < 20


def paged(total: int) -> tuple[Handler, list[httpx2.Request]]:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        start = int(request.url.params.get("cursor") or 0)
        limit = int(request.url.params["limit"])
        items = [{"n": number} for number in range(start, min(start + limit, total))]
        following = str(start + limit) if start + limit < total else None
        return httpx2.Response(200, json={"items": items, "next": following})

    return answer, seen


@pytest.mark.parametrize(("total", "limit", "expected"), [(0, None, 0), (250, None, 250), (250, 120, 120), (5, 100, 5)])
def test_pages_are_walked_up_to_the_limit(total: int, limit: int | None, expected: int) -> None:
    answer, seen = paged(total)
    found = list(api(answer).items("agents", limit=limit, name="web"))
    assert [item["n"] for item in found] == list(range(expected))
    assert all(request.url.params["name"] == "web" for request in seen)
    assert len(seen) <= 1 + expected // client.PAGE


def test_a_page_that_is_none_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not a page"):
        list(api(lambda _request: httpx2.Response(200, json=[1, 2])).items("agents"))


def events(*parts: bytes) -> Api:
    class Parts(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield from parts

    return api(lambda _request: httpx2.Response(200, stream=Parts(), headers={"content-type": "text/event-stream"}))


def test_events_whatever_way_the_bytes_are_cut() -> None:
    text = b': hello\r\n\r\nid: a:1\r\ndata: {"n": 1}\r\n\r\nevent: x\ndata: {"n":\ndata: 2}\n\n: beat\n\ndata: {"n": 3}\n\n'  # noqa: E501 - one literal stream
    for size in (1, 2, 7, len(text)):
        parts = [text[at : at + size] for at in range(0, len(text), size)]
        assert [event["n"] for event in events(*parts).events("records/tail")] == [1, 2, 3]


def test_an_event_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_EVENT_BYTES", 100)
    with pytest.raises(TooLargeError):
        list(events(*[b"data: " + b"x" * 60] * 3).events("records/tail"))


def test_an_event_that_is_not_json_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not JSON"):
        list(events(b"data: {\n\n").events("records/tail"))


def test_a_refused_stream_is_an_error() -> None:
    with pytest.raises(OutriderError) as caught:
        list(api(lambda _request: problem("unauthenticated", 401)).events("records/tail"))
    assert caught.value.code == "unauthenticated"


def test_plain_http_trusts_no_certificate_at_all() -> None:
    """Reading the roots is slow and useless there, and what has no roots can accept nobody by mistake."""
    assert client._roots("http://127.0.0.1:7443").get_ca_certs() == []
    assert client._roots("http://127.0.0.1:7443").verify_mode is ssl.CERT_REQUIRED


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
    made = client._roots("https://outrider.example.net")
    assert [entry["subject"] for entry in made.get_ca_certs()] == [((("commonName", "our own authority"),),)]
    assert made.verify_mode is ssl.CERT_REQUIRED
    assert made.check_hostname is True
