"""Webhooks: told of what is committed, signed, tried again, kept from where they must not go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from headquarters import Headquarters, MovedClock, expect, headquarters, refused, script
from world import World

from policies.targets import TargetPattern
from protocol.errors import ArgumentError
from server import courier, standard_webhooks, webhook_addresses


class Receiver:
    """Takes webhooks on a real socket and answers with what it was told to."""

    def __init__(self) -> None:
        self.status = 200
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.server: asyncio.Server | None = None

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self.server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = await reader.readexactly(int(headers["content-length"]))
        self.taken.append((headers | {":line": head[0]}, body))
        where = "Location: http://127.0.0.1:1/\r\n" if self.status == 302 else ""
        writer.write(f"HTTP/1.1 {self.status} X\r\n{where}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.start()
    yield made
    assert made.server is not None
    made.server.close()
    await made.server.wait_closed()


@pytest.fixture
async def hooked(
    directory: Path, world: World, clock: MovedClock, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Headquarters]:
    """A server that may tell loopback; messages are carried when the test says so."""

    async def nobody(_: Any) -> None:
        return None

    monkeypatch.setattr(courier, "run", nobody)
    path = directory / "config.yaml"
    path.write_text(path.read_text() + "webhook_targets: [127.0.0.0/8]\n")
    async with headquarters(directory, world, clock) as made:
        assert (await made.put_roster()).status_code == 200
        yield made


def address(receiver: Receiver, path: str = "/hook?x=1") -> str:
    assert receiver.server is not None
    return f"http://127.0.0.1:{receiver.server.sockets[0].getsockname()[1]}{path}"


async def hook(server: Headquarters, receiver: Receiver, *events: str) -> dict[str, Any]:
    return dict(await server.post("/webhooks", {"url": address(receiver), "events": list(events)}, 201))


async def log(server: Headquarters, made: dict[str, Any]) -> list[dict[str, Any]]:
    return await server.pages(f"/webhooks/{made['id']}/deliveries")


async def test_what_happens_is_told_and_signed(hooked: Headquarters, receiver: Receiver) -> None:
    made = await hook(hooked, receiver)
    published = await hooked.bring_in(script())
    expect(await hooked.withdraw(published), 200)
    assert await courier.carry(hooked.core) == 3
    by_event = {json.loads(body)["type"]: body for _, body in receiver.taken}  # they are sent side by side
    assert set(by_event) == {"script.published", "review.approved", "script.withdrawn"}
    assert len(receiver.taken) == 3
    for headers, body in receiver.taken:
        signed = standard_webhooks.headers(
            headers["webhook-id"], int(headers["webhook-timestamp"]), body, [made["secret"]]
        )
        assert headers["webhook-signature"] == signed["webhook-signature"]
        assert headers[":line"] == "POST /hook?x=1 HTTP/1.1"
    told = json.loads(by_event["script.published"])
    assert (told["data"]["script"], told["data"]["digest"], told["data"]["by"]) == (
        "checks/disk", published.digest, "admin",
    )  # fmt: skip
    assert {(item["state"], item["status"], item["attempts"]) for item in await log(hooked, made)} == {
        ("taken", 200, 1)
    }
    assert await courier.carry(hooked.core) == 0


async def test_only_the_events_that_were_asked_for(hooked: Headquarters, receiver: Receiver) -> None:
    made = await hook(hooked, receiver, "review.approved")
    await hooked.bring_in(script())
    assert [item["event"] for item in await log(hooked, made)] == ["review.approved"]


async def test_nothing_is_told_of_what_did_not_happen(hooked: Headquarters, receiver: Receiver) -> None:
    made = await hook(hooked, receiver)
    bundle = script()
    refused(await hooked.publish(bundle, hooked.world.publication("dan", **hooked.about(bundle))), 403, "untrusted")
    expect(await hooked.publish(bundle), 201)
    expect(await hooked.publish(bundle), 201)
    assert len(await log(hooked, made)) == 1, "publishing the same again changes nothing"


@pytest.mark.parametrize("status", [500, 404, 302])
async def test_it_is_tried_again_and_given_up(hooked: Headquarters, receiver: Receiver, status: int) -> None:
    made = await hook(hooked, receiver)
    receiver.status = status
    expect(await hooked.publish(script()), 201)
    for attempt, wait_s in enumerate([*standard_webhooks.RETRY_AFTER_S, None], 1):
        assert await courier.carry(hooked.core) == 1
        (item,) = await log(hooked, made)
        assert (item["attempts"], item["status"], item["error"]) == (attempt, status, f"answered {status}")
        assert await courier.carry(hooked.core) == 0
        hooked.clock.advance(seconds=(wait_s or 1e6) + 1)
    assert (item["state"], len({headers["webhook-id"] for headers, _ in receiver.taken})) == ("given up", 1)
    receiver.status = 204
    path = f"/webhooks/{made['id']}/deliveries"
    await hooked.post(f"{path}/{item['message']}/replay", {})
    assert await courier.carry(hooked.core) == 1
    (item,) = await log(hooked, made)
    assert (item["state"], item["status"]) == ("taken", 204)
    refused(await hooked.ask("POST", f"{path}/msg_none/replay", {}), 404, "not_found")


async def test_a_secret_is_changed_without_losing_a_message(hooked: Headquarters, receiver: Receiver) -> None:
    made = await hook(hooked, receiver)
    again = await hooked.post(f"/webhooks/{made['id']}/rotate", {})
    assert again["secret"] != made["secret"]
    expect(await hooked.publish(script()), 201)
    await courier.carry(hooked.core)
    hooked.clock.advance(seconds=standard_webhooks.ROTATED_FOR_S + 1)
    expect(await hooked.publish(script(version="1.3.0")), 201)
    await courier.carry(hooked.core)
    counts = [len(headers["webhook-signature"].split(" ")) for headers, _ in receiver.taken]
    assert counts == [2, 1]
    assert "secret" not in (await hooked.pages("/webhooks"))[0]


async def test_a_clock_that_was_ahead_holds_no_message_and_no_old_secret(
    hooked: Headquarters, receiver: Receiver
) -> None:
    """Twenty days ahead for a minute, it would say nothing, and sign with what was replaced, till then."""
    made = await hook(hooked, receiver)
    ahead_s = 20 * 86_400
    hooked.clock.advance(seconds=ahead_s)
    expect(await hooked.publish(script()), 201)
    await hooked.post(f"/webhooks/{made['id']}/rotate", {})
    receiver.status = 500
    assert await courier.carry(hooked.core) == 1
    assert await courier.carry(hooked.core) == 0
    hooked.clock.advance(seconds=-ahead_s)
    receiver.status = 204
    assert await courier.carry(hooked.core) == 1
    (item,) = await log(hooked, made)
    assert item["state"] == "taken"
    assert [len(headers["webhook-signature"].split(" ")) for headers, _ in receiver.taken] == [2, 1]


async def test_a_receiver_that_is_away(hooked: Headquarters, receiver: Receiver) -> None:
    made = await hook(hooked, receiver)
    assert receiver.server is not None
    receiver.server.close()
    await receiver.server.wait_closed()
    expect(await hooked.publish(script()), 201)
    await courier.carry(hooked.core)
    (item,) = await log(hooked, made)
    assert (item["state"], item["status"], bool(item["error"])) == ("waiting", None, True)


async def test_removing(hooked: Headquarters, receiver: Receiver) -> None:
    made = await hook(hooked, receiver)
    expect(await hooked.publish(script()), 201)
    expect(await hooked.ask("DELETE", f"/webhooks/{made['id']}"), 204)
    assert await courier.carry(hooked.core) == 0
    refused(await hooked.ask("GET", f"/webhooks/{made['id']}/deliveries"), 404, "not_found")


@pytest.mark.parametrize("role", ["viewer", "auditor", "operator", "author", "reviewer"])
async def test_only_administrators(hooked: Headquarters, receiver: Receiver, role: str) -> None:
    made = await hook(hooked, receiver)
    for method, path in [("GET", ""), ("POST", ""), ("DELETE", f"/{made['id']}"), ("POST", f"/{made['id']}/rotate"),
                         ("GET", f"/{made['id']}/deliveries")]:  # fmt: skip
        body = {"url": "https://example.org/"} if method == "POST" else None
        refused(await hooked.ask(method, f"/webhooks{path}", body, role=role), 403, "denied")


# where it may not go --------------------------------------------------------------------------------------------------

LOOPBACK = [TargetPattern.parse("127.0.0.0/8")]


async def test_what_stands_behind_the_host_is_in_no_record(hooked: Headquarters, receiver: Receiver) -> None:
    """An address at most chat services is itself what lets somebody post there; records are read by many."""
    secret = "T0SESAME"
    await hooked.post("/webhooks", {"url": f"https://hooks.example.org/services/{secret}?token={secret}"}, 201)
    for url in (f"ftp://mia:{secret}@example.org/{secret}", f"https://[{secret}/", f"https://localhost:99999/{secret}"):
        assert (await hooked.ask("POST", "/webhooks", {"url": url})).status_code == 422
    refused = await hooked.ask("POST", "/webhooks", {"url": f"https://example.org/{secret}"}, role="author")
    assert refused.status_code == 403
    records = await hooked.records()
    assert secret not in str(records)
    assert "https://hooks.example.org/..." in str(records)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/", "ftp://example.org/", "https://", "https:///x", "file:///etc/passwd", "x", "",
        "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest", "https://metadata.google.internal/",
        "https://[::ffff:169.254.169.254]/", "https://0.0.0.0/", "https://2130706433/", "https://127.1/",
        "https://user:pw@example.org/", "https://example.org/#x", "https://example.org/a b", "https://ex\u00e4mple.org/",
        "https://localhost/", "https://localhost:8443/x", "https://LOCALHOST./", "https://a.localhost/",
        "https://example.org:0/", "https://chat.invalid/", "https://abcdefgh.onion/", "http://localhost:9000/",
        "https://example.org:99999/", "https://example.org/" + "a" * 2000, "https://a\nb/", "http://127.0.0.1/",
    ],
)  # fmt: skip
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(ArgumentError):
        webhook_addresses.check_url(url, ())


def test_what_the_configuration_names_is_allowed() -> None:
    assert webhook_addresses.check_url("http://127.0.0.1:9000/x", LOOPBACK)[1] is False
    assert webhook_addresses.check_url("https://example.org/x", ())[1] is True
    with pytest.raises(ArgumentError):
        webhook_addresses.check_url("http://127.0.0.1:9000/x", [TargetPattern.parse("*")])
    with pytest.raises(ArgumentError):
        webhook_addresses.check_url("http://example.org/x", LOOPBACK)
    for pattern in ("localhost", "localhost:9000", "127.0.0.0/8", "[::1]"):
        assert webhook_addresses.check_url("https://localhost:9000/x", [TargetPattern.parse(pattern)])[1] is True
    for pattern in ("*", "localhost:9001", "10.0.0.0/8", "*.localhost"):
        with pytest.raises(ArgumentError, match="localhost:9000 is loopback, which webhook_targets"):
            webhook_addresses.check_url("https://localhost:9000/x", [TargetPattern.parse(pattern)])
    with pytest.raises(ArgumentError):  # at each attempt only the word itself names loopback
        webhook_addresses.check_url("https://a.localhost/x", [TargetPattern.parse("*.localhost")])


GUARDED = ["169.254.169.254", "127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0"]


def answering(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    """Have the resolver answer so from now on."""

    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", (answer, 443)) for answer in answers]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("answer", GUARDED)
async def test_a_name_that_means_what_is_guarded_already_makes_no_webhook(
    server: Headquarters, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """Every attempt would be refused, and whoever made it would look for messages that never come."""
    answering(monkeypatch, "192.0.2.7", answer)
    answer_to = await server.ask("POST", "/webhooks", {"url": "https://hooks.example.org/x"})
    told = refused(answer_to, 422, "invalid_argument", parameter="url")
    assert told["detail"].startswith("hooks.example.org:443 (")
    assert told["detail"].endswith("which webhook_targets of the configuration must name")
    assert await server.pages("/webhooks") == []


async def test_a_name_that_cannot_be_looked_up_now_makes_one(
    server: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver may be away, or slow; each attempt looks again."""
    await server.post("/webhooks", {"url": "https://a.example.org/"}, 201)

    async def never(*_: Any, **__: Any) -> list[Any]:
        return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    monkeypatch.setattr(webhook_addresses, "LOOK_UP_S", 0.01)
    await server.post("/webhooks", {"url": "https://b.example.org/"}, 201)


@pytest.mark.parametrize("answer", GUARDED)
async def test_a_name_that_comes_to_mean_what_is_guarded(
    server: Headquarters, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """The address was harmless when the webhook was made; whoever holds the name's zone changes that."""
    made = await server.post("/webhooks", {"url": "https://hooks.example.org/"}, 201)

    answering(monkeypatch, "192.0.2.7", answer)
    expect(await server.publish(script()), 201)
    await courier.carry(server.core)
    (item,) = await server.pages(f"/webhooks/{made['id']}/deliveries")
    assert item["status"] is None
    assert "webhook_targets" in item["error"]


async def test_what_is_no_webhook(hooked: Headquarters, receiver: Receiver) -> None:
    for body in ({"url": "https://example.org/", "events": ["run.ended"]}, {"url": "http://example.org/"}, {"url": ""}):
        refused(await hooked.ask("POST", "/webhooks", body), 422, "invalid_argument")
    assert await hooked.pages("/webhooks") == []
