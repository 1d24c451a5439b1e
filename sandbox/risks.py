"""Calls that mean more together than each alone: what a reviewer of a script should see at once. Pure.

A rule names two groups of calls, and what having one of each amounts to. A risk is said when the script can make both,
unless what it is bound to (paths, commands, targets) rules the combination out. Where a need has no bound, the worst is
assumed. The tier already says how much a call may do; this says what the script could do with two of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Protocol

#: Directories from which programs, jobs, units, modules, keys or libraries are taken, by root or at a login.
RUN_FROM: Final = (
    "/bin", "/sbin", "/lib", "/lib64", "/usr", "/opt", "/boot", "/etc/cron.d", "/etc/cron.daily", "/etc/cron.hourly",
    "/etc/cron.monthly", "/etc/cron.weekly", "/etc/crontab", "/etc/init.d", "/etc/ld.so.conf.d", "/etc/ld.so.preload",
    "/etc/modprobe.d", "/etc/pam.d", "/etc/passwd", "/etc/profile", "/etc/profile.d", "/etc/rc.local", "/etc/shadow",
    "/etc/ssh", "/etc/sudoers", "/etc/sudoers.d", "/etc/systemd", "/etc/udev", "/home", "/root", "/var/spool/cron",
)  # fmt: skip
#: Directories that hold keys, passwords and tokens.
SECRETS: Final = (
    "/etc/gshadow", "/etc/krb5.keytab", "/etc/letsencrypt", "/etc/shadow", "/etc/ssh", "/etc/ssl/private",
    "/etc/sudoers", "/etc/wireguard", "/home", "/proc", "/root", "/run/secrets", "/var/lib",
)  # fmt: skip

WRITES: Final = (
    "fs.write", "fs.append", "fs.write_stream", "fs.patch", "fs.rename", "fs.copy", "fs.symlink", "fs.link", "fs.chmod",
    "fs.chown", "fs.extract", "fs.fetch", "fs.open", "fs.undo", "file.write",
)  # fmt: skip
READS: Final = ("fs.read", "fs.read_stream", "fs.lines", "fs.tail", "fs.grep", "fs.open", "fs.archive", "file.read")
RUNS: Final = (
    "proc.command",
    "proc.exec",
    "proc.spawn",
    "proc.start",
    "tty.open",
    "sys.service_control",
    "sys.cron_set",
)
SENDS: Final = (
    "net.http", "net.connect", "net.udp", "net.forward", "net.unix", "net.tcp_check", "net.listen", "net.resolve",
    "fs.upload",
)  # fmt: skip
FETCHES: Final = ("net.download", "net.http", "fs.fetch", "fs.extract")


class Needed(Protocol):
    """A need, of a manifest or inferred; without paths, commands and targets it is bound to none."""

    @property
    def call(self) -> str: ...  # a name, or ``family.*``
    @property
    def paths(self) -> Sequence[str]: ...
    @property
    def commands(self) -> Sequence[str]: ...
    @property
    def targets(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """One pair of groups."""

    code: str  # stable
    first: tuple[str, ...]
    second: tuple[str, ...]
    means: str
    first_under: tuple[
        str, ...
    ] = ()  # only if a path of the first may lie under, or hold, one of these; () is anywhere


@dataclass(frozen=True, slots=True)
class Risk:
    """One combination that a script has."""

    code: str
    calls: tuple[str, ...]  # sorted; what it takes of both groups
    means: str
    paths: tuple[str, ...] = ()  # of the script, which make it so; none if a need has no bound

    @property
    def short(self) -> str:
        """The same in a few words, for a list."""
        return SHORT[self.code]


#: What a list of reviews says of each rule.
SHORT: Final = {
    "write_and_run": "writes what runs + runs command", "read_secrets_and_send": "reads secrets + sends",
    "read_and_send": "reads files + sends", "run_and_send": "runs command + sends",
    "fetch_and_run": "fetches + runs command", "environment_and_send": "reads environment + sends",
    "secret_and_run": "secret + runs command", "secret_and_send": "secret + sends",
    "own_and_write": "changes owner + writes", "user_and_terminal": "changes users + runs command",
    "hide_and_run": "changes jobs + writes",
}  # fmt: skip

RULES: Final = (
    Rule("write_and_run", WRITES, RUNS, "can put a program or its configuration where it runs, and have it run: full "
         "control of the host", RUN_FROM),
    Rule("read_secrets_and_send", READS, SENDS, "can read keys or passwords and send them away", SECRETS),
    Rule("read_and_send", READS, SENDS, "can read files and send what is in them away"),
    Rule("run_and_send", ("proc.command", "proc.exec", "proc.spawn", "tty.open"), SENDS,
         "can run programs and send what they print away"),
    Rule("fetch_and_run", FETCHES, RUNS, "can take something from elsewhere and have it run"),
    Rule("environment_and_send", ("proc.environ",), SENDS, "can read secrets from the environment of processes and "
         "send them away"),
    Rule("secret_and_run", ("secret",), RUNS, "can hand a secret to a program"),
    Rule("secret_and_send", ("secret",), SENDS, "can send a secret away; it is meant to if the target is its owner"),
    Rule("own_and_write", ("fs.chown", "fs.chmod"), ("fs.write", "fs.copy", "fs.patch", "fs.extract", "fs.fetch"),
         "can make a file that runs with the rights of another user"),
    Rule("user_and_terminal", ("sys.user_change",), ("tty.open", "proc.exec", "proc.spawn"),
         "can make or change a user and act as it"),
    Rule("hide_and_run", ("sys.cron_set", "sys.service_control"), WRITES,
         "can leave something behind that goes on after the run"),
)  # fmt: skip


def risks(calls: Iterable[str], needs: Iterable[Needed]) -> list[Risk]:
    """Return the risky combinations of a script, in the order of ``RULES``.

    Args:
        calls: Names that it can call, as inferred.
        needs: What its calls are bound to. Several of one call add up; a call without any is not bound.
    """
    made, stated = frozenset(calls), list(needs)
    found = [_risk(rule, made, stated) for rule in RULES]
    said = [risk for risk in found if risk is not None]
    covered = {"read_and_send": "read_secrets_and_send"}  # the stronger one says it all
    codes = {risk.code for risk in said}
    return [risk for risk in said if covered.get(risk.code) not in codes]


def _risk(rule: Rule, made: frozenset[str], needs: Sequence[Needed]) -> Risk | None:
    first = [call for call in rule.first if call in made]
    second = [call for call in rule.second if call in made]
    if not second or len({*first, *second}) < 2:
        return None
    if not rule.first_under:
        return Risk(rule.code, tuple(sorted({*first, *second})), rule.means) if first else None
    reaching: dict[str, list[str]] = {}
    for call in first:
        paths = _paths(call, needs)
        inside = (
            None if paths is None else [path for path in paths if any(_meets(path, top) for top in rule.first_under)]
        )
        if inside is None or inside:
            reaching[call] = inside or []
    if not reaching or len({*reaching, *second}) < 2:
        return None
    told = tuple(sorted({path for paths in reaching.values() for path in paths}))
    return Risk(rule.code, tuple(sorted({*reaching, *second})), rule.means, told)


def _paths(call: str, needs: Sequence[Needed]) -> list[str] | None:
    """Return the paths that a call is bound to; None if it is not bound."""
    about = [need for need in needs if need.call in ("*", call) or fnmatchcase(call, need.call)]
    if not about or any(not need.paths or not getattr(need, "is_bounded", True) for need in about):
        return None
    return [path for need in about for path in need.paths]


def _meets(path: str, top: str) -> bool:
    """Return whether ``path``, which may be a pattern or hold a parameter in braces, can be under or over ``top``."""
    start = path
    for sign in "*?[{":
        start = start.partition(sign)[0]
    if start == path:
        return path == top or path.startswith(f"{top}/") or top.startswith(f"{path.rstrip('/')}/")
    return start.startswith(f"{top}/") or top.startswith(start)
