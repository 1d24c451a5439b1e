"""``net.http`` against servers that answer well, badly and hostilely; redirects; what is decided; status pages."""

from __future__ import annotations

import asyncio
import base64
import math
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netlab import LOOPBACK, Authority, Granted, Web, answer, host, no_sockets_left, saying, serving
from running import AllPermitted, perform

from protocol.errors import ArgumentError, DeadlineError, DeniedError, UnavailableError
from stdlib.handles import Private
from stdlib.host import Host, RunContext
from stdlib.net_http import http, http_status_page
from stdlib.network.urls import Url
from stdlib.secrets import GivenSecrets


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def private(value: str | bytes) -> Private:
    data = value.encode() if isinstance(value, str) else value
    return Private(lambda: data)


async def ask(
    port: int, path: str = "/", granted: Granted | None = None, system: Host | None = None, **more: Any
) -> dict[str, Any]:
    """One request to a server on loopback; headers and body as the catalogue would give them."""
    if "headers" in more:
        more["headers"] = {name: private(value) for name, value in more["headers"].items()}
    if "auth" in more:
        more["auth"] = {name: private(value) for name, value in more["auth"].items()}
    if "body" in more:
        more["body"] = private(more["body"])
    return await http(system or Host(), granted or Granted(), f"http://{LOOPBACK}:{port}{path}", **more)


async def test_a_plain_request() -> None:
    web = Web({"/a?b=1": answer(b"hello", "200 OK", "X-Two: 1", "X-Two: 2", "Content-Type: text/plain")})
    async with serving(web) as port:
        with no_sockets_left():
            found = await ask(port, "/a?b=1", headers={"X-Mine": "yes"}, match=["ell", "nothing", "^h.*o$"])
    assert (found["code"], found["body"], found["bytes"], found["truncated"]) == (200, "hello", 5, False)
    assert found["headers"] == {"content-length": "5", "x-two": "1, 2", "content-type": "text/plain"}
    assert found["matches"] == {"ell": True, "nothing": False, "^h.*o$": True}
    assert (found["url"], found["redirects"], found["ip"]) == (f"http://{LOOPBACK}:{port}/a?b=1", 0, LOOPBACK)
    assert (found["cert"], found["error"], found["tt_tls"]) == (None, None, None)
    assert 0 <= found["tt_connect"] <= found["duration"]
    assert found["tt_firstbyte"] > 0
    assert web.requests == [
        f"GET /a?b=1 HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\nAccept-Encoding: identity\r\n"
        "User-Agent: outrider\r\nAccept: */*\r\nX-Mine: yes\r\n\r\n".encode()
    ]


async def test_secrets_go_where_they_must_and_come_back_as_their_name() -> None:
    """A server that repeats what it got is the usual way for a password to reach a log."""
    run = RunContext(secrets=GivenSecrets({"token": b"Bearer hunter2", "form": b"pass=word"}))
    web = Web({"/": answer(b"you sent Bearer hunter2 and pass=word", "401 No", "X-Was: Bearer hunter2")})
    secrets = {1: await perform("secret", "token", run=run), 2: await perform("secret", "form", run=run)}
    async with serving(web) as port:
        passage = AllPermitted(secrets)
        found = await perform(
            "net.http", f"http://{LOOPBACK}:{port}/", method="POST", headers={"Authorization": {"$handle": 1}},
            body={"$handle": 2}, run=run, passage=passage,
        )  # fmt: skip
    assert b"Authorization: Bearer hunter2\r\n" in web.requests[0]
    assert web.requests[0].endswith(b"\r\n\r\npass=word")
    told = run.redactor.plain(found)
    assert told["body"] == "you sent [secret token] and [secret form]"
    assert told["headers"]["x-was"] == "[secret token]"


@pytest.mark.parametrize(
    ("auth", "sent"),
    [
        ({"user": "Aladdin", "password": "open sesame"}, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # RFC 7617 section 2
        ({"user": "", "password": "a:b"}, "Basic OmE6Yg=="),
        ({"bearer": "mF_9.B5f-4.1JqM"}, "Bearer mF_9.B5f-4.1JqM"),  # RFC 6750 section 2.1
    ],
)
async def test_who_asks_can_be_said(auth: dict[str, str], sent: str) -> None:
    """To the first server only."""
    async with serving(other := Web({"/": answer(b"")})) as there:
        web = Web({"/": answer(b"", "302 Found", f"Location: http://{LOOPBACK}:{there}/")})
        async with serving(web) as port:
            await ask(port, auth=auth)
    assert f"\r\nauthorization: {sent}\r\n".encode() in web.requests[0]
    assert b"authorization" not in other.requests[0].lower()


@pytest.mark.parametrize(
    "auth",
    [
        {"user": "a"}, {"password": "a"}, {"bearer": ""}, {"bearer": "a", "user": "b"}, {"token": "a"},
        {"user": "a:b", "password": "c"}, {"user": "a", "password": b"\xff"}, {"bearer": "a\r\nX: y"},
    ],
)  # fmt: skip
async def test_who_asks_must_be_said_well(auth: dict[str, Any]) -> None:
    web = Web({"/": answer(b"")})
    async with serving(web) as port:
        with pytest.raises(ArgumentError):
            await ask(port, auth=auth)
        with pytest.raises(ArgumentError, match="has an authorization already"):
            await ask(port, auth={"bearer": "a"}, headers={"Authorization": "b"})
    assert web.requests == []


async def test_a_password_that_a_server_repeats_is_not_seen() -> None:
    """As it was sent, in base64 with the user's name before it."""
    run = RunContext(secrets=GivenSecrets({"db": b"hunter2hunter2"}))
    pair = base64.b64encode(b"mia:hunter2hunter2")
    web = Web({"/": answer(b"you sent " + pair)})
    passage = AllPermitted({1: await perform("secret", "db", run=run)})
    async with serving(web) as port:
        found = await perform(
            "net.http", f"http://{LOOPBACK}:{port}/", auth={"user": "mia", "password": {"$handle": 1}}, run=run,
            passage=passage,
        )  # fmt: skip
    assert b"authorization: Basic " + pair in web.requests[0]
    assert pair.decode()[-12:] not in str(run.redactor.plain(found))


async def test_a_request_with_a_body() -> None:
    web = Web({"/": answer(b"\xff\0")})
    async with serving(web) as port:
        granted = Granted()
        found = await ask(port, granted=granted, method="POST", body=b"a\0b", headers={"Content-Type": "x/y"})
    assert found["body"] == b"\xff\0"
    assert web.requests[0].endswith(b"\r\n\r\na\0b")
    assert {facts.arguments for facts in granted.asked} == {("POST",)}, "the method is decided"


async def test_no_body_comes_of_head_and_no_content() -> None:
    web = Web({"/": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", "/n": b"HTTP/1.1 204 No Content\r\n\r\n"})
    async with serving(web) as port:
        assert (await ask(port, method="HEAD"))["body"] == ""
        assert (await ask(port, "/n"))["code"] == 204


async def test_chunks_and_bodies_without_an_end() -> None:
    web = Web({
        "/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        "/open": b"HTTP/1.1 200 OK\r\n\r\nuntil it closes",
        "/early": b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(b"late"),
    })  # fmt: skip
    async with serving(web) as port:
        assert [(await ask(port, path))["body"] for path in web.answers] == ["abcde", "until it closes", "late"]


async def test_a_body_is_kept_to_its_bound() -> None:
    web = Web({"/": answer(b"x" * 1000)})
    async with serving(web) as port:
        with no_sockets_left():
            found = await ask(port, max_body=10)
            assert (found["body"], found["bytes"], found["truncated"]) == ("x" * 10, 10, True)
            assert (await ask(port, max_body=1000))["truncated"] is False
            assert (await ask(port, max_body=0))["truncated"] is True


async def test_an_endless_body_ends_at_the_bound() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with serving(endless) as port:
        with no_sockets_left():
            found = await ask(port, max_body=100_000)
    assert (found["bytes"], found["truncated"]) == (100_000, True)


async def test_nothing_is_decompressed() -> None:
    """A bomb of a few kilobytes stays a few kilobytes."""
    bomb = zlib.compress(b"\0" * (10 << 20))
    web = Web({"/": answer(bomb, "200 OK", "Content-Encoding: deflate")})
    async with serving(web) as port:
        found = await ask(port)
    assert (found["body"], found["headers"]["content-encoding"]) == (bomb, "deflate")


@pytest.mark.parametrize(
    "said",
    [
        "http\u017f://a.example/",  # not an s, though it is one to who ignores case
        b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n", b"\0" * 5000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdeXX0\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_is_no_answer(said: bytes) -> None:
    async with serving(saying(said)) as port:
        with no_sockets_left(), pytest.raises(UnavailableError, match=rf"^127\.0\.0\.1:{port}: "):
            await ask(port)


async def test_a_server_that_says_nothing() -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as port:
        with no_sockets_left(), pytest.raises(DeadlineError, match=r"^GET 127\.0\.0\.1:"):
            await ask(port, timeout=0.1)


# redirects -----------------------------------------------------------------------------------------------------------


async def test_redirects_are_followed_and_counted() -> None:
    web = Web({
        "/1": answer(b"", "302 Found", "Location: /2?x"), "/2?x": answer(b"", "301 Moved", "Location: 3#part"),
        "/3": answer(b"there"),
    })  # fmt: skip
    async with serving(web) as port:
        granted = Granted()
        found = await ask(port, "/1", granted)
        assert (found["code"], found["body"], found["redirects"]) == (200, "there", 2)
        assert found["url"].endswith("/3")
        assert granted.decided == [f"{LOOPBACK}:{port}"] * 6, "each hop, by name and by address"
        stopped = await ask(port, "/1", redirects=1)
        assert (stopped["code"], stopped["redirects"]) == (301, 1)
        assert (await ask(port, "/1", redirects=0))["code"] == 302


@pytest.mark.parametrize(
    "location", ["http://127.0.0.2:9/", "http://other.test/", "//169.254.169.254/latest/meta-data/", "http://[::1]/"]
)
async def test_a_redirect_to_what_is_not_allowed_is_denied(location: str) -> None:
    """An open redirect on an allowed host must not lead to the metadata of the cloud."""
    web = Web({"/": answer(b"", "302 Found", f"Location: {location}")})
    async with serving(web) as port:
        with no_sockets_left(), pytest.raises(DeniedError):
            await ask(port, granted=Granted([f"127.0.0.1:{port}", "other.test:81"]), system=host(["169.254.169.254"]))


async def test_a_redirect_by_a_name_that_changes_its_mind() -> None:
    web = Web({"/": answer(b"", "302 Found", "Location: /again")})
    async with serving(web) as port:
        changing = host([LOOPBACK], ["127.0.0.2"])
        with pytest.raises(DeniedError, match=r"127\.0\.0\.2"):
            await http(changing, Granted(["web.test", LOOPBACK]), f"http://web.test:{port}/")
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    "location",
    ["ftp://127.0.0.1/", "https://", "http://a b/", "http://u:p@127.0.0.1/", "file:///etc/shadow", "http://127.1/"],
)
async def test_a_redirect_to_nowhere(location: str) -> None:
    web = Web({"/": answer(b"", "302 Found", f"Location: {location}")})
    async with serving(web) as port:
        with pytest.raises(UnavailableError, match="redirects badly"):
            await ask(port)


async def test_circles_end() -> None:
    web = Web({"/": answer(b"", "302 Found", "Location: /")})
    async with serving(web) as port:
        found = await ask(port, redirects=10)
    assert (found["code"], found["redirects"], len(web.requests)) == (302, 10, 11)


async def test_what_a_redirect_keeps() -> None:
    """Another origin must not get what was meant for the first."""
    other = Web({"/x": answer(b"other")})
    async with serving(other) as elsewhere:
        web = Web({
            "/away": answer(b"", "307 Temporary", f"Location: http://{LOOPBACK}:{elsewhere}/x"),
            "/post": answer(b"", "302 Found", "Location: /got"),
            "/again": answer(b"", "308 Permanent", "Location: /got"),
            "/got": answer(b"done"),
        })  # fmt: skip
        async with serving(web) as port:
            secret = {"Authorization": "Bearer token"}
            await ask(port, "/away", headers=secret)
            await ask(port, "/post", method="POST", body=b"data", headers=secret)
            await ask(port, "/again", method="POST", body=b"data", headers=secret)
            with pytest.raises(UnavailableError, match="redirects what was sent"):
                await ask(port, "/away", method="POST", body=b"data", headers=secret)
    assert len(other.requests) == 1
    assert b"token" not in other.requests[0]
    assert [request.split(b" ")[0] for request in web.requests[:5]] == [b"GET", b"POST", b"GET", b"POST", b"POST"]
    assert web.requests[2].endswith(b"\r\n\r\n")
    assert b"token" in web.requests[2]
    assert web.requests[4].endswith(b"data")


# TLS -----------------------------------------------------------------------------------------------------------------


async def test_https(authority: Authority) -> None:
    web = Web({"/": answer(b"safe"), "/down": answer(b"", "302 Found", "Location: http://web.test/")})
    async with serving(web, tls=authority.server("web.test")) as port:
        granted = Granted(["web.test", LOOPBACK])
        with no_sockets_left():
            found = await http(host([LOOPBACK]), granted, f"https://web.test:{port}/", ca=authority.pem)
            assert (found["code"], found["body"], found["error"]) == (200, "safe", None)
            assert (found["cert"]["subject"], found["cert"]["error"]) == ("CN=web.test", None)
            assert found["tt_tls"] > 0
            with pytest.raises(UnavailableError, match="from https to http"):
                await http(host([LOOPBACK]), granted, f"https://web.test:{port}/down", ca=authority.pem)


@pytest.mark.parametrize(("name", "days", "error"), [("web.test", -1, "expired"), ("other.test", 30, "mismatch")])
async def test_nothing_is_sent_to_who_cannot_prove_who_it_is(
    authority: Authority, name: str, days: int, error: str
) -> None:
    web = Web({"/": answer(b"never")})
    async with serving(web, tls=authority.server(name, days=days)) as port:
        with no_sockets_left():
            granted = Granted(["web.test", LOOPBACK])
            found = await http(host([LOOPBACK]), granted, f"https://web.test:{port}/", ca=authority.pem)
    assert (found["code"], found["body"], found["cert"]["subject"]) == (None, None, f"CN={name}")
    assert error in found["error"]
    assert found["cert"]["error"] == found["error"]
    assert web.requests == []


async def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.2:9/")
    web = Web({"/": answer(b"straight")})
    async with serving(web) as port:
        assert (await ask(port))["body"] == "straight"


# arguments -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "web", "ftp://web/", "http:/web", "http://", "http:///x", "http://web:0/", "http://web:65536/", "http://web:x/",
     "http://u@web/", "http://u:p@web/", "http://web/a b", "http://web/\r\nX: y", "http://web/\0", "http://web/#x",
     "http://web\\@evil/", "http://bücher.test/", "http://127.1/", "http://0x7f000001/", "http://2130706433/",
     "http://web/ü", "http://[::1", "http://[fe80::1%25eth0]/",
     " http://web/", "http://web/ ", "http://web/" + "x" * 9000],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ArgumentError):
        Url.parse(url)


@given(st.text(max_size=80) | st.text("htps:/[]@.%\\?#-a0 1", max_size=60))
def test_a_url_is_read_to_one_form_or_refused(text: str) -> None:
    for candidate in (text, f"http://{text}", f"https://web.test{text}"):
        try:
            url = Url.parse(candidate)
        except ArgumentError:
            continue
        assert Url.parse(str(url)) == url
        assert "\n" not in str(url)
        assert 1 <= url.port <= 65_535


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil"}, {"content-length": "5"}, {"Transfer-Encoding": "chunked"}, {"Connection": "x"},
     {"X": "a\r\nY: b"},
     {"X": "a\nb"}, {"X": "\0"}, {"": "x"}, {"X Y": "x"}, {"X:": "x"}, {"X": "ü\u2028"}, {"X": " x"}, {"X": "y" * 9000},
     {f"X{n}": "y" for n in range(101)}, {"Expect": "100-continue"}, {"Upgrade": "h2c"}],
)  # fmt: skip
async def test_what_is_no_header_of_a_script(headers: dict[str, str]) -> None:
    granted = Granted()
    with pytest.raises(ArgumentError, match=r"^headers: "):
        await ask(1, granted=granted, headers=headers)
    assert granted.asked == [], "before anything is asked or sent"


# status pages --------------------------------------------------------------------------------------------------------

APACHE = """\
localhost
ServerVersion: Apache/2.4.66 (Unix)
Total Accesses: 129811861
Total kBytes: 5213701865
Total Duration: 28519
CPULoad: 6.48
Uptime: 3203
ReqPerSec: 40.5
BytesPerSec: 41127.5
BytesPerReq: 1014.8
BusyWorkers: 8
IdleWorkers: 3
Scoreboard: _W.K__SRDCLGI...
"""
NGINX = "Active connections: 2 \nserver accepts handled requests\n 10 9 31 \nReading: 0 Writing: 1 Waiting: 1 \n"


async def page(text: str | bytes, code: str = "200 OK") -> dict[str, Any]:
    web = Web({"/s": answer(text.encode() if isinstance(text, str) else text, code)})
    async with serving(web) as port:
        return await http_status_page(Host(), Granted(), f"http://{LOOPBACK}:{port}/s")


async def test_status_pages() -> None:
    found = await page(APACHE)
    assert found["server"] == "apache"
    assert (found["total_accesses"], found["total_kbytes"], found["uptime"]) == (129811861, 5213701865, 3203)
    assert (found["requests_per_second"], found["cpu_load"], found["bytes_per_second"]) == (40.5, 6.48, 41127.5)
    assert (found["busy_workers"], found["idle_workers"], found["waiting"], found["open"]) == (8, 3, 3, 4)
    short = await page("BusyWorkers: 1\nIdleWorkers: 2\nScoreboard: _\n")
    assert (short["busy_workers"], short["uptime"]) == (1, None)
    assert await page(NGINX) == {
        "server": "nginx",
        "active": 2, "accepts": 10, "handled": 9, "requests": 31, "reading": 0, "writing": 1, "waiting": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code"),
    [("<html>", "200 OK"), ("", "200 OK"), (NGINX, "403 Forbidden"), (NGINX, "302 Found"), (b"\xff" * 100, "200 OK"),
     (NGINX + "x", "200 OK"), ("x" * 70_000, "200 OK"), ("Scoreboard: _\n", "200 OK")],
)  # fmt: skip
async def test_what_is_no_status_page(text: str | bytes, code: str) -> None:
    with pytest.raises(UnavailableError):
        await page(text, code)


async def test_hostile_numbers_are_nothing() -> None:
    found = await page(APACHE.replace("6.48", "nan").replace("40.5", "1e999").replace("3203", "-1" + "0" * 50))
    assert found["uptime"] is None
    assert not any(isinstance(value, float) and not math.isfinite(value) for value in found.values())


async def test_what_is_no_pattern_is_refused_before_anything_is_sent() -> None:
    web = Web({"/": answer(b"x")})
    async with serving(web) as port:
        with pytest.raises(ArgumentError, match="match: "):
            await ask(port, "/", match=["a(", "b"])
    assert web.requests == []
