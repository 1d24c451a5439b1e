"""What an enrolled agent knows of itself: which server, which key proves it, which roots are pinned, which settings.

Written once at enrolment, whole or not at all, and once more if the roots come later; people may change ``settings``.
Plain ``http`` is for loopback alone: everything else would show records to the network, although it could not change or
add any.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from agent import limits
from agent.files import read_bounded, write_durably
from agent.statedir import StateDir
from protocol.document import Reader, load
from protocol.errors import ArgumentError, NotFoundError
from protocol.loopback import is_loopback
from protocol.signing import PublicKey

_MAX_CONFIG_BYTES: Final = 64 * limits.KIB
_FORMAT: Final = 1
_LOG_LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the owner of the host may change."""

    ca_file: str | None = None  # roots for TLS; None: the host's own
    log_level: str = "info"
    spool_max_bytes: int = limits.DEFAULT_SPOOL_MAX_BYTES
    cache_max_bytes: int = limits.DEFAULT_CACHE_MAX_BYTES  # of bundles; what schedules need stays beyond it
    keep_acknowledged_days: int = limits.DEFAULT_KEEP_ACKNOWLEDGED_DAYS
    concurrent_runs: int = limits.MAX_CONCURRENT_RUNS
    blobs_max_bytes: int = limits.DEFAULT_BLOBS_MAX_BYTES
    sandbox_start_timeout_s: float = limits.SANDBOX_START_TIMEOUT_S  # 1 to 600; a slow disk may need more


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """One enrolment."""

    server: str  # its address as given, without a slash at the end
    server_key: PublicKey
    agent_id: str
    name: str | None  # that was asked for
    roots: tuple[PublicKey, ...]  # empty: the server had no roster, and nothing signed can be trusted
    threshold: int  # of the roots; 0 without roots
    settings: Settings = field(default_factory=Settings)


def check_server(address: str, *, where: str | None = None) -> str:
    """Return the server's address as it is kept.

    Raises:
        ArgumentError: Not ``https://host[:port]``, or plain ``http`` to somewhere else than this host.
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")  # as the resolver will; a label that is empty or too long fails here
    except ValueError:
        host, parts = None, urlsplit("")
    is_plain = not (parts.query or parts.fragment or parts.username or parts.password)
    is_plain = is_plain and address.isprintable() and " " not in address
    if parts.scheme not in ("http", "https") or not host or not is_plain:
        raise ArgumentError(f"{address!r:.200} is not an address such as https://outrider.example:7443", where=where)
    if parts.scheme == "http" and not is_loopback(host):
        raise ArgumentError(f"{address!r:.200} is not encrypted; plain http is for this host alone", where=where)
    return address.rstrip("/")


def load_config(state: StateDir) -> AgentConfig:
    """Return what the state directory says.

    Raises:
        NotFoundError: The directory is not enrolled.
        DocumentError: ``agent.json`` is wrong at a named place.
        UnavailableError: Others may write it.
    """
    try:
        text = read_bounded(state.config, _MAX_CONFIG_BYTES).decode("utf-8", "replace")
    except NotFoundError:
        raise NotFoundError(f"{state.path} is not enrolled: run outrider-agent enroll first") from None
    reader = Reader(load(text, state.config.name))
    reader.integer("format", low=_FORMAT, high=_FORMAT)
    roots = reader.section("roots")
    keys = tuple(PublicKey.from_text(key, where=roots.where("keys")) for key in roots.strings("keys"))
    config = AgentConfig(
        server=check_server(reader.text("server"), where=reader.where("server")),
        server_key=PublicKey.from_text(reader.text("server_key"), where=reader.where("server_key")),
        agent_id=reader.text("agent_id"),
        name=reader.text("name", None),
        roots=keys,
        threshold=roots.integer("threshold", low=1 if keys else 0, high=len(keys)),
        settings=_read_settings(reader.section("settings")),
    )
    roots.finish()
    reader.finish()
    return config


def save_config(state: StateDir, config: AgentConfig) -> None:
    """Write ``agent.json``; from then on the directory is enrolled.

    Raises:
        UnavailableError: It cannot be written.
    """
    plain = {
        "format": _FORMAT,
        "server": config.server,
        "server_key": config.server_key.to_text(),
        "agent_id": config.agent_id,
        **({"name": config.name} if config.name is not None else {}),
        "roots": _plain_roots(config.roots, config.threshold),
        "settings": {"ca_file": config.settings.ca_file} if config.settings.ca_file else {},
    }
    write_durably(state.config, (json.dumps(plain, indent=2) + "\n").encode(), mode=0o600)


def save_roots(state: StateDir, roots: Sequence[PublicKey], threshold: int) -> None:
    """Write other roots into ``agent.json``, and leave all else in it as its owner has written it.

    Raises:
        DocumentError: ``agent.json`` is wrong at a named place.
        UnavailableError: It cannot be written, or others may write it.
    """
    load_config(state)  # what cannot be read is not written anew
    plain = load(read_bounded(state.config, _MAX_CONFIG_BYTES).decode("utf-8", "replace"), state.config.name).value
    plain["roots"] = _plain_roots(roots, threshold)
    write_durably(state.config, (json.dumps(plain, indent=2) + "\n").encode(), mode=0o600)


def _plain_roots(roots: Sequence[PublicKey], threshold: int) -> dict[str, Any]:
    return {"threshold": threshold, "keys": [key.to_text() for key in roots]}


def _read_settings(reader: Reader) -> Settings:
    default = Settings()
    settings = Settings(
        ca_file=reader.text("ca_file", None),
        log_level=reader.choice("log_level", _LOG_LEVELS, default.log_level),
        spool_max_bytes=reader.size("spool_max", default.spool_max_bytes),
        cache_max_bytes=reader.size("cache_max", default.cache_max_bytes),
        keep_acknowledged_days=reader.integer("keep_acknowledged_days", default.keep_acknowledged_days, high=3650),
        concurrent_runs=reader.integer("concurrent_runs", default.concurrent_runs, low=1, high=64),
        blobs_max_bytes=reader.size("blobs_max", default.blobs_max_bytes),
        sandbox_start_timeout_s=reader.duration("sandbox_start_timeout", default.sandbox_start_timeout_s),
    )
    if not 1 <= settings.sandbox_start_timeout_s <= limits.MAX_SANDBOX_START_TIMEOUT_S:
        raise reader.fail("sandbox_start_timeout", f"must be 1s to {limits.MAX_SANDBOX_START_TIMEOUT_S:.0f}s")
    reader.finish()
    return settings
