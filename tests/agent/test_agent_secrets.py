"""Secrets on a host: only boxes for this very host, name, version and scripts count, and no old one comes back."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from agent import limits
from agent.files import read_bounded
from agent.secrets import Secrets, load_opening_key
from protocol.errors import DeniedError, NotFoundError, OutriderError, TooLargeError, TrustError, UnavailableError
from protocol.sealing import Context, OpeningKey, seal

AGENT = "agt_1"
VALUE = b"correct horse battery"
KEY = OpeningKey.generate()


def item(
    name: str = "db", version: int = 1, scripts: tuple[str, ...] = ("checks/**",), value: bytes = VALUE, *,
    agent: str = AGENT, key: OpeningKey = KEY,
) -> dict[str, Any]:  # fmt: skip
    box = seal(value, key.public, Context(agent, name, version, scripts))
    return {"name": name, "version": version, "scripts": list(scripts), "sealed": box}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secrets.json"


@pytest.fixture
def secrets(path: Path) -> Secrets:
    return Secrets(path, KEY, AGENT)


def again(path: Path) -> Secrets:
    return Secrets(path, KEY, AGENT)


def reasons(refusals: list[OutriderError]) -> list[str]:
    return [getattr(refusal, "reason", refusal.code) for refusal in refusals]


def test_what_is_sealed_for_this_host_is_held_and_opened(secrets: Secrets, path: Path) -> None:
    assert secrets.set([item()]) == []
    for held in (secrets, again(path)):
        assert held.versions == {"db": 1}
        assert held.of("checks/disk").open("db") == VALUE


def test_on_the_disk_it_is_sealed_and_for_its_owner_alone(secrets: Secrets, path: Path) -> None:
    secrets.set([item()])
    content = path.read_bytes()
    assert VALUE not in content
    assert base64.b64encode(VALUE) not in content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_script_outside_of_what_it_is_for_gets_nothing(secrets: Secrets) -> None:
    secrets.set([item(scripts=("checks/db/**", "ops/restart"))])
    for script in ("checks/db/load", "ops/restart"):
        secrets.of(script).require("db")
    for script in ("checks/db", "checks/dbx/load", "ops/restart2", "ops", ""):
        with pytest.raises(DeniedError) as caught:
            secrets.of(script).open("db")
        assert "its scripts" in caught.value.rule
    with pytest.raises(NotFoundError):
        secrets.of("checks/db/load").open("other")


def tampered(box: bytes) -> bytes:
    return box[:-1] + bytes([box[-1] ^ 1])


NEWER = item(version=2)  # in order but for what each attack changes
ATTACKS: dict[str, dict[str, Any]] = {
    "of another agent": item(version=2, agent="agt_2"),
    "for another key": item(version=2, key=OpeningKey.generate()),
    "under another name": item("root", 2) | {"name": "db"},
    "as a newer version": NEWER | {"version": 9},
    "for more scripts": NEWER | {"scripts": ["**"]},
    "tampered": NEWER | {"sealed": tampered(NEWER["sealed"])},
    "cut": NEWER | {"sealed": NEWER["sealed"][:40]},
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_box_that_is_not_for_this_is_refused_and_changes_nothing(secrets: Secrets, path: Path, attack: str) -> None:
    secrets.set([item(version=1, value=b"before")])
    (refusal,) = secrets.set([ATTACKS[attack]])
    assert refusal.code == "untrusted"
    assert secrets.of("checks/a").open("db") == b"before"
    assert secrets.versions == again(path).versions == {"db": 1}
    assert secrets.set([item(version=2, value=b"after")]) == []  # and the good one still comes through
    assert secrets.of("checks/a").open("db") == b"after"


def test_an_older_version_does_not_come_back(secrets: Secrets, path: Path) -> None:
    old, new = item(version=1, value=b"leaked"), item(version=2, value=b"new one")
    secrets.set([old])
    secrets.set([new])
    assert reasons(secrets.set([old])) == ["rollback"]
    assert secrets.of("checks/a").open("db") == b"new one"
    assert reasons(again(path).set([old])) == ["rollback"]


def test_an_older_version_does_not_come_back_after_removal(secrets: Secrets, path: Path) -> None:
    old, new = item(version=1), item(version=2)
    for each in ([old], [new], []):
        secrets.set(each)
    held = again(path)
    with pytest.raises(NotFoundError):
        held.of("checks/a").open("db")
    assert reasons(held.set([old])) == ["rollback"]
    assert held.set([new]) == []  # withheld for a while, and given back


def test_another_box_of_the_same_version_is_refused(secrets: Secrets) -> None:
    secrets.set([item(value=b"first")])
    assert reasons(secrets.set([item(value=b"second")])) == ["rollback"]
    assert secrets.of("checks/a").open("db") == b"first"


def test_a_bad_item_does_not_hold_up_the_others(secrets: Secrets) -> None:
    refusals = secrets.set([item("a"), item("b", agent="agt_2"), item("c"), item("c"), "nonsense", {}])
    assert reasons(refusals) == ["not_for_us", "invalid_argument", "invalid_argument", "invalid_argument"]
    assert secrets.versions == {"a": 1, "c": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../x"}, {"name": 5}, {"version": 0}, {"version": True}, {"scripts": []}, {"scripts": ["*"]},
        {"sealed": "text"}, {"sealed": b""}, {"more": 1}, {"sealed": b"\1" * 100_000},
    ],
)  # fmt: skip
def test_items_are_read_strictly(secrets: Secrets, change: dict[str, Any]) -> None:
    assert len(secrets.set([item() | change])) == 1
    assert secrets.versions == {}


def test_how_many_is_bounded(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TooLargeError):
        secrets.set([{}] * (limits.MAX_SECRETS + 1))
    monkeypatch.setattr(limits, "MAX_SECRET_NAMES", 2)
    secrets.set([item("a"), item("b")])
    with pytest.raises(TooLargeError, match="ever used"):
        secrets.set([item("c")])
    assert secrets.versions == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"format": 2}', b'{"format": 1, "secrets": [{}], "seen": {}}']
)
def test_a_damaged_file_stops_every_use_and_is_left_as_it_is(path: Path, content: bytes) -> None:
    """It says which versions were seen; going on without would let old ones come back."""
    path.write_bytes(content)
    path.chmod(0o600)
    held = again(path)
    assert "is damaged" in str(held.problem)
    for use in (lambda: held.of("checks/a").open("db"), lambda: held.set([item()])):
        with pytest.raises(UnavailableError, match="no secret can be used"):
            use()
    assert path.read_bytes() == content


def test_a_file_that_others_can_read_is_not_used(secrets: Secrets, path: Path) -> None:
    secrets.set([item()])
    path.chmod(0o644)
    assert "make it mode 600" in str(again(path).problem)


def test_what_was_exchanged_on_the_disk_does_not_open(secrets: Secrets, path: Path) -> None:
    secrets.set([item("a", value=b"value of a"), item("b", value=b"value of b")])
    plain = json.loads(path.read_bytes())
    one, other = plain["secrets"]
    one["sealed"], other["sealed"] = other["sealed"], one["sealed"]
    path.write_text(json.dumps(plain))
    with pytest.raises(TrustError):
        again(path).of("checks/a").open("a")


def test_the_key_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    path = tmp_path / "sealing.key"
    first = load_opening_key(path)
    assert load_opening_key(path).public == first.public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_bounded(path, 4096, is_secret=True).decode() == first.to_text()
    path.chmod(0o640)
    with pytest.raises(UnavailableError):
        load_opening_key(path)
