"""Which server, token and key a command line uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.settings import (
    Asked,
    Context,
    Contexts,
    check_server,
    config_path,
    context_document,
    find_context,
    find_key_path,
    load_contexts,
    read_private,
    read_token,
    save_contexts,
    write_private,
)
from protocol.errors import ArgumentError, DocumentError, UnauthenticatedError


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}


@pytest.fixture
def saved(environment: dict[str, str]) -> Contexts:
    contexts = Contexts(
        "home",
        {
            "home": Context("https://home.example", "ort_home"),
            "work": Context("https://work.example:8443", "ort_work", Path("/keys/work")),
        },
    )
    save_contexts(config_path(environment), contexts)
    return contexts


def demo_file(here: Path, server: str = "http://127.0.0.1:7443") -> Path:
    path = here / ".demo" / "context.yaml"
    write_private(path, f"server: {server}\ntoken: ort_demo\n")
    return path


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example", "https://a.example"),
        ("https://a.example:8443/", "https://a.example:8443"),
        ("http://127.0.0.1:7443", "http://127.0.0.1:7443"),
        ("http://localhost:1/", "http://localhost:1"),
        ("http://[::1]:7443", "http://[::1]:7443"),
        ("https://a.example/outrider/", "https://a.example/outrider"),
    ],
)
def test_servers(url: str, expected: str) -> None:
    assert check_server(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "", "a.example", "ftp://a.example", "https://", "https://user:pw@a.example", "https://a.example?x=1",
        "https://a.example:port", "https://a.example:99999", "http://a.example", "http://10.0.0.1:7443",
    ],
)  # fmt: skip
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(ArgumentError):
        check_server(url)


def test_file_with_tokens_is_for_its_owner_only(environment: dict[str, str], saved: Contexts) -> None:
    path = config_path(environment)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o644)
    with pytest.raises(ArgumentError, match="open to others"):
        load_contexts(path)


def test_saved_contexts_come_back(environment: dict[str, str], saved: Contexts) -> None:
    found = load_contexts(config_path(environment))
    assert found.current == "home"
    assert {name: context_document(context) for name, context in found.contexts.items()} == {
        name: context_document(context) for name, context in saved.contexts.items()
    }


def test_a_context_never_shows_its_token() -> None:
    assert "secret" not in repr(Context("https://a.example", "secret"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("current: home\ncontexts: {}\n", "home"),
        ("contexts:\n  a: {server: nothing}\n", "nothing"),
        ("contexts:\n  a: {server: 'https://a.example', tokn: x}\n", "tokn"),
        ("surprise: 1\ncontexts: {}\n", "surprise"),
        ("contexts: {a: {token: x}}\n", "server"),
        ("contexts: [\n", "config.yaml"),
    ],
)
def test_wrong_configuration_names_the_place(environment: dict[str, str], text: str, said: str) -> None:
    path = config_path(environment)
    write_private(path, text)
    with pytest.raises((DocumentError, ArgumentError), match=said):
        load_contexts(path)


def test_order_flag_environment_file_demo(environment: dict[str, str], saved: Contexts, tmp_path: Path) -> None:
    demo_file(tmp_path)
    flag = Asked(server="https://flag.example")
    from_environment = {**environment, "OUTRIDER_SERVER": "https://env.example", "OUTRIDER_TOKEN": "ort_env"}
    assert find_context(flag, from_environment, here=tmp_path).server == "https://flag.example"
    assert find_context(Asked(), from_environment, here=tmp_path).server == "https://env.example"
    assert find_context(Asked(), environment, here=tmp_path).server == "https://home.example"
    assert find_context(Asked(context="work"), from_environment, here=tmp_path).server == "https://work.example:8443"
    config_path(environment).unlink()
    assert find_context(Asked(), environment, here=tmp_path).server == "http://127.0.0.1:7443"


def test_a_server_never_gets_the_token_of_another(environment: dict[str, str], saved: Contexts, tmp_path: Path) -> None:
    """A server named on the command line must not be sent what the configuration keeps for another."""
    assert find_context(Asked(server="https://flag.example"), environment, here=tmp_path).token is None
    assert find_context(Asked(), {**environment, "OUTRIDER_SERVER": "https://e.example"}, here=tmp_path).token is None
    token = {**environment, "OUTRIDER_TOKEN": "ort_env"}
    assert find_context(Asked(server="https://flag.example"), token, here=tmp_path).token == "ort_env"
    assert find_context(Asked(context="work"), token, here=tmp_path).token == "ort_work"


def test_a_demo_found_here_gets_no_token_but_its_own(environment: dict[str, str], tmp_path: Path) -> None:
    demo_file(tmp_path)
    found = find_context(Asked(), {**environment, "OUTRIDER_TOKEN": "ort_env"}, here=tmp_path)
    assert found.token == "ort_demo"
    assert "OUTRIDER_TOKEN goes to OUTRIDER_SERVER alone" in found.origin, "outrider status says so"
    assert "OUTRIDER_TOKEN" not in find_context(Asked(), environment, here=tmp_path).origin


def test_a_demo_is_found_from_the_directories_below_it(environment: dict[str, str], tmp_path: Path) -> None:
    """A script that is written beside a demo is published from its own folder. The nearest demo is the one meant."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    demo_file(tmp_path)
    assert find_context(Asked(), environment, here=below).server == "http://127.0.0.1:7443"
    demo_file(tmp_path / "a", "http://127.0.0.1:7444")
    assert find_context(Asked(), environment, here=below).server == "http://127.0.0.1:7444"


def test_a_demo_of_somebody_else_above_is_not_used(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may put a directory into /tmp, above what others work on there."""
    below = tmp_path / "a"
    below.mkdir()
    demo_file(tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    with pytest.raises(UnauthenticatedError):
        find_context(Asked(), environment, here=below)


def test_a_demo_on_another_machine_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    """A directory that somebody else prepared must not make us talk to his server."""
    demo_file(tmp_path, "https://evil.example")
    with pytest.raises(ArgumentError, match="loopback"):
        find_context(Asked(), environment, here=tmp_path)


def test_a_demo_that_is_a_link_is_not_used(environment: dict[str, str], tmp_path: Path) -> None:
    real = demo_file(tmp_path / "elsewhere")
    (tmp_path / ".demo").mkdir()
    (tmp_path / ".demo" / "context.yaml").symlink_to(real)
    with pytest.raises(UnauthenticatedError):
        find_context(Asked(), environment, here=tmp_path)


def test_unknown_context_names_the_known_ones(environment: dict[str, str], saved: Contexts, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="home, work"):
        find_context(Asked(context="wrok"), environment, here=tmp_path)


def test_token_file(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "token"
    write_private(path, "ort_file\n")
    found = find_context(Asked(server="https://a.example", token_file=str(path)), environment, here=tmp_path)
    assert found.token == "ort_file"


@pytest.mark.parametrize("text", ["", "\n", "two\nlines", "x" * 5000, "café"])
def test_what_is_no_token_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    write_private(path, text)
    with pytest.raises(ArgumentError):
        read_token(str(path))


def test_key_flag_environment_context_default(environment: dict[str, str], saved: Contexts, tmp_path: Path) -> None:
    assert find_key_path(Asked(key="k1"), {**environment, "OUTRIDER_KEY": "k2"}, here=tmp_path) == Path("k1")
    assert find_key_path(Asked(), {**environment, "OUTRIDER_KEY": "k2"}, here=tmp_path) == Path("k2")
    assert find_key_path(Asked(context="work"), environment, here=tmp_path) == Path("/keys/work")
    config_path(environment).unlink()
    assert find_key_path(Asked(), environment, here=tmp_path) == tmp_path / "config" / "outrider" / "key"


def test_a_private_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_private(path, "old")

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_private(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_private_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, "x" * 100)
    with pytest.raises(ArgumentError, match="larger than 99 bytes"):
        read_private(path, 99)
