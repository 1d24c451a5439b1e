"""The program itself, as a process: made, run, ended; its log is JSON without a secret, its errors are sentences."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from certificates import make_certificate
from headquarters import expect
from ports import free_port

from protocol.enrolment import make_request, parse_token
from protocol.signing import PrivateKey
from server import config
from server.__main__ import main, root


def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


class Told(NamedTuple):
    """What the program did when it was called within the test: quicker than a process, for what begins nothing."""

    status: int
    out: str
    err: str


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """A way to call the program."""

    def run(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["outrider-server", *arguments])
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Told(status, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's directory made by the program, with an address in it where nobody listens."""
    directory = tmp_path_factory.mktemp("program") / "server"
    root.main(["init", "--dir", str(directory), "--listen", f"127.0.0.1:{free_port()}"], standalone_mode=False)
    return directory


class Running:
    """A server process whose log is read line by line."""

    def __init__(self, directory: Path) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server", "run", "--dir", str(directory)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        url = config.read(directory).url
        token = (directory / config.ADMIN_FILE).read_text().strip()
        self.api = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20)

    def read_until(self, event: str) -> None:
        """Read the log up to a line about ``event``; the process ends the test if it ends first."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if json.loads(line).get("event") == event:
                return
        raise AssertionError(f"no {event!r} in the log: {self.lines}")

    def end(self) -> None:
        """End it as an init system does: uvicorn ends by the signal itself once all is done."""
        self.api.close()
        self.process.send_signal(signal.SIGTERM)
        out, rest = self.process.communicate(timeout=60)
        self.lines += rest.splitlines(keepends=True)
        assert out == "", "what it says goes to standard error"
        assert self.process.returncode == -signal.SIGTERM, rest


@contextmanager
def running(directory: Path) -> Iterator[Running]:
    server = Running(directory)
    try:
        server.read_until("server started")
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()
        server.api.close()


def wait_until_it_listens(server: Running) -> None:
    """The log says that it has started a moment before it listens."""
    while True:
        assert server.process.poll() is None
        try:
            expect(server.api.get("/livez"), 200)
        except httpx2.ConnectError:
            continue
        return


def test_the_log_is_one_json_object_a_line_and_holds_no_secret(made: Path) -> None:
    """Logs are shipped to systems that many may read."""
    agent = PrivateKey.generate()
    with running(made) as server:
        wait_until_it_listens(server)
        token = (made / config.ADMIN_FILE).read_text().strip()
        second = expect(server.api.post("/api/v1/tokens", json={"principal": "mia", "roles": ["viewer"]}), 201)["token"]
        join = expect(server.api.post("/api/v1/invites", json={}), 201)["token"]
        body = make_request(parse_token(join), agent, hostname="h", nonce=bytes(32), name="web-1")
        expect(server.api.post("/agent/v1/enroll", json=body), 201)
        expect(server.api.post("/agent/v1/enroll", json=body), 403)
        expect(server.api.get("/api/v1/me", params={"token": second}), 200)
        expect(server.api.get("/api/v1/me", headers={"Authorization": f"Bearer {second}x"}), 401)
        expect(server.api.get("/nothing/a%0Ab%1B[31m"), 404)
        run = {"target": "hunter2", "script": "hunter2", "reason": "hunter2"}
        assert server.api.post("/api/v1/runs", json=run).status_code == 404
        server.end()
    entries = [json.loads(line) for line in server.lines]
    assert all(isinstance(entry, dict) for entry in entries)
    assert all({"event", "level", "timestamp"} <= set(entry) for entry in entries)
    assert [entry["event"] for entry in entries if entry["event"] != "request"] == ["server started", "server ended"]
    requests = [entry for entry in entries if entry["event"] == "request"]
    assert {(entry["path"], entry["status"], entry["principal"]) for entry in requests} >= {
        ("/api/v1/tokens", 201, "admin"), ("/agent/v1/enroll", 403, None), ("/api/v1/me", 200, "admin"),
        ("/api/v1/me", 401, None),
    }  # fmt: skip
    text = "".join(server.lines)
    key = (made / config.KEY).read_text().split()[2]
    for secret in (token, second, join.split(".")[2], key, body["mac"], "hunter2", "\x1b"):
        assert secret not in text


def test_a_beginning_that_was_interrupted_can_be_made_again(
    tmp_path: Path, call: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else there is a server that nobody has a token for."""
    where = tmp_path / "server"
    for name in ("write_private", "finish"):
        with monkeypatch.context() as patch:
            patch.setattr(config, name, interrupted)
            assert call("init", "--dir", str(where)).status != 0
        assert not (where / config.CONFIG).exists()
    assert call("init", "--dir", str(where)).status == 0
    assert (where / config.ADMIN_FILE).read_text().startswith("ort_")
    assert "holds a server already" in call("init", "--dir", str(where)).err


def interrupted(*_args: Any) -> None:
    raise KeyboardInterrupt


def test_two_processes_in_one_directory(made: Path, call: Callable[..., Told]) -> None:
    """A second server is refused; a token that is made beside the first works there, and their chain stays one."""
    with running(made) as server:
        again = tool("run", "--dir", str(made))
        assert (again.returncode, again.stderr) == (1, f"a server runs in {made} already\n")
        wait_until_it_listens(server)
        told = call("token", "--dir", str(made), "--principal", "mia", "--role", "viewer", "--ttl", "1h")
        assert told.status == 0, told.err
        headers = {"Authorization": f"Bearer {told.out.strip()}"}
        assert expect(server.api.get("/api/v1/me", headers=headers), 200)["principal"] == "mia"
        expect(server.api.post("/api/v1/tokens", json={"principal": "max", "roles": ["viewer"]}), 201)
        found = expect(server.api.get("/api/v1/records", params={"agent": "server", "limit": 500}), 200)["items"]
        grants = [item for item in found if item["call"] == "access.grant"]
        told_of = [(item["principal"], item["arguments"]["principal"]) for item in grants]
        assert told_of[-2:] == [("outrider-server", "mia"), ("admin", "max")]
        assert expect(server.api.get("/api/v1/records/verify"), 200)["ok"] is True


def test_what_it_made_is_private(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    for path in made.iterdir():
        if path.is_file() and path.suffix not in (".sqlite-wal", ".sqlite-shm"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["init", "--listen", "0.0.0.0:1"], 2, "0.0.0.0 is not loopback"),
        (["run"], 1, "is no server's directory"),
        (["token", "--principal", "m", "--role", "viewer"], 1, ""),
        (["run", "--log-level", "loud"], 2, "--log-level"),
        (["init", "--listne", "x"], 2, "--listen"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    tmp_path: Path, call: Callable[..., Told], arguments: list[str], status: int, says: str
) -> None:
    told = call(arguments[0], "--dir", str(tmp_path / "none"), *arguments[1:])
    assert (told.status, told.out) == (status, "")
    assert says in told.err
    assert not (tmp_path / "none" / config.CONFIG).exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--principal", "m", "--role", "root"], "is not a role"),
        (["--principal", "", "--role", "viewer"], "principal"),
        (["--principal", "m", "--role", "viewer", "--ttl", "1x"], "--ttl"),
        (["--principal", "m", "--role", "viewer", "--ttl", "9999d"], "--ttl"), (["--principal", "m"], "--role"),
    ],
)  # fmt: skip
def test_a_wrong_token_is_not_made(made: Path, call: Callable[..., Told], options: list[str], says: str) -> None:
    told = call("token", "--dir", str(made), *options)
    assert (told.status, told.out) == (2, "")
    assert says in told.err


def test_with_a_certificate_it_speaks_tls_and_nothing_else(made: Path) -> None:
    """Of 1.3, and a stranger who says nothing by TLS is counted from the first moment on."""
    path = make_certificate(made / "both.pem")
    text = (made / config.CONFIG).read_text()
    (made / config.CONFIG).write_text(text + "tls: {certificate: both.pem, key: both.pem}\n")
    read = config.read(made)
    context = ssl.create_default_context(cafile=str(path))
    with running(made) as server:
        while True:
            assert server.process.poll() is None
            try:
                plain = socket.create_connection((read.host, read.port))
                break
            except ConnectionRefusedError:
                continue
        with context.wrap_socket(plain, server_hostname="localhost") as secured:
            assert secured.version() == "TLSv1.3"
            secured.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert secured.recv(12) == b"HTTP/1.1 200"
        with socket.create_connection((read.host, read.port)) as plain:
            plain.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with suppress(ConnectionError):
                assert b"HTTP" not in plain.recv(1000)
        server.end()


def test_a_certificate_that_is_none_is_told_in_a_sentence(
    made: Path, tmp_path: Path, call: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.logs.start_logging", lambda level: None)  # it is for a process, and stays
    for name in ("a.pem", "b.pem"):
        (tmp_path / name).write_text("not a certificate")
    for name in (config.KEY, config.DATABASE):
        (tmp_path / name).write_bytes((made / name).read_bytes())
        (tmp_path / name).chmod(0o600)
    (tmp_path / config.CONFIG).write_text("listen: 127.0.0.1:1\ntls: {certificate: a.pem, key: b.pem}\n")
    told = call("run", "--dir", str(tmp_path))
    assert told.status == 1
    assert told.err.startswith(f"{tmp_path}/a.pem and {tmp_path}/b.pem cannot be used for TLS")


def test_a_port_that_is_taken_is_told_in_a_sentence(made: Path) -> None:
    read = config.read(made)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((read.host, read.port))
        other.listen()
        done = tool("run", "--dir", str(made))
    assert done.returncode == 1
    assert f"could not listen on {read.host}:{read.port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_loads_no_database() -> None:
    """``--help`` answers at once."""
    code = "import sys; import server.__main__; print({'sqlalchemy', 'fastapi', 'pygit2'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
