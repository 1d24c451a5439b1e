"""The server's directory and its one configuration file, ``config.yaml``.

- The directory belongs to the server alone: 0700, and every secret in it 0600.
- Without TLS the server listens on loopback only: tokens would cross the network in clear.
- A wrong file is refused with its place; nothing is guessed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from policies.targets import TargetPattern, each
from protocol.document import Reader, load
from protocol.errors import ArgumentError, ConflictError, NotFoundError, UnavailableError
from protocol.limits import MAX_BLOB_BYTES, MAX_REVIEWERS
from protocol.loopback import is_loopback
from protocol.roster import read_needed
from protocol.signing import PrivateKey
from protocol.tiers import Tier

CONFIG = "config.yaml"
KEY = "server.key"
DATABASE = "server.sqlite"
REPOSITORY = "scripts.git"
RECORDINGS = "recordings"
ADMIN_FILE = "admin.token"
BLOBS = "blobs"
DEFAULT_LISTEN = "127.0.0.1:7443"
_LISTEN = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]+)):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class BlobLimits:
    """How much of what scripts and people put here is kept, and for how long."""

    max_bytes: int = 1 << 30  # of one blob
    per_source_bytes: int = 8 << 30  # of all that one agent, or one person, has put here
    total_bytes: int = 64 << 30
    keep_s: float = 30 * 86_400.0  # after it was last put or fetched


@dataclass(frozen=True, slots=True)
class Sessions:
    """What the section ``sessions`` says of terminals of people."""

    record_input: bool = False  # what is typed, where the host's kernel echoes it; never passwords
    moderators: int = 0  # that must be there before anything typed goes through
    moderated_tier: Tier = Tier.ADMIN  # from which tier on


@dataclass(frozen=True, slots=True)
class Config:
    """What the file says, and where things lie."""

    directory: Path
    host: str
    port: int
    certificate: Path | None = None  # PEM chain; with ``key`` the server speaks TLS
    key: Path | None = None
    reviewers_needed: Mapping[Tier, int] = field(default_factory=dict)  # people who must approve, by the lowest tier
    reason_from: Tier = Tier.OPERATE  # the lowest tier at which a session of a person needs a reason
    blob_limits: BlobLimits = BlobLimits()
    public_reading: bool = False  # whether what authors made public is read without a token
    webhook_targets: tuple[TargetPattern, ...] = ()  # guarded targets, or such without TLS, that webhooks may go to
    sessions: Sessions = Sessions()

    @property
    def blobs(self) -> Path:
        """Where the content of blobs lies."""
        return self.directory / BLOBS

    @property
    def recordings(self) -> Path:
        """Where terminals are recorded."""
        return self.directory / RECORDINGS

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
    needed = _reviewers(reader)
    try:
        reason_from = Tier.parse(reader.text("reason_from", Tier.OPERATE.label))
    except ArgumentError as error:
        raise reader.fail("reason_from", error.message) from None
    certificate = key = None
    if reader.has("tls"):
        tls = reader.section("tls")
        certificate, key = _file(tls, "certificate", directory), _file(tls, "key", directory)
        tls.finish()
    blob_limits = _blob_limits(reader.section("blobs")) if reader.has("blobs") else BlobLimits()
    public_reading = reader.boolean("public_reading", False)
    try:
        webhook_targets = tuple(each(reader.strings("webhook_targets", [])))
    except ArgumentError as error:
        raise reader.fail("webhook_targets", error.message) from None
    sessions = _sessions(reader)
    reader.finish()
    try:
        host, port = parse_listen(listen, is_tls=certificate is not None)
    except ArgumentError as error:
        raise reader.fail("listen", error.message) from None
    return Config(
        directory,
        host,
        port,
        certificate,
        key,
        needed,
        reason_from,
        blob_limits,
        public_reading,
        webhook_targets,
        sessions,
    )


def _blob_limits(reader: Reader) -> BlobLimits:
    default = BlobLimits()
    found = BlobLimits(
        reader.size("max", default.max_bytes), reader.size("per_source", default.per_source_bytes),
        reader.size("total", default.total_bytes), reader.duration("keep", default.keep_s),
    )  # fmt: skip
    if found.max_bytes > MAX_BLOB_BYTES:
        raise reader.fail("max", f"a blob has at most {MAX_BLOB_BYTES} bytes")
    reader.finish()
    return found


def _reviewers(reader: Reader) -> dict[Tier, int]:
    """Return how many must approve, from one number for every tier or a mapping such as ``{operate: 2}``.

    It is for people to see early; hosts go by the roster and their ceilings, and not by this server.
    """
    if isinstance(reader.raw("reviewers_needed", {}), dict):
        try:
            return read_needed(reader.raw("reviewers_needed", {}), "reviewers_needed")
        except ArgumentError as error:
            raise reader.fail("reviewers_needed", error.message) from None
    return {Tier.COMPUTE: reader.integer("reviewers_needed", low=1, high=MAX_REVIEWERS)}


def _sessions(reader: Reader) -> Sessions:
    if not reader.has("sessions"):
        return Sessions()
    section, default = reader.section("sessions"), Sessions()
    read = Sessions(
        section.boolean("record_input", default.record_input),
        section.integer("moderators", default.moderators, low=0, high=4),
        Tier.parse(section.text("moderated_tier", default.moderated_tier.label), where=section.where("moderated_tier")),
    )
    section.finish()
    return read


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
    if not is_tls and not is_loopback(host):
        raise ArgumentError(
            f"{host} is not loopback: tokens would cross the network in clear; give tls: {{certificate, key}}",
            parameter="listen",
        )
    return host, port


def make(directory: Path, listen: str) -> Config:
    """Make a server's directory with its key and configuration.

    Raises:
        OutriderError: As :func:`begin` and :func:`finish`.
    """
    made = begin(directory, listen)
    finish(directory, listen)
    return made


def begin(directory: Path, listen: str) -> Config:
    """Make a server's directory with its key; it holds no server before :func:`finish`, so nothing half-made counts.

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
    except OSError as error:
        raise UnavailableError(f"{directory} cannot be written: {error}") from error
    return Config(directory, host, port)


def finish(directory: Path, listen: str) -> None:
    """Write the configuration, which comes last.

    Raises:
        UnavailableError: The directory cannot be written.
    """
    try:
        write_private(
            directory / CONFIG, f'# Read by outrider-server run.\nlisten: "{listen}"\n'
        )  # quoted: [::1] is a list
    except OSError as error:
        raise UnavailableError(f"{directory} cannot be written: {error}") from error


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
