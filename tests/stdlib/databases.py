"""Real database servers of a test's own, on free loopback ports; and MySQL 8's half of its proof, not in Debian."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from netlab import LOOPBACK, Authority
from ports import free_port

START_S = 60.0
POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda path: int(path.parent.name))
MARIADB = shutil.which("mariadbd") or ("/usr/sbin/mariadbd" if Path("/usr/sbin/mariadbd").exists() else None)
PASSWORD = "sésame öffne dich"


def _as(user: str) -> dict[str, object]:
    """What runs a program as a user that databases accept: they refuse root."""
    if os.getuid() != 0:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _run(words: Sequence[str], user: str, **more: object) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, cwd="/", **_as(user), **more)  # type: ignore[call-overload]  # of keywords
    assert done.returncode == 0, f"{words}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"


@contextmanager
def _place(user: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="outrider-db-") as name:
        place = Path(name)
        if os.getuid() == 0:
            os.chown(place, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        yield place


@contextmanager
def _running(words: Sequence[str], user: str, port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(words, stdout=file, stderr=file, cwd="/", **_as(user))  # type: ignore[call-overload]  # of keywords
    try:
        end = time.monotonic() + START_S
        while True:
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < end, log.read_text(errors="replace")
            try:
                socket.create_connection((LOOPBACK, port), 1.0).close()
            except OSError:
                select_a_moment()
            else:
                break
        yield
    finally:
        process.terminate()
        process.wait(60)


def select_a_moment() -> None:
    """Let the other process have the processor: a bounded wait on nothing."""
    import select

    select.select([], [], [], 0.05)


@dataclass
class Server:
    """One that runs."""

    port: int
    authority: Authority = field(default_factory=Authority)


@contextmanager
def postgres() -> Iterator[Server]:
    """PostgreSQL with users named after the proof that is wanted of them, all with the same password."""
    assert POSTGRES is not None
    server = Server(free_port())
    with _place("postgres") as place:
        data = place / "data"
        _run([f"{POSTGRES}/initdb", "-D", str(data), "-U", "root", "-A", "trust", "-E", "UTF8"], "postgres")
        key, certificate = server.authority.issued("db.test", "db.example.org")
        for name, content in (("server.key", key), ("server.crt", certificate)):
            path = data / name
            path.write_bytes(content)
            shutil.chown(path, *((data.owner(), data.group()) if os.getuid() == 0 else (None, None)))
            path.chmod(0o600)
        (data / "pg_hba.conf").write_text(
            "local all all trust\n"
            + "".join(
                f"{kind} all {user} 127.0.0.1/32 {method}\n"
                for kind, user, method in (
                    ("host", "scram", "scram-sha-256"), ("host", "digest", "md5"), ("host", "clear", "password"),
                    ("host", "nobody", "trust"), ("host", "monitor", "scram-sha-256"),
                    ("hostssl", "tlsonly", "scram-sha-256"), ("host", "little", "trust"),
                )
            )
        )  # fmt: skip
        words = [
            f"{POSTGRES}/postgres", "-D", str(data), "-p", str(server.port), "-k", str(place), "-c", "ssl=on",
            "-c", f"listen_addresses={LOOPBACK}", "-c", "fsync=off",
        ]  # fmt: skip
        with _running(words, "postgres", server.port, place / "log"):
            sql = "".join(
                f"SET password_encryption = '{how}'; CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}';"
                f" GRANT pg_monitor TO {user};"
                for user, how in (
                    ("scram", "scram-sha-256"), ("digest", "md5"), ("clear", "scram-sha-256"),
                    ("tlsonly", "scram-sha-256"), ("nobody", "md5"), ("monitor", "scram-sha-256"),
                )
            )  # fmt: skip
            sql += "CREATE ROLE little LOGIN; REVOKE ALL ON FUNCTION pg_database_size(oid) FROM PUBLIC;"
            psql = [
                f"{POSTGRES}/psql",
                "-h",
                str(place),
                "-p",
                str(server.port),
                "-U",
                "root",
                "-d",
                "postgres",
                "-c",
                sql,
            ]
            _run(psql, "postgres")
            yield server


@contextmanager
def mariadb() -> Iterator[Server]:
    """MariaDB with TLS, and a user with a password, one without, and one who may see replication."""
    assert MARIADB is not None
    server = Server(free_port())
    with _place("mysql") as place:
        key, certificate = server.authority.issued("db.test", "db.example.org")
        for name, content in (("key.pem", key), ("cert.pem", certificate), ("ca.pem", server.authority.pem.encode())):
            (place / name).write_bytes(content)
            (place / name).chmod(0o644)
        sql = (
            f"CREATE USER monitor@'%' IDENTIFIED BY '{PASSWORD}'; CREATE USER nopass@'%';"
            f"CREATE USER replica@'%' IDENTIFIED BY '{PASSWORD}'; "
            "GRANT REPLICATION CLIENT, SLAVE MONITOR ON *.* TO replica@'%';"
            "CREATE USER ssl_only@'%' REQUIRE SSL; CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1;"
        )
        own, owner = (["--user=mysql"], "root") if os.getuid() == 0 else ([], "mysql")
        (place / "init.sql").write_text(sql.replace(";", ";\n"))
        (place / "init.sql").chmod(0o644)
        _run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={place}/data", "--skip-test-db",
             "--auth-root-authentication-method=normal", *own], owner,
        )  # fmt: skip
        words = [
            MARIADB, "--no-defaults", f"--datadir={place}/data", f"--port={server.port}", f"--bind-address={LOOPBACK}",
            f"--socket={place}/s", f"--ssl-key={place}/key.pem", f"--ssl-cert={place}/cert.pem",
            f"--ssl-ca={place}/ca.pem",
            f"--init-file={place}/init.sql", f"--pid-file={place}/pid", "--skip-name-resolve", "--server-id=7",
            "--character-set-server=utf8mb4", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0",
            *own,
        ]  # fmt: skip
        with _running(words, owner, server.port, place / "log"):
            yield server


# MySQL 8 -------------------------------------------------------------------------------------------------------------


def packet(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number & 255]) + body


def text(value: str | None) -> bytes:
    if value is None:
        return b"\xfb"
    data = value.encode()
    assert len(data) < 251
    return bytes([len(data)]) + data


def table(columns: Sequence[str], rows: Sequence[Sequence[str | None]]) -> bytes:
    """The packets of a result set (text protocol, with EOF packets)."""
    end = b"\xfe\0\0\2\0"
    told = [bytes([len(columns)])]
    told += [text("def") + text("") * 3 + text(name) * 2 + b"\x0c" + bytes(12) for name in columns]
    told += [end, *(b"".join(text(value) for value in row) for row in rows), end]
    return b"".join(packet(number, body) for number, body in enumerate(told, 1))


class _Wire:
    """One connection of a server, packet by packet."""

    def __init__(self, found: socket.socket) -> None:
        self.socket = found
        self.is_secure = False
        self._number = 0

    def __enter__(self) -> _Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, body: bytes) -> None:
        self.socket.sendall(packet(self._number, body))
        self._number += 1

    def read(self) -> bytes:
        head = self._exactly(4)
        self._number = head[3] + 1
        return self._exactly(int.from_bytes(head[:3], "little"))

    def start_tls(self, context: ssl.SSLContext) -> None:
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.is_secure = True

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data


@dataclass
class Sha2Server:
    """A server that wants ``caching_sha2_password`` as MySQL 8 does, cached or in full; says what it heard.

    Sources: MySQL Internals, "Caching SHA-2 Authentication": the scramble is checked against the stored double hash;
    without one in the cache the password itself is asked for, by TLS or encrypted to the server's RSA key.
    """

    password: bytes
    is_cached: bool = True
    nonce: bytes = bytes(range(1, 21))
    version: str = "8.0.36"
    switch_from: str = "caching_sha2_password"  # what the greeting names
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    heard: list[bytes] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    answers: dict[bytes, bytes] = field(default_factory=dict)

    @contextmanager
    def running(self) -> Iterator[int]:
        """Serve on a thread, with plain sockets: asyncio's streams read ahead, and lose what TLS begins with."""
        with socket.create_server((LOOPBACK, 0)) as listener:
            thread = threading.Thread(target=self._accept, args=(listener,))
            thread.start()
            try:
                yield listener.getsockname()[1]
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                found, _ = listener.accept()
            except OSError:  # it was shut
                return
            with suppress(EOFError, OSError), _Wire(found) as wire:
                self._serve(wire)

    def _serve(self, wire: _Wire) -> None:
        capabilities = 0x1 | 0x200 | 0x2000 | 0x8000 | 0x80000 | (0x800 if self.tls else 0)
        wire.send(
            b"\x0a" + self.version.encode() + b"\0" + struct.pack("<I", 7) + self.nonce[:8] + b"\0"
            + struct.pack("<HBHHB", capabilities & 0xFFFF, 45, 2, capabilities >> 16, 21) + bytes(10)
            + self.nonce[8:] + b"\0" + self.switch_from.encode() + b"\0"
        )  # fmt: skip
        login = wire.read()
        if len(login) == 32 and self.tls is not None:
            wire.start_tls(self.tls)
            login = wire.read()
        size = login[32:].index(b"\0") + 33
        scramble = login[size + 1 : size + 1 + login[size]]
        if self.switch_from != "caching_sha2_password":
            wire.send(b"\xfecaching_sha2_password\0" + self.nonce + b"\0")
            scramble = wire.read()
        is_right = self._is_right(scramble)
        if not self.is_cached:
            is_right = self._in_full(wire)
        elif is_right and self.password:
            wire.send(b"\1\3")
        if not is_right:
            wire.send(b"\xff\x15\x04#28000Access denied for user")
            return
        wire.send(b"\0\0\0\2\0\0\0")
        while (question := wire.read()) != b"\1":
            wire.socket.sendall(
                self.answers.get(question[1:], packet(1, b"\xff\x28\x04#42000You have an error in your SQL"))
            )

    def _in_full(self, wire: _Wire) -> bool:
        wire.send(b"\1\4")
        said = wire.read()
        self.heard.append(said)
        if wire.is_secure:
            return said == self.password + b"\0"
        assert said == b"\2", "the password came in clear"
        pem = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        wire.send(b"\1" + pem)
        plain = self.key.decrypt(wire.read(), padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))
        mask = (self.nonce * 99)[: len(plain)]
        return bytes(a ^ b for a, b in zip(plain, mask, strict=True)) == self.password + b"\0"

    def _is_right(self, scramble: bytes) -> bool:
        if not self.password:
            return scramble == b""
        stored = hashlib.sha256(hashlib.sha256(self.password).digest()).digest()
        mask = hashlib.sha256(stored + self.nonce).digest()
        once = bytes(a ^ b for a, b in zip(scramble, mask, strict=True)) if len(scramble) == 32 else b""
        return hashlib.sha256(once).digest() == stored
