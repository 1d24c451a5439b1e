"""Signing in, and what ``status`` says: tokens by file or standard input, never on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shell import Called, Shell


@pytest.fixture
def stranger(outrider: Shell) -> Shell:
    """Somebody whom nobody told about a server yet."""
    del outrider.environment["OUTRIDER_SERVER"], outrider.environment["OUTRIDER_TOKEN"]
    return outrider


def config_of(shell: Shell) -> Path:
    return shell.home / "config" / "outrider" / "config.yaml"


def fingerprint(shell: Shell) -> str:
    """Return what the server's own tool says."""
    return shell.fleet.run_tool("server", "fingerprint", "--dir", str(shell.fleet.directory / "server")).stdout.strip()


def known_of(shell: Shell) -> Path:
    return shell.home / "config" / "outrider" / "known-servers.json"


def sign_in(shell: Shell, *words: str) -> Called:
    return shell("login", shell.url, "--token-file", str(shell.token_file), *words)


def private(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def test_without_signing_in_every_command_says_how_to(stranger: Shell) -> None:
    called = stranger("agent", "ls")
    assert (called.status, called.out) == (4, "")
    assert "outrider login" in called.err


def test_sign_in_with_a_token_file(stranger: Shell) -> None:
    called = stranger.program("login", stranger.url, "--token-file", str(stranger.token_file), "--as", "home")
    assert (called.status, called.out) == (0, "")
    first, key, advice = called.err.splitlines()
    assert first == f"signed in to {stranger.url} as admin (context home)"
    assert key == f"its key is new here: {fingerprint(stranger)}"
    assert "outrider-server fingerprint" in advice
    assert config_of(stranger).stat().st_mode & 0o777 == 0o600
    status = stranger("status")
    assert status.status == 0
    assert "context home of" in status.out
    assert stranger("agent", "ls").status == 0


def test_sign_in_with_a_token_on_standard_input(stranger: Shell) -> None:
    token = stranger.token_file.read_text()
    called = stranger.program("login", stranger.url, "--token-file", "-", "--json", stdin=token)
    assert called.status == 0
    assert called.data["principal"] == "admin"
    assert called.data["context"] == "127.0.0.1"
    assert token.strip() not in called.out + called.err, "a token is not shown"


def test_no_terminal_and_no_token(stranger: Shell) -> None:
    """A program must not hang at a question that nobody sees."""
    called = stranger("login", stranger.url)
    assert called.status == 2
    assert "--token-file" in called.err


def test_wrong_token_names_where_it_came_from_and_keeps_nothing(stranger: Shell) -> None:
    source = private(stranger.work / "token", "not-the-token\n")
    called = stranger("login", stranger.url, "--token-file", source)
    assert called.status == 4
    assert called.err == f"{source}: {stranger.url} does not take this token\n"
    assert not config_of(stranger).exists()


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [("", 0o600, "holds no token"), ("a b\nc", 0o600, "holds no token"), ("x", 0o644, "chmod")],
)
def test_bad_token_file(stranger: Shell, text: str, mode: int, said: str) -> None:
    path = Path(private(stranger.work / "token", text))
    path.chmod(mode)
    called = stranger("login", stranger.url, "--token-file", str(path), "--json")
    assert called.status == 2
    assert called.out == ""
    assert said in called.error["message"]
    assert called.error["where"] == str(path)


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("ftp://127.0.0.1", "is not a server"),
        ("http://outrider.example.net", "needs https"),
        ("http://127.0.0.1:99999", "is not a server"),
    ],
)
def test_bad_server(stranger: Shell, server: str, said: str) -> None:
    called = stranger("login", server, "--token-file", str(stranger.token_file))
    assert called.status == 2
    assert said in called.err


def test_nobody_answers(stranger: Shell) -> None:
    called = stranger("login", "http://127.0.0.1:1", "--token-file", str(stranger.token_file))
    assert called.status == 1
    assert called.err == "no server answers at http://127.0.0.1:1\n"


def test_switching_between_contexts(stranger: Shell) -> None:
    def login(*words: str) -> Called:
        return stranger("login", *words)

    for name in ("home", "work"):
        assert login(stranger.url, "--token-file", str(stranger.token_file), "--as", name).status == 0
    assert "context work of" in stranger("status").out
    assert login("--use", "home").status == 0
    assert "context home of" in stranger("status").out
    assert "context work of" in stranger("status", "--context", "work").out
    unknown = login("--use", "elsewhere")
    assert unknown.status == 2
    assert "known: home, work" in unknown.err
    assert "context home of" in stranger("status").out, "a mistyped name changes nothing"


def test_status_tells_who_where_and_how_many(outrider: Shell) -> None:
    text, data = outrider.program("status"), outrider("status", "--json").data
    assert text.err == ""
    assert f"server          {outrider.url}" in text.out
    assert (data["principal"], data["agents"], data["connected"]) == ("admin", 2, 1)
    assert data["server"] == outrider.url


def test_token_of_the_environment_that_is_not_valid(outrider: Shell) -> None:
    outrider.environment["OUTRIDER_TOKEN"] = "wrong"
    called = outrider("status", "--json")
    assert (called.status, called.out) == (4, "")
    assert called.error["code"] == "unauthenticated"


# which server it is ---------------------------------------------------------------------------------------------------


def test_a_server_is_known_from_the_first_time_on(stranger: Shell) -> None:
    told = sign_in(stranger, "--json").data
    assert (told["server_key"], told["server_key_is_new"]) == (fingerprint(stranger), True)
    assert known_of(stranger).stat().st_mode & 0o777 == 0o600
    told = sign_in(stranger, "--json").data
    assert told["server_key_is_new"] is False
    assert sign_in(stranger).err == f"signed in to {stranger.url} as admin (context 127.0.0.1)\n"


def test_the_fingerprint_must_be_that_of_the_server(stranger: Shell) -> None:
    right = fingerprint(stranger)
    wrong = sign_in(stranger, "--fingerprint", right[:-1] + ("0" if right[-1] != "0" else "1"))
    assert wrong.status == 3
    assert "no token was sent" in wrong.err
    assert "outrider key show" not in wrong.err, "it is about no key of a person"
    assert not config_of(stranger).exists(), "nobody is signed in"
    assert not known_of(stranger).exists()
    assert sign_in(stranger, "--fingerprint", right[:16]).status == 3, "a part of it is none"
    assert sign_in(stranger, "--fingerprint", right).status == 0


def test_another_key_at_a_known_address_is_refused_before_a_token_is_sent(stranger: Shell) -> None:
    """And everywhere where the key counts; the way out is to name the new one."""
    assert sign_in(stranger).status == 0
    other = stranger.fleet.key("another-server").public.to_text()
    right = json.loads(known_of(stranger).read_text())
    private(known_of(stranger), json.dumps({stranger.url: other}))
    seen = stranger.fleet.api.get("/api/v1/me")
    assert seen.status_code == 200
    refused = sign_in(stranger)
    assert refused.status == 3
    assert f"outrider login {stranger.url} --fingerprint {fingerprint(stranger)}" in refused.err
    invited = stranger("agent", "invite")
    assert (invited.status, invited.out) == (3, ""), "no host is led to another server"
    assert fingerprint(stranger) in invited.err
    verified = stranger("record", "verify", "--host", "host-1")
    assert verified.status == 7
    assert f"--fingerprint {fingerprint(stranger)}" in verified.out
    assert json.loads(known_of(stranger).read_text()) == {stranger.url: other}, "nothing is exchanged on the way"
    assert sign_in(stranger, "--fingerprint", fingerprint(stranger)).status == 0
    assert json.loads(known_of(stranger).read_text()) == right
    assert stranger("record", "verify", "--host", "host-1").status == 0
    assert stranger("agent", "invite").status == 0


def test_a_head_of_a_server_that_was_set_up_anew_is_forgotten_when_its_key_is_named(stranger: Shell) -> None:
    assert sign_in(stranger).status == 0
    assert stranger("record", "verify", "--host", "host-1").status == 0
    heads = next(stranger.home.rglob("tree-heads.json"))
    held = json.loads(heads.read_text())
    held[stranger.url]["key"] = stranger.fleet.key("another-server").public.to_text()
    private(heads, json.dumps(held))
    refused = stranger("record", "verify", "--host", "host-1")
    assert refused.status == 7
    assert "--fingerprint" in refused.out
    assert sign_in(stranger, "--fingerprint", fingerprint(stranger)).status == 0
    assert stranger("record", "verify", "--host", "host-1").status == 0


def test_a_damaged_file_of_known_servers_is_refused(stranger: Shell) -> None:
    assert sign_in(stranger).status == 0
    for text in ("{", "[]", '{"x": 1}', '{"x": "ed25519:zz"}'):
        private(known_of(stranger), text)
        assert sign_in(stranger).status == 2, text
    known_of(stranger).chmod(0o644)
    assert sign_in(stranger).status == 2
