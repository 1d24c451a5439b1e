"""``sys.*`` that change the host, on made hosts only: what reaches each tool, and what never does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from exemplary import STATUS, exemplary
from made import Made, make
from running import Kept, gate, perform

from policies.argument_patterns import ArgumentPattern
from policies.model import Effect, Limits, Policy, Rule
from protocol.errors import ArgumentError, ConflictError, NotFoundError, UnavailableError
from protocol.tiers import Tier
from sandbox.gate import Gate
from stdlib import sys_changes
from stdlib.catalogue import load

ADMIN = {
    "sys.package_install": [["bash"]], "sys.reboot": ["why"], "sys.sysctl_set": ["vm.swappiness", "1"],
    "sys.user_change": ["mia", "lock"],
}  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return exemplary(tmp_path)


def test_what_changes_the_host_says_so_and_needs_a_high_tier() -> None:
    found = {spec.name: spec.tier for spec in load() if spec.family == "sys" and spec.changes}
    assert found == {
        **dict.fromkeys(ADMIN, Tier.ADMIN),
        **dict.fromkeys(("sys.service_control", "sys.cron_set", "sys.cron_remove"), Tier.OPERATE),
    }


@pytest.mark.parametrize("name", sorted(ADMIN))
async def test_they_are_denied_below_admin_and_intended_at_it(made: Made, name: str) -> None:
    denied = await gate(Tier.OPERATE, host=made.host).call(name, ADMIN[name], {})
    assert denied.error is not None
    assert denied.error.code == "denied"
    made.tool("usermod")
    kept = Kept()
    allowing = gate(Tier.ADMIN, kept, made.host)
    done = await allowing.call(name, ADMIN[name], {})
    await allowing.close()
    assert done.ok, done.error
    assert [record["kind"] for record in kept.records] == ["intent", "call"]


async def test_packages_with_apt(made: Made) -> None:
    told = await perform("sys.package_install", ["htop"], refresh=True, host=made.host)
    assert told == {"manager": "apt", "changed": [{"name": "htop", "before": None, "after": "3.2.2-2"}]}
    refresh, install = made.uses("apt-get")
    assert refresh[-1] == "update"
    assert install[-3:] == ["install", "--", "htop"]
    assert "APT::Cmd::Pattern-Only=true" in install
    assert "-y" in install
    assert (await perform("sys.package_install", ["bash"], host=made.host))["changed"] == []


async def test_packages_with_dnf(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.tool("rpm", "bash\t0\t5.1\tx86_64\t1\n")
    made.tool("dnf", script='printf "bash\\t0\\t5.2\\tx86_64\\t1\\n" > $PLACE/tools/rpm.out')
    told = await perform("sys.package_install", ["bash"], host=made.host)
    assert told == {"manager": "dnf", "changed": [{"name": "bash", "before": "5.1", "after": "5.2"}]}
    assert made.uses("dnf") == [["-y", "-q", "install", "bash"]]


@pytest.mark.parametrize(
    "name",
    [
        "", "-y", "--option", "-o=Dir::Bin=/tmp/x", "htop-", "./x.deb", "/tmp/x.deb", "a b", "a;b", "a*", "a?",
        "?essential",
        "~nhtop", "a/stable", "A", "htop=",
        "htop=-1", "htop=1 2", "a\n", "é", "@group", "http://a/b.rpm", "x" * 300,
    ],
)  # fmt: skip
async def test_only_the_name_of_a_package_reaches_apt(made: Made, name: str) -> None:
    """A name that ends with a minus removes it, one with a slash is a file, one with a star is many."""
    with pytest.raises(ArgumentError) as caught:
        await perform("sys.package_install", ["bash", name], host=made.host)
    assert caught.value.parameter == "names"
    assert made.uses("apt-get") == []


@pytest.mark.parametrize("name", ["libstdc++6", "python3.11", "libc6:amd64", "bash=5.2.15-2+b8", "a2", "gcc-12-base"])
async def test_names_that_packages_really_have(made: Made, name: str) -> None:
    await perform("sys.package_install", [name], host=made.host)
    assert made.uses("apt-get")[-1][-1] == name


@pytest.mark.parametrize("name", ["-y", "@core", "./x.rpm", "/x.rpm", "a*", "a b", "http://a/b.rpm", "", "a;b"])
async def test_only_the_name_of_a_package_reaches_dnf(tmp_path: Path, name: str) -> None:
    made = make(tmp_path)
    made.tool("dnf")
    with pytest.raises(ArgumentError):
        await perform("sys.package_install", [name], host=made.host)
    assert made.uses("dnf") == []


async def test_packages_that_cannot_be_installed(made: Made, tmp_path: Path) -> None:
    for names in ([], ["bash"] * 51):
        with pytest.raises(ArgumentError):
            await perform("sys.package_install", names, host=made.host)
    made.tool("apt-get", code=100, errors="Reading...\nE: Unable to locate package htop\n")
    with pytest.raises(UnavailableError, match="Unable to locate package htop"):
        await perform("sys.package_install", ["htop"], host=made.host)
    bare = make(tmp_path / "bare")
    bare.put("var/lib/dpkg/status", STATUS)
    with pytest.raises(UnavailableError, match="neither apt-get nor dnf"):
        await perform("sys.package_install", ["htop"], host=bare.host)


async def test_an_account_is_created(made: Made) -> None:
    told = await perform(
        "sys.user_change", "lea", "create", full_name="Lea L", home="/srv/lea", shell="/bin/sh", groups=["adm"],
        host=made.host,
    )  # fmt: skip
    assert (told["name"], told["uid"]) == ("lea", 1002)
    assert made.uses("useradd") == [[
        "--create-home", "--comment=Lea L", "--home-dir=/srv/lea", "--shell=/bin/sh", "--groups=adm", "--", "lea",
    ]]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "options", "tool", "arguments"),
    [
        ("change", {"home": "/srv/mia"}, "usermod", ["--home=/srv/mia"]),
        ("change", {"groups": ["adm", "root"]}, "usermod", ["--append", "--groups=adm,root"]),
        ("lock", {}, "usermod", ["--lock"]), ("unlock", {}, "usermod", ["--unlock"]),
        ("delete", {}, "userdel", []), ("delete", {"remove_home": True}, "userdel", ["--remove"]),
    ],
)  # fmt: skip
async def test_an_account_is_changed(
    made: Made, action: str, options: dict[str, Any], tool: str, arguments: list[str]
) -> None:
    made.tool(tool)
    told = await perform("sys.user_change", "mia", action, host=made.host, **options)
    assert (told is None) is (action == "delete")
    assert made.uses(tool) == [[*arguments, "--", "mia"]]


@pytest.mark.parametrize(
    ("name", "action", "options", "error", "parameter"),
    [
        ("mia", "create", {}, ConflictError, None), ("lea", "lock", {}, NotFoundError, None),
        ("root", "delete", {}, ArgumentError, "name"), ("-x", "create", {}, ArgumentError, "name"),
        ("a:b", "create", {}, ArgumentError, "name"), ("a\nb", "create", {}, ArgumentError, "name"),
        ("lea", "create", {"groups": ["no-such"]}, NotFoundError, None), ("mia", "change", {}, ArgumentError, "action"),
        ("lea", "create", {"groups": ["adm,root"]}, ArgumentError, "groups"),
        ("lea", "create", {"groups": ["-x"]}, ArgumentError, "groups"),
        ("lea", "create", {"full_name": "a:0:0"}, ArgumentError, "full_name"),
        ("lea", "create", {"full_name": "a\nroot2:x:0:0::/:/bin/sh"}, ArgumentError, "full_name"),
        ("lea", "create", {"home": "/home/../etc"}, ArgumentError, "home"),
        ("lea", "create", {"home": "/home/a:b"}, ArgumentError, "home"),
        ("lea", "create", {"shell": "sh"}, ArgumentError, "shell"),
        ("lea", "create", {"shell": "/bin/sh -c id"}, ArgumentError, "shell"),
    ],
)  # fmt: skip
async def test_accounts_that_are_refused_reach_no_tool(
    made: Made, name: str, action: str, options: dict[str, Any], error: type[Exception], parameter: str | None
) -> None:
    for tool in ("useradd", "usermod", "userdel"):
        made.tool(tool)
    with pytest.raises(error) as caught:
        await perform("sys.user_change", name, action, host=made.host, **options)
    assert getattr(caught.value, "parameter", None) == parameter
    assert made.uses("useradd") == made.uses("usermod") == made.uses("userdel") == []


#: Accounts with more than one name: a second root, a second mia, and mia once more with a uid of its own.
PASSWD = """\
root:x:0:0:root:/root:/bin/bash
toor:x:00:0:root:/root:/bin/sh
mia:x:1001:1001::/home/mia:/bin/sh
max:x:1001:1001::/home/mia:/bin/sh
mia:x:1002:1002::/home/mia:/bin/sh
moe:x:1002:1002::/home/moe:/bin/sh
lea:x:1003:1003::/home/lea:/bin/sh
"""
CHANGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lock", {}), ("unlock", {}), ("change", {"shell": "/bin/sh"}), ("delete", {}), ("delete", {"remove_home": True}),
)  # fmt: skip


def accounts_gate(made: Made, rule: Rule, kept: Kept | None = None, *, is_dry: bool = False) -> Gate:
    """The gate of a policy that allows to change accounts, except for what this rule says."""
    rules = (rule, Rule(Effect.ALLOW, "sys.user_change", "x:9"))
    return gate(Tier.ADMIN, kept, made.host, policy=Policy("x", Tier.ADMIN, rules, Limits()), is_dry=is_dry)


@pytest.mark.parametrize("is_dry", [False, True])
@pytest.mark.parametrize(("action", "options"), CHANGES)
@pytest.mark.parametrize(
    ("denied", "name"),
    [("root", "root"), ("root", "toor"), ("toor", "root"), ("mia", "max"), ("moe", "mia"), ("mia", "moe")],
)
async def test_a_denial_holds_by_every_name_of_an_account(
    made: Made, denied: str, name: str, action: str, options: dict[str, Any], is_dry: bool
) -> None:
    """An owner who keeps root from scripts does not have to know that there is a toor."""
    made.put("etc/passwd", PASSWD)
    for tool in ("usermod", "userdel"):
        made.tool(tool)
    kept = Kept()
    rule = Rule(Effect.DENY, "sys.user_change", "x:7", commands=(denied,))
    asking = accounts_gate(made, rule, kept, is_dry=is_dry)
    reply = await asking.call("sys.user_change", [name, action], options)
    await asking.close()
    assert reply.error is not None
    assert (reply.error.code, reply.error.rule) == ("denied", "x:7 deny sys.user_change")
    assert [(record["kind"], record["outcome"]) for record in kept.records] == [("call", "denied")], "no intent"
    assert made.uses("usermod") == made.uses("userdel") == []


async def test_a_denial_is_about_one_account_and_an_allowance_about_one_name(made: Made) -> None:
    made.put("etc/passwd", PASSWD)
    made.tool("usermod")
    asking = accounts_gate(made, Rule(Effect.DENY, "sys.user_change", "x:7", commands=("root", "mia")))
    assert (await asking.call("sys.user_change", ["lea", "lock"], {})).ok
    await asking.close()
    narrow = (Rule(Effect.ALLOW, "sys.user_change", "x:1", commands=("mia",)),)
    asking = gate(Tier.ADMIN, host=made.host, policy=Policy("x", Tier.ADMIN, narrow, Limits()))
    assert (await asking.call("sys.user_change", ["mia", "lock"], {})).ok
    reply = await asking.call("sys.user_change", ["max", "lock"], {})
    await asking.close()
    assert reply.error is not None, "whatever else the host calls it, nobody approved this name"
    assert made.uses("usermod") == [["--lock", "--", "lea"], ["--lock", "--", "mia"]]


#: Groups with more than one name: a second sudo, a second audio, and audio once more with a gid of its own.
GROUPS = """\
root:x:0:
sudo:x:27:mia
wheel:x:027:
audio:x:29:
sound:x:29:
audio:x:63:
noise:x:63:
games:x:60:
"""


@pytest.mark.parametrize("is_dry", [False, True])
@pytest.mark.parametrize("action", ["create", "change"])
@pytest.mark.parametrize(
    ("denied", "groups"),
    [
        ("sudo", ["sudo"]), ("sudo", ["wheel"]), ("wheel", ["sudo"]), ("audio", ["noise"]), ("sound", ["audio"]),
        ("sudo", ["games", "sudo"]), ("sudo", ["wheel", "games"]), ("sudo", ["games", "games", "wheel"]),
    ],
)  # fmt: skip
async def test_a_denial_holds_by_every_name_of_a_group_and_beside_every_other(
    made: Made, denied: str, groups: list[str], action: str, is_dry: bool
) -> None:
    """An owner who keeps sudo from scripts need not know what else it is called, nor what else may be asked with it."""
    made.put("etc/passwd", PASSWD)
    made.put("etc/group", GROUPS)
    for tool in ("useradd", "usermod"):
        made.tool(tool)
    rule = Rule(Effect.DENY, "sys.user_change", "x:7", arguments=(ArgumentPattern.parse(denied),))
    asking = accounts_gate(made, rule, is_dry=is_dry)
    name = "lea" if action == "change" else "new"
    reply = await asking.call("sys.user_change", [name, action], {"groups": groups})
    await asking.close()
    assert reply.error is not None
    assert (reply.error.code, reply.error.rule) == ("denied", "x:7 deny sys.user_change")
    assert made.uses("useradd") == made.uses("usermod") == []


async def test_a_denial_is_about_one_group_and_an_allowance_about_one_name_of_it(made: Made) -> None:
    made.put("etc/passwd", PASSWD)
    made.put("etc/group", GROUPS)
    made.tool("usermod")
    denied = (ArgumentPattern.parse("sudo"),)
    asking = accounts_gate(made, Rule(Effect.DENY, "sys.user_change", "x:7", arguments=denied))
    assert (await asking.call("sys.user_change", ["lea", "change"], {"groups": ["audio", "games"]})).ok
    await asking.close()
    patterns = tuple(map(ArgumentPattern.parse, ("change", "sudo", "games")))
    narrow = (Rule(Effect.ALLOW, "sys.user_change", "x:1", arguments=patterns),)
    asking = gate(Tier.ADMIN, host=made.host, policy=Policy("x", Tier.ADMIN, narrow, Limits()))
    assert (await asking.call("sys.user_change", ["lea", "change"], {"groups": ["games", "sudo"]})).ok
    for groups in (["wheel"], ["games", "audio"]):
        reply = await asking.call("sys.user_change", ["lea", "change"], {"groups": groups})
        assert reply.error is not None, "whatever else the host calls it, nobody approved this name"
    await asking.close()
    assert len(made.uses("usermod")) == 2


async def test_a_list_of_groups_that_is_not_seen_whole_decides_nothing(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys_changes, "MAX_GROUP_BYTES", len(GROUPS) - 1)
    made.put("etc/group", GROUPS)
    made.tool("usermod")
    asking = accounts_gate(made, Rule(Effect.DENY, "sys.user_change", "x:7", commands=("root",)))
    reply = await asking.call("sys.user_change", ["mia", "change"], {"groups": ["games"]})
    await asking.close()
    assert reply.error is not None
    assert reply.error.code == "unavailable"
    assert made.uses("usermod") == []


@pytest.mark.parametrize(
    ("manager", "names"),
    [
        ("apt-get", ["openssh-server"]), ("apt-get", ["htop", "openssh-server"]), ("apt-get", ["openssh-server+"]),
        ("apt-get", ["openssh-server=1:9.2p1-2"]), ("apt-get", ["openssh-server:amd64"]),
        ("apt-get", ["htop", "openssh-server:amd64=1:9.2p1-2"]),
        ("dnf", ["htop", "openssh-server"]), ("dnf", ["openssh-server.x86_64"]),
        ("dnf", ["openssh-server-9.3p1-2.el9"]),
    ],
)  # fmt: skip
async def test_a_denied_package_is_denied_beside_others_and_in_every_version(
    tmp_path: Path, manager: str, names: list[str]
) -> None:
    made = make(tmp_path)
    made.tool(manager)
    rule = Rule(Effect.DENY, "sys.package_install", "x:7", arguments=(ArgumentPattern.parse("openssh-server"),))
    rules = (rule, Rule(Effect.ALLOW, "sys.package_install", "x:9"))
    asking = gate(Tier.ADMIN, host=made.host, policy=Policy("x", Tier.ADMIN, rules, Limits()))
    reply = await asking.call("sys.package_install", [names], {})
    await asking.close()
    assert reply.error is not None
    assert (reply.error.code, reply.error.rule) == ("denied", "x:7 deny sys.package_install")
    assert made.uses(manager) == []


async def test_an_account_is_created_where_there_is_no_list_of_them(made: Made) -> None:
    (made.place / "etc/passwd").unlink()
    asking = accounts_gate(made, Rule(Effect.DENY, "sys.user_change", "x:7", commands=("root",)), is_dry=True)
    assert (await asking.call("sys.user_change", ["lea", "create"], {})).ok
    reply = await asking.call("sys.user_change", ["root", "create"], {})
    await asking.close()
    assert reply.error is not None


async def test_a_list_of_accounts_that_is_not_seen_whole_decides_nothing(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second name might stand behind the end."""
    monkeypatch.setattr(sys_changes, "MAX_PASSWD_BYTES", len(PASSWD) - 1)
    made.put("etc/passwd", PASSWD)
    made.tool("usermod")
    asking = accounts_gate(made, Rule(Effect.DENY, "sys.user_change", "x:7", commands=("lea",)))
    reply = await asking.call("sys.user_change", ["root", "lock"], {})
    await asking.close()
    assert reply.error is not None
    assert reply.error.code == "unavailable"
    assert made.uses("usermod") == []


async def test_a_host_without_the_tool_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no useradd"):
        await perform("sys.user_change", "lea", "create", host=make(tmp_path).host)


async def test_a_restart_waits_and_can_be_taken_back(made: Made) -> None:
    told = await perform("sys.reboot", "new kernel", delay=61, host=made.host)
    assert told == {"at": 1_700_000_000.0 + 120}
    assert await perform("sys.reboot", "not now", cancel=True, host=made.host) == {"at": None}
    assert made.uses("shutdown") == [["-r", "+2", "new kernel"], ["-c", "not now"]]


@pytest.mark.parametrize("reason", ["", "-h", "--halt", " x", "a\nb", "\x1b[2J", "x\udcff"])
async def test_only_a_reason_reaches_shutdown(made: Made, reason: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        await perform("sys.reboot", reason, host=made.host)
    assert caught.value.parameter == "reason"
    assert made.uses("shutdown") == []


@pytest.mark.parametrize("delay", [0, 59.9, -1, 86401, float("nan"), float("inf")])
async def test_a_restart_never_comes_at_once(made: Made, delay: float) -> None:
    """What was done must still reach the record."""
    with pytest.raises(ArgumentError):
        await perform("sys.reboot", "why", delay=delay, host=made.host)
    assert made.uses("shutdown") == []
