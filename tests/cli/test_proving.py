"""A server that was taken over, and somebody with a key: what they sign is what they were shown and what they named."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loopback import Asked, answer, loopback, of_json

from protocol.bundle import Bundle
from protocol.signing import Envelope, PrivateKey, peek

Outrider = Callable[..., Any]
ID = "6f1d0a9b2c3e"
REVIEW = f"reviews/{ID}"


def bundle(name: str = "checks/look", version: str = "1.0.0", source: str = "return 1\n") -> Bundle:
    manifest = f"name: {name}\nversion: {version}\nlanguage: lua\nmain: main.lua\ntier: observe\n"
    return Bundle.from_files({"manifest.yaml": manifest.encode(), "main.lua": source.encode()})


def handed_out(made: Bundle, **lies: Any) -> dict[str, Any]:
    packed = base64.b64encode(made.pack()).decode()
    return {"digest": made.digest, "publication": {}, "bundle": packed, "libraries": [], **lies}


def review_of(made: Bundle, **lies: Any) -> dict[str, Any]:
    manifest = made.manifest
    return {
        "id": ID, "script": manifest.name, "version": manifest.version, "tier": "observe", "digest": made.digest,
        "previous": None, "manifest": {"parameters": {}}, **lies,
    }  # fmt: skip


class Liar:
    """A server with answers by path; keeps what it was sent."""

    def __init__(self, **told: Any) -> None:
        self.told = {path.replace("__", "/"): value for path, value in told.items()}
        self.sent: dict[str, Any] = {}

    def __call__(self, asked: Asked) -> bytes:
        path = asked.path.removeprefix("/api/v1/")
        if asked.method == "POST":
            self.sent[path] = json.loads(asked.body)
            return of_json({"warnings": [], "runs": []}, 201)
        told = self.told.get(path)
        value = told(asked.query) if callable(told) else told
        if value is None:
            problem = {"code": "not_found", "detail": f"there is no {path}"}
            return answer(404, json.dumps(problem).encode(), content_type="application/problem+json")
        return of_json(value)

    def signed(self, path: str, field: str) -> dict[str, Any]:
        """Return what was signed in what was sent to a path."""
        return dict(peek(Envelope.from_json(self.sent[path][field])))


@pytest.fixture
def key(home: Path) -> str:
    path = home / "key"
    path.write_text(PrivateKey.generate().to_text() + "\n")
    path.chmod(0o600)
    return str(path)


SHOWN, MEANT = bundle(source="return 1\n"), bundle(source="return fs.read('/etc/shadow')\n")
OTHER = bundle(name="fix/wipe")


@pytest.mark.parametrize(
    ("shown", "handed", "why"),
    [
        (review_of(MEANT), handed_out(SHOWN), "hands out a bundle with sha256"),  # what is signed is not what is read
        (review_of(SHOWN), handed_out(MEANT), "hands out a bundle with sha256"),
        (review_of(MEANT), handed_out(SHOWN, digest=MEANT.digest), "the bundle is sha256"),
        (review_of(OTHER, script="checks/look"), handed_out(OTHER), "shows the script checks/look"),
        (review_of(SHOWN, version="9.9.9"), handed_out(SHOWN), "shows the version 9.9.9"),
        (review_of(SHOWN, tier="admin"), handed_out(SHOWN), "shows the tier admin"),
        (review_of(SHOWN), {"digest": SHOWN.digest, "bundle": "%%%"}, "holds no bundle"),
        (review_of(SHOWN), {"digest": SHOWN.digest, "bundle": None}, "holds no bundle"),
        (review_of(SHOWN), [], "holds no bundle"),
    ],
)
@pytest.mark.parametrize("words", [("approve", "--reason", "x", "--yes"), ("show",)])
def test_nothing_is_signed_or_shown_that_is_not_of_its_digest(
    outrider: Outrider, key: str, shown: Any, handed: Any, why: str, words: tuple[str, ...]
) -> None:
    liar = Liar(**{REVIEW: shown, f"{REVIEW}/bundle": handed})
    with loopback(liar) as server:
        command, *more = words
        mine = ["--key", key] if command == "approve" else []
        called = outrider("--server", server.url, "review", command, ID, *more, *mine)
    assert called.status != 0
    assert why in called.err
    assert liar.sent == {}
    assert called.out == ""


def test_what_is_shown_is_read_from_the_bundle_and_not_from_what_the_server_says_of_it(outrider: Outrider) -> None:
    harmless = {"items": [{"path": "main.lua", "change": "whole", "part": 1, "text": "return 'harmless'\n"}]}
    liar = Liar(**{REVIEW: review_of(MEANT), f"{REVIEW}/bundle": handed_out(MEANT), f"{REVIEW}/code": harmless})
    with loopback(liar) as server:
        called = outrider("--server", server.url, "review", "show", ID)
    assert called.status == 0, called.err
    assert "fs.read('/etc/shadow')" in called.out
    assert "harmless" not in called.out


def test_a_difference_is_made_here_and_says_of_what(outrider: Outrider) -> None:
    before, after = bundle(source="return 1\n"), bundle(version="1.1.0", source="return 2\n")
    told = {REVIEW: review_of(after, previous="1.0.0"), f"{REVIEW}/bundle": handed_out(after)}
    liar = Liar(**told, scripts__bundle=handed_out(before))
    with loopback(liar) as server:
        called = outrider("--server", server.url, "review", "show", ID)
        assert "-return 1\n+return 2\n" in called.out
        assert f"1.0.0  {before.digest}" in called.out
        liar.told["scripts/bundle"] = handed_out(OTHER)
        assert "was asked for checks/look 1.0.0" in outrider("--server", server.url, "review", "show", ID).err


def test_an_approval_says_what_its_bundle_is(outrider: Outrider, key: str) -> None:
    liar = Liar(**{REVIEW: review_of(SHOWN), f"{REVIEW}/bundle": handed_out(SHOWN)})
    with loopback(liar) as server:
        words = ("--server", server.url, "review", "approve", ID, "--reason", "x", "--yes", "--key", key)
        refused = outrider(*words, "--digest", MEANT.digest)
        assert (refused.status, liar.sent) == (3, {})
        assert f"it is {SHOWN.digest}, not {MEANT.digest}" in refused.err
        assert outrider(*words, "--digest", SHOWN.digest).status == 0
    said = liar.signed(f"{REVIEW}/approve", "approval")
    assert (said["name"], said["version"], said["digest"]) == ("checks/look", "1.0.0", SHOWN.digest)


@pytest.mark.parametrize("handed", [OTHER, bundle(version="0.9.0")])
def test_an_order_is_for_the_script_that_was_named(outrider: Outrider, key: str, handed: Bundle) -> None:
    """Another approved script, or an older version of this one, under the name that the operator gave."""
    liar = Liar(scripts__bundle=handed_out(handed), agents={"items": [{"id": "a" * 32}], "next": None})
    with loopback(liar) as server:
        words = ("--server", server.url, "run", "web-3", "checks/look", "--sign", "--key", key)
        refused = outrider(*words, "--version", "1.0.0")
        assert (refused.status, liar.sent) == (3, {})
        assert "was asked for checks/look 1.0.0 and handed out" in refused.err
        liar.told["scripts/bundle"] = handed_out(SHOWN)
        outrider(*words, "--version", "1.0.0", "--no-wait")
    assert liar.signed("runs", "order")["digest"] == SHOWN.digest
    assert liar.sent["runs"]["version"] == "1.0.0"


def test_a_withdrawal_is_of_the_version_that_was_named(outrider: Outrider, key: str) -> None:
    liar = Liar(scripts__bundle=handed_out(OTHER))
    with loopback(liar) as server:
        words = ("script", "withdraw", "checks/look", "1.0.0", "--reason", "x", "--yes", "--key", key)
        assert outrider("--server", server.url, *words).status == 3
        assert liar.sent == {}
        liar.told["scripts/bundle"] = handed_out(SHOWN)
        assert outrider("--server", server.url, *words).status == 0
    assert liar.signed("scripts/withdraw", "envelope")["digest"] == SHOWN.digest


def test_code_is_made_safe_in_a_pipe_too(outrider: Outrider) -> None:
    """Which may end in a pager, on the terminal of whoever decides."""
    hidden = bundle(source="return fs.read('/etc/shadow') --\x1b[1A\x1b[2K\u202e\n")
    liar = Liar(**{REVIEW: review_of(hidden), f"{REVIEW}/bundle": handed_out(hidden)})
    with loopback(liar) as server:
        called = outrider("--server", server.url, "review", "show", ID)
    assert called.status == 0, called.err
    assert "/etc/shadow" in called.out
    assert not {"\x1b", "\u202e"} & set(called.out)
