"""The server's directory and its one configuration file, ``config.yaml``.

- The directory belongs to the server alone: 0700, and every secret in it 0600.
- Without TLS the server listens on loopback only: tokens would cross the network in clear.
- A wrong file is refused with its place; nothing is guessed.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path

from protocol.document import Reader, load
from protocol.errors import ArgumentError, ConflictError, NotFoundError, UnavailableError
from protocol.signing import PrivateKey

CONFIG = "config.yaml"
KEY = "server.key"
DATABASE = "server.sqlite"
REPOSITORY = "scripts.git"
ADMIN_FILE = "admin.token"
DEFAULT_LISTEN = "127.0.0.1:7443"
_LISTEN = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]+)):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Config:
    """What the file says, and where things lie."""

    directory: Path
    host: str
    port: int
    certificate: Path | None = None  # PEM chain; with ``key`` the server speaks TLS
    key: Path | None = None
    reviewers_needed: int = 1  # different people who must approve a version

    @property
    def database(self) -> Path:
        """Where the database lies."""
        return self.directory / DATABASE

    @property
    def repository(self) -> Path:
        """Where the git repository of scripts lies."""
        return self.directory / REPOSITORY

    @property
    def url(self) -> str:
        """Where clients find the server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certificate else 'http'}://{host}:{self.port}"


def read(directory: Path) -> Config:
    """Return the configuration in ``directory``.

    Raises:
        NotFoundError: There is none.
        DocumentError: It is wrong at a named place.
    """
    path = directory / CONFIG
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(
            f"{directory} is no server's directory (make one with: outrider-server init --dir {directory})"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError(f"{path} cannot be read: {error}") from error
    reader = Reader(load(text, str(path)))
    listen = reader.text("listen", DEFAULT_LISTEN)
    needed = reader.integer("reviewers_needed", 1, low=1, high=16)
    certificate = key = None
    if reader.has("tls"):
        tls = reader.section("tls")
        certificate, key = _file(tls, "certificate", directory), _file(tls, "key", directory)
        tls.finish()
    reader.finish()
    try:
        host, port = parse_listen(listen, is_tls=certificate is not None)
    except ArgumentError as error:
        raise reader.fail("listen", error.message) from None
    return Config(directory, host, port, certificate, key, needed)


def _file(reader: Reader, name: str, directory: Path) -> Path:
    path: Path = directory / reader.text(name)
    if not path.is_file():
        raise reader.fail(name, f"there is no file {path}")
    return path


def parse_listen(text: str, *, is_tls: bool) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``.

    Raises:
        ArgumentError: Not of that form, or not loopback and without TLS.
    """
    match = _LISTEN.fullmatch(text)
    if match is None or not 0 < int(match[3]) < 65536:
        raise ArgumentError(f"{text!r} is not HOST:PORT (example: {DEFAULT_LISTEN})", parameter="listen")
    host, port = match[1] or match[2], int(match[3])
    if not is_tls and not _is_loopback(host):
        raise ArgumentError(
            f"{host} is not loopback: tokens would cross the network in clear; give tls: {{certificate, key}}",
            parameter="listen",
        )
    return host, port


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def make(directory: Path, listen: str) -> Config:
    """Make a server's directory with configuration and key; the configuration comes last, so nothing half-made counts.

    Raises:
        ConflictError: There is a server already.
        ArgumentError: ``listen`` is wrong.
        UnavailableError: The directory cannot be written.
    """
    host, port = parse_listen(listen, is_tls=False)
    if (directory / CONFIG).exists():
        raise ConflictError(f"{directory} holds a server already")
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)
        if not (directory / KEY).exists():
            write_private(directory / KEY, PrivateKey.generate().to_text("outrider-server") + "\n")
        write_private(
            directory / CONFIG, f'# Read by outrider-server run.\nlisten: "{listen}"\n'
        )  # quoted: [::1] is a list
    except OSError as error:
        raise UnavailableError(f"{directory} cannot be written: {error}") from error
    return Config(directory, host, port)


def read_key(directory: Path) -> PrivateKey:
    """Return the server's key.

    Raises:
        UnavailableError: It cannot be read, or others may read it.
        ArgumentError: It is damaged.
    """
    path = directory / KEY
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError(f"{path} cannot be read: {error}") from error
    if mode & 0o077:
        raise UnavailableError(f"{path} has mode {mode:04o}: others may read the server's key (chmod 600 {path})")
    return PrivateKey.from_text(text, where=str(path))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)  # of an attempt that was cut off
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
