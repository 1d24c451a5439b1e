"""As whom on a host: ceilings and policies that name users, from the command line (decision 0029)."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from typing import Any

import pytest
from shell import Shell, outrider_on

from fleet import CEILING, Fleet, fleet

outrider = outrider_on("hosts")
OWN = pwd.getpwuid(os.geteuid()).pw_name  # as whom the agents run here
GUEST, BARRED = [name for name in ("nobody", "daemon", "bin") if name != OWN][:2]
WHY = ("--reason", "T-7")
WHO = ("--", "id", "-un")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a program as somebody else")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("users")) as made:
        made.add_agent("guest-1", ceiling=f"{CEILING}sessions: {{users: [{GUEST}]}}\n")
        made.add_agent("shared-1", ceiling=f'{CEILING}deny:\n  - {{call: "*", users: [{BARRED}]}}\n')
        yield made


def newest_call(hosts: Fleet, host: str) -> dict[str, Any]:
    """Return the newest call on a host, of which the server has the record."""
    session = hosts.api.get("/api/v1/sessions", params={"limit": 1}).json()["items"][0]["id"]

    def told() -> list[dict[str, Any]]:
        return [each for each in hosts.records(host, kind="call") if each["session"] == session]

    return dict(hosts.wait_for("the record of the call", told)[-1])


@pytest.mark.parametrize(
    ("words", "call", "as_whom"),
    [
        (["exec", "guest-1", *WHY, *WHO], "proc.spawn", OWN),
        (["exec", "guest-1", *WHY, "--user", OWN, *WHO], "proc.spawn", OWN),
        (["exec", "guest-1", "--", "df", "/"], "proc.start", OWN),
        (["tty", "guest-1", *WHY, *WHO], "tty.login", OWN),
        (["tty", "guest-1", *WHY, "--user", OWN, *WHO], "tty.login", OWN),
        (["file", "ls", "guest-1:/etc"], "fs.stat", OWN),
        (["file", "cat", *WHY, "guest-1:/etc/hostname"], "fs.stat", OWN),
        (["file", "rm", "--yes", *WHY, "guest-1:/tmp/no-such-file"], "fs.lstat", OWN),
        pytest.param(["exec", "guest-1", *WHY, "--user", BARRED, *WHO], "proc.spawn", BARRED, marks=needs_root),
        pytest.param(["tty", "guest-1", *WHY, "--user", BARRED, *WHO], "tty.login", BARRED, marks=needs_root),
    ],
)
def test_a_ceiling_that_names_a_guest_lets_nothing_be_done_as_anybody_else(
    outrider: Shell, hosts: Fleet, words: list[str], call: str, as_whom: str
) -> None:
    """Whoever reads the refusal knows which layer, which line, who may and who would have been; so does the record."""
    refused = outrider.program(*words)
    assert (refused.status, refused.out) == (3, "")
    assert refused.err.startswith(f"refused: the host's ceiling allows {call} "), refused.err
    assert refused.err.endswith(f" as {GUEST} only, not as {as_whom} (ceiling.yaml:3 allow *: users)\n"), refused.err
    record = newest_call(hosts, "guest-1")
    assert (record["call"], record["verdict"], record["outcome"]) == (call, "deny", "denied")
    assert record["rule"] == "ceiling.yaml:3 allow *: users"


@needs_root
@pytest.mark.parametrize("command", ["exec", "tty"])
def test_the_guest_may_what_the_ceiling_lets_them(outrider: Shell, hosts: Fleet, command: str) -> None:
    """By name, and by the number that the host has for it; who is decided on is who the program is."""
    for user in (GUEST, str(pwd.getpwnam(GUEST).pw_uid)):
        done = outrider.program(command, "guest-1", *WHY, "--user", user, *WHO)
        assert (done.status, done.out.strip()) == (0, GUEST), done.err
        record = newest_call(hosts, "guest-1")
        assert (record["verdict"], record["outcome"], record["arguments"]["user"]) == ("allow", "ok", user)


@needs_root
@pytest.mark.parametrize("command", ["exec", "tty"])
def test_who_is_barred_is_barred_under_any_name(outrider: Shell, hosts: Fleet, command: str) -> None:
    for user in (BARRED, str(pwd.getpwnam(BARRED).pw_uid)):
        refused = outrider.program(command, "shared-1", *WHY, "--user", user, *WHO)
        assert (refused.status, refused.out) == (3, "")
        assert refused.err.startswith("refused: the host's ceiling denies "), refused.err
        assert f" as {BARRED} (ceiling.yaml:4 deny *)" in refused.err
        record = newest_call(hosts, "shared-1")
        assert (record["verdict"], record["rule"]) == ("deny", "ceiling.yaml:4 deny *")
    other = outrider.program(command, "shared-1", *WHY, "--user", GUEST, *WHO)
    assert (other.status, other.out.strip()) == (0, GUEST), other.err


def test_where_nobody_but_one_is_barred_the_agents_own_user_is_as_ever(outrider: Shell) -> None:
    assert outrider.program("exec", "shared-1", *WHY, *WHO).out == f"{OWN}\n"
    assert "hostname" in outrider.program("file", "ls", "shared-1:/etc").out


# policies ------------------------------------------------------------------------------------------------------------


def local(outrider: Shell, arguments: str) -> tuple[int, dict[str, Any]]:
    (outrider.work / "mine.yaml").write_text(f"tier: admin\nallow:\n  - {{call: proc.exec, users: [{GUEST}]}}\n")
    (outrider.work / "who.lua").write_text(f'return proc.exec({{"/usr/bin/id", "-un"}}{arguments}).stdout\n')
    called = outrider("script", "run", "who.lua", "--policy", "mine.yaml", "--json")
    return called.status, called.data


def test_a_script_under_a_policy_of_users_is_denied_as_the_agents_own(outrider: Shell) -> None:
    status, told = local(outrider, "")
    assert (status, told["status"]) == (3, "denied")
    assert f"as {GUEST} only, not as {OWN}" in told["reason"]
    assert [(call["call"], call["verdict"]) for call in told["calls"]] == [("proc.exec", "deny")]
    explained = ["policy", "explain", "mine.yaml", "proc.exec", "--command", "id"]
    assert outrider(*explained).status == 3
    assert outrider(*explained, "--user", GUEST).status == 0
    assert outrider(*explained, "--user", BARRED).status == 3


@needs_root
def test_a_script_under_a_policy_of_users_may_as_one_of_them(outrider: Shell) -> None:
    status, told = local(outrider, f', {{user = "{GUEST}"}}')
    assert (status, told["result"]) == (0, f"{GUEST}\n"), told
