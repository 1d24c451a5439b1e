"""``sys.*`` that change the host by the distribution's own tools: services, packages, accounts, a restart.

Each tool has fixed options; a script gives single values only, each checked by its form before anything happens, so
that none can be taken for an option, a pattern, or a second name.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

from kernel.visits import begun_apart
from policies.model import Facts
from protocol.errors import (
    ArgumentError,
    ConflictError,
    DeadlineError,
    DeniedError,
    NotFoundError,
    UnavailableError,
)
from protocol.tiers import Tier
from stdlib import accounts, sys_packages, sys_services, sys_users, trees, units
from stdlib.call_specs import Decided, Permit
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.parameters import Bounds, Form, Length
from stdlib.tools import find_tool, run_tool

MAX_NAMES = 50  # packages of one call
MAX_CHANGES = 500  # packages of one answer
MAX_PASSWD_BYTES = 8 << 20  # a hundred thousand accounts
MAX_GROUP_BYTES = 8 << 20
_DEB = r"[a-z0-9][a-z0-9+.-]{0,99}[a-z0-9+](:[a-z0-9-]{1,20})?(=[0-9][A-Za-z0-9.+:~-]{0,99})?"
_RPM = r"[A-Za-z0-9_][A-Za-z0-9_+.:~^-]{0,199}"
_BARE_DEB = re.compile(
    r"^([a-z0-9][a-z0-9+.-]*?)\+?(?=[:=]|$)"
)  # without version, architecture, and apt's + for install
_BARE_RPM = re.compile(
    r"^(.+?)(?=-[0-9]|\.(?:x86_64|aarch64|noarch|i[3-6]86|armv7hl|ppc64le|s390x|src)$)"
)  # without version, or architecture
_PACKAGE = Form(f"{_DEB}|{_RPM}", "cannot be the name of a package")  # which of the two, the host decides
_USER = Form(r"[a-z_][a-z0-9_-]{0,30}", "cannot be the name of an account")  # useradd(8)
_GROUP = Form(_USER.pattern, "cannot be the name of a group")
_FULL_NAME = Form(r"[^\x00-\x1f\x7f:,=]*", "must be printable, without : , and =", str.isprintable)
_PATH = Form(r"(?!.*/\.\.)(/[A-Za-z0-9_+.@-]{1,64}){1,16}", "must be a plain absolute path")
_REASON = Form(
    r"[^\W_][^\x00-\x1f\x7f]*", "must be printable and begin with a letter or digit",
    lambda text: text.isprintable() and text[0].isalnum(),
)  # fmt: skip
_APT = (
    "-y", "-q", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold",
    "-o", "DPkg::Lock::Timeout=60",
    "-o", "APT::Cmd::Pattern-Only=true",  # a name with a dot that is no package is no pattern either
)  # fmt: skip
_APT_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "APT_LISTCHANGES_FRONTEND": "none"}
_NOT_OWN = "sys.service_control: not the agent's own unit"
_STARTING, _STOPPING = frozenset({"start", "restart"}), frozenset({"stop", "restart"})
_MOST_REQUIRED = 50  # units that are looked at for what the agent needs; a service requires two or three
#: systemd.special(7), and what they start: each is the end of the host, or of everything that it does.
HOST_ENDING = frozenset(
    [f"{name}.target" for name in (
        "ctrl-alt-del", "emergency", "exit", "factory-reset", "final", "halt", "hibernate", "hybrid-sleep", "kexec",
        "poweroff", "reboot", "rescue", "runlevel0", "runlevel1", "runlevel6", "shutdown", "sleep", "soft-reboot",
        "suspend", "suspend-then-hibernate", "system-update", "umount",
    )]
    + [f"systemd-{name}.service" for name in (
        "exit", "factory-reset-reboot", "halt", "hibernate", "hybrid-sleep", "kexec", "poweroff", "reboot",
        "soft-reboot", "suspend", "suspend-then-hibernate",
    )]
    + ["emergency.service", "rescue.service"]
)  # fmt: skip
_MOST_PROCESSES = 1024  # of a package manager: what packages bring builds indexes and images on every processor
_GRACE_S = 60.0  # for a package manager to finish the package it is at


def _decide_service(host: Host, arguments: Mapping[str, Any]) -> Decided:
    """A rule may name units as ``commands`` and actions as ``arguments``. Decided on the full name, which is used; its
    other names are asked of systemd, and decided on before anything is done.
    """
    del host
    unit = units.unit_name(arguments["name"], "name")
    return Decided((Facts(command=unit, arguments=(arguments["action"],)),), {"name": unit})


async def _rehearse_service(host: Host, permit: Permit, name: str, action: str, **_: Any) -> None:
    """Decide as the call itself does, as far as systemd tells: what it does not know may be there by the time that the
    call is carried out, such as the unit of a package that the same run would install.
    """
    with suppress(NotFoundError, UnavailableError, DeadlineError):
        await _settle_service(host, permit, name, action)


async def _settle_service(host: Host, permit: Permit, name: str, action: str) -> None:
    """Return if the action may be done to the unit by each of its names. Only reads.

    Raises:
        DeniedError: It may not.
        NotFoundError: There is no such unit.
        UnavailableError: systemd does not tell.
    """
    own = _own_units(host)
    _check_not_own(name, {name}, own)
    told = await sys_services.described(host, name)
    names = {name, told["name"], *told["names"]}  # a unit may have several
    _check_not_own(name, names, own)
    if action in _STARTING and names & HOST_ENDING:
        why = f"{name} ends or suspends the host, which sys.reboot is for"
        raise DeniedError(why, rule="sys.service_control: not what ends the host")
    if action in _STOPPING and names & await _required(host, own):
        raise DeniedError(f"the agent's own unit requires {name}", rule=_NOT_OWN)
    if names != {name}:
        await permit.settle(Facts(command=name, arguments=(action,), others=tuple(sorted(names - {name}))))


@call(
    "sys.service_control",
    tier=Tier.OPERATE,
    changes=True,
    decides=_decide_service,
    rehearses=_rehearse_service,
    lua='local found = sys.service_control("cron", "restart").state',
    python='found = sys.service_control("cron", "restart")["state"]',
)
async def service_control(
    host: Host,
    permit: Permit,
    name: Annotated[str, Length(256), units.NAME],
    action: Literal["start", "stop", "restart", "reload", "enable", "disable", "mask", "unmask"],
    timeout: Annotated[float, Bounds(1, 600, "seconds")] = 90.0,  # noqa: ASYNC109 - the name that scripts use
) -> dict[str, Any]:
    """Do ``action`` to the systemd unit ``name`` (``.service`` may be left out) and return what sys.service tells then.

    A manifest's need and a policy's rule narrow it to units by their commands (full names), a rule also to actions by
    its arguments. A rule that denies or asks is about a unit by any of its names, one that allows by the name that was
    given. It is waited for until the unit has done it, for at most ``timeout``. Denied are, by any name, the
    agent's own unit and the slices that hold it, and to stop what it requires: nobody could undo it from afar; and to
    start what shuts down, restarts or suspends the host, which ``sys.reboot`` is for. Source: ``systemctl``.

    Raises:
        NotFoundError: There is no such unit.
        UnavailableError: It failed; says what systemd said.
        DeadlineError: It took too long. systemd goes on with it.
    """
    await _settle_service(host, permit, name, action)
    await run_tool(host, "systemctl", "--no-ask-password", "--quiet", action, "--", name, timeout_s=float(timeout))
    return await sys_services.described(host, name)


def _check_not_own(name: str, names: set[str], own: frozenset[str]) -> None:
    if names & own:
        raise DeniedError(f"{name} is the agent's own unit, or holds it", rule=_NOT_OWN)


def _own_units(host: Host) -> frozenset[str]:
    """Return the unit that the agent runs in, and those that hold it. Source: cgroups(7), /proc/self/cgroup."""
    parts = (trees.value(f"{host.proc}/self/cgroup") or "").replace("\n", "/").split("/")
    return frozenset(part for part in parts if part.endswith((".service", ".scope", ".slice")))


async def _required(host: Host, own: frozenset[str]) -> set[str]:
    """Return the names of what the agent's own units require, and what that requires: to stop it stops the agent."""
    found: set[str] = set()
    waiting = sorted(own)
    for _ in range(_MOST_REQUIRED):
        if not waiting:
            break
        try:
            told = await sys_services.described(host, waiting.pop())
        except NotFoundError:
            continue
        found |= {told["name"], *told["names"]}
        waiting += [unit for unit in told["requires"] if unit not in found and unit not in waiting]
    return found


def _decide_packages(host: Host, arguments: Mapping[str, Any]) -> Decided:
    """A rule may name packages as ``arguments``; what is no name of one is refused before.

    What denies or asks is about a package beside whatever others, and in each version and architecture.
    """
    names = arguments["names"]
    is_deb = find_tool(host, "apt-get") is not None
    _check_names(names, _DEB if is_deb else _RPM)
    bare = _BARE_DEB if is_deb else _BARE_RPM
    also = {(text,) for name in names for text in (name, *bare.findall(name))}
    return Decided((Facts(arguments=tuple(names), also=tuple(sorted(also))),), {"names": names})


@call(
    "sys.package_install",
    tier=Tier.ADMIN,
    changes=True,
    decides=_decide_packages,
    lua='local changed = sys.package_install({"htop"}).changed',
    python='changed = sys.package_install(["htop"])["changed"]',
)
async def package_install(
    host: Host,
    names: Annotated[list[str], Length(200), Bounds(1, MAX_NAMES), _PACKAGE],
    refresh: bool = False,
    timeout: Annotated[float, Bounds(10, 3600, "seconds")] = 900.0,  # noqa: ASYNC109 - the name that scripts use
) -> dict[str, Any]:
    """Install packages from the host's own repositories, or update them if they are there already.

    At most 50 ``names``; with apt, ``name=version`` asks for a version. ``refresh`` fetches the lists first. Existing
    configuration files are kept, nobody is asked. Returns ``manager`` (apt or dnf) and ``changed`` (each with name,
    before, after: versions, nothing if it was not there; at most 500). If the run ends while it works, the package
    manager is asked to stop and has a minute for that. What a package starts otherwise than by the service manager is
    ended with the call.

    Raises:
        UnavailableError: There is no apt or dnf here, or it failed; says what it said.
        DeadlineError: It took too long.
    """
    apt = find_tool(host, "apt-get") is not None
    manager = "apt-get" if apt else next((tool for tool in ("dnf", "yum") if find_tool(host, tool)), None)
    if manager is None:
        raise UnavailableError("this host has neither apt-get nor dnf")
    before = await _versions(host)
    if apt:
        steps = [[*_APT, "update"]] if refresh else []
        steps.append([*_APT, "install", "--", *names])
    else:
        steps = [["-y", "-q", *(["--refresh"] if refresh and manager == "dnf" else []), "install", *names]]
    for step in steps:
        await run_tool(
            host, manager, *step, timeout_s=float(timeout), most_bytes=64 << 10, grace_s=_GRACE_S,
            environment=_APT_ENVIRONMENT, most_memory_bytes=None, most_processes=_MOST_PROCESSES,
        )  # fmt: skip
    return {"manager": "apt" if apt else "dnf", "changed": _changed(before, await _versions(host))}


def _check_names(names: list[str], form: str) -> None:
    for name in names:
        if not re.fullmatch(form, name):
            raise ArgumentError(f"names: {name!r:.80} cannot be the name of a package", parameter="names")


async def _versions(host: Host) -> dict[str, str]:
    rows = await sys_packages.installed(host)
    return {f"{row['name']}:{row['arch']}": str(row["version"]) for row in rows}


def _changed(before: dict[str, str], after: dict[str, str]) -> list[dict[str, Any]]:
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return [
        {"name": name.rpartition(":")[0], "before": before.get(name), "after": after.get(name)}
        for name in names[:MAX_CHANGES]
    ]


def _decide_user(host: Host, arguments: Mapping[str, Any]) -> Decided:
    """A rule may name accounts as ``commands``, and action and groups as ``arguments``. An account has a uid, and each
    name with that uid is a name of it; so it is with a group and its gid. What denies or asks is about a group beside
    whatever others.
    """
    groups = arguments["groups"] or []
    changes = (*(arguments[name] for name in ("full_name", "home", "shell")), groups or None)
    if arguments["action"] == "change" and all(item is None for item in changes):
        raise ArgumentError("action: nothing is said that is to be changed", parameter="action")
    known = accounts.users(_passwd(host)) if os.path.exists(f"{host.etc}/passwd") else []
    name, action = arguments["name"], arguments["action"]
    there = accounts.groups(_whole(f"{host.etc}/group", MAX_GROUP_BYTES)) if groups else []
    called = {each for group in groups for each in (group, *accounts.other_names(there, group, "gid"))}
    facts = Facts(
        command=name, arguments=(action, *groups), others=accounts.other_names(known, name),
        also=tuple((action, group) for group in sorted(called)),
    )  # fmt: skip
    return Decided((facts,), {"groups": groups})


@call(
    "sys.user_change",
    tier=Tier.ADMIN,
    changes=True,
    decides=_decide_user,
    looks_up=True,
    lua='local made = sys.user_change("lea", "create", {groups = {"adm"}, shell = "/bin/sh"})',
    python='made = sys.user_change("lea", "create", groups=["adm"], shell="/bin/sh")',
)
async def user_change(
    host: Host,
    name: Annotated[str, Length(32), _USER],
    action: Literal["create", "change", "lock", "unlock", "delete"],
    full_name: Annotated[str, Length(200), _FULL_NAME] | None = None,
    home: Annotated[str, Length(1024), _PATH] | None = None,
    shell: Annotated[str, Length(1024), _PATH] | None = None,
    groups: Annotated[list[str], Length(32), _GROUP] = [],  # noqa: B006 - never changed; the catalogue needs the value itself
    system: bool = False,
    remove_home: bool = False,
) -> dict[str, Any] | None:
    """Create, change, lock, unlock or delete the local account ``name``; return what sys.user tells then.

    ``groups`` are added to those it has. ``system`` creates an account with a system's uid and without a home.
    ``remove_home`` deletes its files with it. Lock and unlock are about the password; no password is ever set, so a new
    account has none that works. The account root cannot be deleted, nor one that is not local. A rule that denies or
    asks is about an account by each name with its uid, one that allows by the name that was given. So it is with
    groups, by their gid; a rule that denies or asks is about one of them beside whatever others.
    Source: ``useradd``, ``usermod``, ``userdel``.

    Raises:
        ConflictError: It is to be created and exists.
        NotFoundError: It does not exist, or a group does not.
        UnavailableError: The tool is missing or failed; says what it said.
    """
    options = _options(action, full_name, home, shell)
    await begun_apart(_check_account, host, name, action, groups)
    if action == "create":
        kind = ["--system"] if system else ["--create-home"]
        lists = [f"--groups={','.join(groups)}"] if groups else []
        await run_tool(host, "useradd", *kind, *options, *lists, "--", name, grace_s=5.0)
    elif action == "delete":
        await run_tool(host, "userdel", *(["--remove"] if remove_home else []), "--", name, timeout_s=300, grace_s=5.0)
        return None
    elif action == "change":
        lists = ["--append", f"--groups={','.join(groups)}"] if groups else []
        await run_tool(host, "usermod", *options, *lists, "--", name, grace_s=5.0)
    else:
        await run_tool(host, "usermod", f"--{action}", "--", name, grace_s=5.0)
    return await begun_apart(sys_users.user, host, name)


def _passwd(host: Host) -> str:
    return _whole(f"{host.etc}/passwd", MAX_PASSWD_BYTES)


def _whole(path: str, most_bytes: int) -> str:
    """Return all of a file of names; by a part of it, a name could be another one's unseen."""
    try:
        contents = trees.read(path, most_bytes)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}") from None
    if contents.truncated:
        raise UnavailableError(f"{path} has more than {most_bytes} bytes: not all names are known")
    return contents.text


def _options(action: str, full_name: str | None, home: str | None, shell: str | None) -> list[str]:
    where = "--home-dir" if action == "create" else "--home"  # the two tools differ
    given = (("--comment", full_name), (where, home), ("--shell", shell))
    return [f"{option}={value}" for option, value in given if value is not None]


def _check_account(host: Host, name: str, action: str, groups: list[str]) -> None:
    known = {row["name"]: row for row in accounts.users(_passwd(host))}
    if action == "create" and name in known:
        raise ConflictError(f"there is a user {name} already")
    if action != "create" and name not in known:
        raise NotFoundError(f"there is no local user {name}")
    if action == "delete" and known[name]["uid"] == 0:
        raise ArgumentError(f"name: {name} is root, and is not deleted", parameter="name")
    there = {row["name"] for row in accounts.groups(_whole(f"{host.etc}/group", MAX_GROUP_BYTES))}
    missing = sorted(set(groups) - there)
    if missing:
        raise NotFoundError(f"there is no group {missing[0]}")


@call(
    "sys.reboot",
    tier=Tier.ADMIN,
    changes=True,
    lua='local at = sys.reboot("new kernel", {delay = 300}).at',
    python='at = sys.reboot("new kernel", delay=300)["at"]',
)
async def reboot(
    host: Host,
    reason: Annotated[str, Length(200), _REASON],
    delay: Annotated[float, Bounds(60, 86400, "seconds")] = 60.0,
    cancel: bool = False,
) -> dict[str, Any]:
    """Restart the host after ``delay``, rounded up to whole minutes, or ``cancel`` a restart that waits.

    ``reason`` is shown to everybody who is logged in. A minute is the least, so that what was done still reaches the
    record. Returns ``at`` (when it will be, seconds since 1970 UTC; nothing after a cancel). Source: ``shutdown``.

    Raises:
        UnavailableError: There is no shutdown here, or it failed; says what it said.
    """
    if cancel:
        await run_tool(host, "shutdown", "-c", reason)
        return {"at": None}
    minutes = math.ceil(float(delay) / 60)
    await run_tool(host, "shutdown", "-r", f"+{minutes}", reason)
    return {"at": host.clock() + minutes * 60}
