"""``agent.json``: what enrolment wrote is read back, and what a person gets wrong is named by file, line and key."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentConfig, Settings, check_server, load_config, save_config
from agent.statedir import StateDir
from protocol.errors import ArgumentError, NotFoundError, OutriderError, UnavailableError
from protocol.signing import PrivateKey

SERVER_KEY, ROOT, OTHER = (PrivateKey.generate().public for _ in range(3))


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path)


def written(state: StateDir, **changes: Any) -> None:
    """Write a good configuration but for the changes; None leaves a key out."""
    body = {
        "format": 1, "server": "https://outrider.example:7443", "server_key": SERVER_KEY.to_text(),
        "agent_id": "agt_1", "roots": {"threshold": 1, "keys": [ROOT.to_text()]}, "settings": {},
    } | changes  # fmt: skip
    state.config.write_text(json.dumps({key: value for key, value in body.items() if value is not None}, indent=1))
    state.config.chmod(0o600)


@pytest.mark.parametrize(
    "config",
    [
        AgentConfig("https://outrider.example:7443", SERVER_KEY, "agt_1", "web-1", (ROOT, OTHER), 2),
        AgentConfig("http://127.0.0.1:7443", SERVER_KEY, "agt_1", None, (), 0),
        AgentConfig("https://h", SERVER_KEY, "agt_1", None, (ROOT,), 1, Settings(ca_file="/etc/ca.pem")),
    ],
)
def test_what_is_saved_is_loaded(state: StateDir, config: AgentConfig) -> None:
    save_config(state, config)
    assert load_config(state) == config
    assert stat.S_IMODE(state.config.stat().st_mode) == 0o600


def test_every_setting_is_read(state: StateDir) -> None:
    settings = {
        "ca_file": "/etc/ca.pem", "log_level": "debug", "spool_max": "64MiB", "cache_max": "8MiB",
        "keep_acknowledged_days": 3, "concurrent_runs": 2, "blobs_max": "1MiB", "sandbox_start_timeout": "2m",
    }  # fmt: skip
    written(state, settings=settings)
    assert load_config(state).settings == Settings("/etc/ca.pem", "debug", 64 << 20, 8 << 20, 3, 2, 1 << 20, 120.0)


def test_what_is_not_said_has_its_default(state: StateDir) -> None:
    written(state, settings=None)
    assert load_config(state).settings == Settings()


@pytest.mark.parametrize(
    ("changes", "where", "says"),
    [
        ({"format": 2}, "agent.json:2: format", "must be 1 to 1"),
        ({"format": None}, "agent.json:1: format", "missing"),
        ({"server": "outrider.example"}, "agent.json:3: server", "not an address"),
        ({"server": "http://outrider.example"}, "agent.json:3: server", "not encrypted"),
        ({"server": 7}, "agent.json:3: server", "must be text"),
        ({"server_key": "ed25519:xyz"}, "agent.json:4: server_key", ""),
        ({"agent_id": None}, "agent.json:1: agent_id", "missing"),
        ({"name": 7}, "agent.json:13: name", "must be text"),
        ({"roots": {"threshold": 2, "keys": [ROOT.to_text()]}}, "agent.json:7: roots.threshold", "must be 1 to 1"),
        ({"roots": {"threshold": 0, "keys": [ROOT.to_text()]}}, "agent.json:7: roots.threshold", "must be 1 to 1"),
        ({"roots": {"threshold": 1, "keys": []}}, "agent.json:7: roots.threshold", "must be 0 to 0"),
        ({"roots": {"threshold": 1, "keys": ["key"]}}, "agent.json:8: roots.keys", ""),
        ({"roots": {"threshold": 1, "keys": [ROOT.to_text()], "k": 1}}, "agent.json:11: roots.k", "unknown key"),
        ({"roots": [1]}, "agent.json:6: roots", "must be a mapping"),
        ({"settings": {"log_level": "loud"}}, "agent.json:13: settings.log_level", "debug, info, warning, error"),
        ({"settings": {"spool_max": "much"}}, "agent.json:13: settings.spool_max", "not a size"),
        ({"settings": {"concurrent_runs": 0}}, "agent.json:13: settings.concurrent_runs", "must be 1 to 64"),
        (
            {"settings": {"sandbox_start_timeout": 45}},
            "agent.json:13: settings.sandbox_start_timeout",
            "not a duration",
        ),
        (
            {"settings": {"sandbox_start_timeout": "900ms"}},
            "agent.json:13: settings.sandbox_start_timeout",
            "1s to 600s",
        ),
        ({"settings": {"sandbox_start_timeout": "11m"}}, "agent.json:13: settings.sandbox_start_timeout", "1s to 600s"),
        ({"settings": {"keep_acknowledged_days": -1}}, "agent.json:13: settings.keep_acknowledged_days", "must be 0"),
        ({"settings": {"log_levle": "info"}}, "agent.json:13: settings.log_levle", "did you mean 'log_level'"),
        ({"setings": {}}, "agent.json:13: setings", "did you mean 'settings'"),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_key(
    state: StateDir, changes: dict[str, Any], where: str, says: str
) -> None:
    written(state, **changes)
    with pytest.raises(ArgumentError) as caught:
        load_config(state)
    assert str(caught.value).startswith(where)
    assert says in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"{", b"{'format': 1, 'format': 1}", b"&a {b: *a}"])
def test_what_is_no_configuration_is_named(state: StateDir, content: bytes) -> None:
    state.config.write_bytes(content)
    state.config.chmod(0o600)
    with pytest.raises(ArgumentError, match=r"agent\.json"):
        load_config(state)


def test_a_directory_that_is_not_enrolled_says_what_to_do(state: StateDir) -> None:
    with pytest.raises(NotFoundError, match="outrider-agent enroll"):
        load_config(state)


def test_a_configuration_that_others_may_write_is_not_believed(state: StateDir) -> None:
    """They could name another server and other roots."""
    written(state)
    state.config.chmod(0o622)
    with pytest.raises(UnavailableError, match=r"agent\.json"):
        load_config(state)


def test_a_configuration_without_an_end_is_not_read(state: StateDir) -> None:
    written(state, name="x" * 100_000)
    with pytest.raises(OutriderError, match=r"agent\.json"):
        load_config(state)


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://outrider.example", "https://outrider.example"),
        ("https://outrider.example:7443/", "https://outrider.example:7443"),
        ("https://outrider.example/under/", "https://outrider.example/under"),
        ("http://127.0.0.1:7443", "http://127.0.0.1:7443"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:7443", "http://[::1]:7443"),
        ("http://localhost:7443", "http://localhost:7443"),
    ],
)
def test_addresses_of_a_server(address: str, kept: str) -> None:
    assert check_server(address) == kept


@pytest.mark.parametrize(
    "address",
    [
        "", "outrider.example", "ftp://outrider.example", "https://", "https://:7443", "https://a:port", "https://a:99999",
        "https://user@outrider.example", "https://user:secret@outrider.example", "https://a/?token=x", "https://a/#x",
        "http://outrider.example", "http://10.0.0.1", "http://localhost.example", "http://[::2]", "https://[::1",
        "https://" + 70 * "a" + ".example", "https://a..example", "https://out rider.example", "https://a\n.example",
        "https://\u2100.example",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_server(address: str) -> None:
    """Found here, not as a failure of some library at the first connection."""
    with pytest.raises(ArgumentError, match="where: "):
        check_server(address, where="where")
