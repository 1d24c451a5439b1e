"""``sys.*`` of services: what systemctl prints about units, init scripts where there is no systemd."""

from __future__ import annotations

from pathlib import Path

import pytest
from exemplary import exemplary
from made import Made, make
from running import AllPermitted, Kept, gate, perform

from policies.argument_patterns import ArgumentPattern
from policies.decide import Effective, Layer, decide_effective
from policies.model import Effect, Facts, Limits, Policy, Rule
from policies.needs import needs_layer
from protocol.errors import ArgumentError, DeniedError, NotFoundError, UnavailableError
from protocol.manifest import parse
from protocol.tiers import Tier
from sandbox.parties import Answer
from sandbox.replies import Reply
from stdlib import units
from stdlib.catalogue import load
from stdlib.host import RunContext


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return exemplary(tmp_path)


async def test_services(made: Made) -> None:
    told = await perform("sys.services", host=made.host)
    assert (told["manager"], told["more"]) == ("systemd", False)
    assert told["services"] == [
        {
            "name": "broken.service", "description": "broken.service", "load": "loaded", "state": "failed",
            "sub": "failed", "enabled": "disabled", "pid": None, "since": None,
        },
        {
            "name": "cron.service", "description": "Regular background program processing daemon", "load": "loaded",
            "state": "active", "sub": "running", "enabled": "enabled", "pid": 612, "since": 1795660636.0,
        },
    ]  # fmt: skip
    failed = await perform("sys.services", state="failed", host=made.host)
    assert [row["name"] for row in failed["services"]] == ["broken.service"]
    assert [row["name"] for row in (await perform("sys.services", "cro", host=made.host))["services"]] == [
        "cron.service"
    ]
    assert (await perform("sys.services", limit=1, host=made.host))["more"]


async def test_service(made: Made) -> None:
    told = await perform("sys.service", "cron", host=made.host)
    assert (told["name"], told["memory"], told["cpu"], told["restart"]) == ("cron.service", 1234944, 1.5, "on-failure")
    assert (told["requires"], told["user"], told["ended"]) == (["sysinit.target", "system.slice"], None, None)
    assert made.uses("systemctl")[-1][-2:] == ["--", "cron.service"]
    with pytest.raises(NotFoundError, match=r"no unit 'nope.service'"):
        await perform("sys.service", "nope", host=made.host)


async def test_timers(made: Made) -> None:
    assert await perform("sys.timers", host=made.host) == [{
        "name": "apt-daily.timer", "unit": "apt-daily.service", "state": "active", "enabled": "enabled",
        "next": 1795672800.0, "last": None, "result": "success", "persistent": True,
    }]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["", "-H", "--host=x", "a b", "*.service", "a;b", "../x", "a/b", "x" * 250, "a\n", "é"]
)
async def test_only_the_name_of_a_unit_reaches_systemctl(made: Made, name: str) -> None:
    for call, args in (("sys.service", []), ("sys.service_control", ["stop"])):
        with pytest.raises(ArgumentError) as caught:
            await perform(call, name, *args, host=made.host)
        assert caught.value.parameter == "name"
    with pytest.raises(ArgumentError):
        await perform("sys.journal", unit=name or "-", host=made.host)
    assert made.uses("systemctl") == made.uses("journalctl") == []


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("cron", "cron.service"), ("cron.service", "cron.service"), ("getty@tty1", "getty@tty1.service"),
        ("a.timer", "a.timer"), ("a.b", "a.b.service"), ("timer", "timer.service"), ("a\\x2db", "a\\x2db.service"),
    ],
)  # fmt: skip
def test_names_of_units(given: str, full: str) -> None:
    assert units.unit_name(given, "name") == full


def test_what_systemd_does_not_count() -> None:
    assert [units.count(text) for text in ("5", "[not set]", "", None, "18446744073709551615", "-1")] == [
        5, None, None, None, None, None,
    ]  # fmt: skip
    assert [units.moment(text) for text in ("", "n/a", None, "yesterday", "Thu 2026-11-26 02:37:16 CET")] == [None] * 5
    assert units.moment("Thu 2026-11-26 02:37:16.500000 UTC") == 1795660636.5


async def test_a_host_without_systemd(tmp_path: Path) -> None:
    made = make(tmp_path)
    with pytest.raises(UnavailableError, match="not run by systemd"):
        await perform("sys.services", host=made.host)
    for name, args in (("sys.service", ["cron"]), ("sys.timers", []), ("sys.service_control", ["cron", "stop"])):
        with pytest.raises(UnavailableError, match="not run by systemd"):
            await perform(name, *args, host=made.host)
    made.put("etc/init.d/cron", "#!/bin/sh\n# Short-Description: Regular jobs\n")
    made.put("etc/init.d/other", "#!/bin/sh\n")
    made.put("etc/init.d/README")
    made.put("etc/rc2.d/S01cron")
    made.put("etc/rc2.d/K01other")
    told = await perform("sys.services", host=made.host)
    assert [(row["name"], row["description"], row["enabled"]) for row in told["services"]] == [
        ("cron", "Regular jobs", "enabled"), ("other", "", "disabled"),
    ]  # fmt: skip
    assert told["manager"] == "init.d"


async def test_control(made: Made) -> None:
    told = await perform("sys.service_control", "cron", "restart", host=made.host)
    assert (told["name"], told["state"]) == ("cron.service", "active")
    look, act, again = made.uses("systemctl")
    assert act == ["--no-ask-password", "--quiet", "restart", "--", "cron.service"]
    assert look == again
    with pytest.raises(NotFoundError):
        await perform("sys.service_control", "nope", "start", host=made.host)
    assert len(made.uses("systemctl")) == 4, "what is not there is not started"


async def test_the_agents_own_unit_is_left_alone(made: Made) -> None:
    """Nobody could start it again from afar."""
    made.put("proc/self/cgroup", "0::/system.slice/cron.service/agent\n")
    with pytest.raises(DeniedError, match="agent's own unit"):
        await perform("sys.service_control", "cron", "stop", host=made.host)
    assert made.uses("systemctl") == []


@pytest.mark.parametrize(
    ("place", "name", "action"),
    [
        ("/system.slice/cron.service", "alias", "mask"),  # another name of it
        ("/system.slice/agent.service", "system.slice", "stop"),  # what holds it
        ("/user.slice/session-3.scope", "session-3.scope", "stop"),
    ],
)
async def test_the_agents_own_unit_is_known_by_every_name(made: Made, place: str, name: str, action: str) -> None:
    made.put("proc/self/cgroup", f"0::{place}\n")
    shown = (made.place / "tools/systemctl.cron").read_text()
    made.put("tools/systemctl.out", shown.replace("Names=cron.service", "Names=cron.service alias.service"))
    made.put("tools/systemctl", (made.place / "tools/systemctl").read_text().replace("*)", "*nothing*)"))
    with pytest.raises(DeniedError, match="agent's own unit"):
        await perform("sys.service_control", name, action, host=made.host)
    assert all(use[0] == "show" for use in made.uses("systemctl"))


#: A host in which the agent requires base.target, which requires disk.mount.
REQUIRED = """\
case "$*" in
*"-- agent.service") printf 'Id=agent.service\\nLoadState=loaded\\nRequires=base.target\\n';;
*"-- base.target") printf 'Id=base.target\\nNames=base.target old.target\\nLoadState=loaded\\nRequires=disk.mount\\n';;
*"-- old.target") printf 'Id=base.target\\nNames=base.target old.target\\nLoadState=loaded\\nRequires=disk.mount\\n';;
*"-- disk.mount") printf 'Id=disk.mount\\nLoadState=loaded\\nRequires=base.target\\n';;
*"-- other.service") printf 'Id=other.service\\nLoadState=loaded\\nRequires=base.target\\n';;
esac
"""


@pytest.mark.parametrize("name", ["base.target", "old.target", "disk.mount"])
async def test_what_the_agent_requires_is_not_stopped(made: Made, name: str) -> None:
    """systemd would stop the agent with it."""
    made.tool("systemctl", script=REQUIRED)
    made.put("proc/self/cgroup", "0::/agent.service\n")
    for action in ("stop", "restart"):
        with pytest.raises(DeniedError, match="requires"):
            await perform("sys.service_control", name, action, host=made.host)
    assert all(use[0] == "show" for use in made.uses("systemctl"))
    await perform("sys.service_control", name, "start", host=made.host)
    await perform("sys.service_control", "other", "stop", host=made.host)


@pytest.mark.parametrize("name", ["reboot.target", "poweroff.target", "systemd-kexec.service", "any.target"])
async def test_nothing_that_ends_the_host_is_started(made: Made, name: str) -> None:
    """It is a change of tier operate; to restart the host is one of tier admin, with a reason and a minute's grace."""
    shown = f"Id={name}\\nNames={name} ctrl-alt-del.target\\nLoadState=loaded\\n"
    made.tool("systemctl", script=f"printf '{shown}'")
    for action in ("start", "restart"):
        with pytest.raises(DeniedError, match=r"sys\.reboot"):
            await perform("sys.service_control", name, action, host=made.host)
    assert all(use[0] == "show" for use in made.uses("systemctl"))


async def test_control_is_intended_and_its_failure_told(made: Made) -> None:
    made.tool("systemctl", script='case "$1" in show) cat "$0.cron"; exit 0;; esac', code=1, errors="Job failed.\n")
    made.put("tools/systemctl.cron", (made.place / "tools/systemctl.cron").read_text())
    kept = Kept()
    allowing = gate(Tier.OPERATE, kept, made.host)
    reply = await allowing.call("sys.service_control", ["cron", "start"], {})
    await allowing.close()
    assert reply.error is not None
    assert (reply.error.code, str(reply.error)) == ("unavailable", "systemctl failed: Job failed.")
    assert [record["kind"] for record in kept.records] == ["intent", "call"]
    denied = await gate(Tier.INSPECT, host=made.host).call("sys.service_control", ["cron", "start"], {})
    assert denied.error is not None
    assert denied.error.code == "denied"


def allowed(made: Made, layer: Layer, name: str, action: str) -> bool:
    spec = load().find("sys.service_control")
    assert spec is not None
    with spec.prepare(made.host, RunContext(), spec.bind([name, action], {}), AllPermitted()) as prepared:
        return all(decide_effective(Effective((layer,)), spec.name, facts).allowed for facts in prepared.facts)


async def test_a_manifest_narrows_units(made: Made) -> None:
    """Whoever is approved to restart one service must not stop another."""
    head = "name: a/b\nversion: 1.0.0\nlanguage: lua\nmain: main.lua\ntier: operate\n"
    layer = needs_layer(parse(f"{head}needs: [{{call: sys.service_control, commands: [cron.service]}}]\n"))
    assert layer is not None
    assert allowed(made, layer, "cron", "restart")
    assert allowed(made, layer, "cron.service", "stop")
    assert not allowed(made, layer, "broken", "restart")
    assert not allowed(made, layer, "cron.timer", "restart")


async def test_a_rule_narrows_actions(made: Made) -> None:
    actions = (ArgumentPattern.parse("restart|reload"),)
    rule = Rule(Effect.ALLOW, "sys.service_control", "x", commands=("cron.service",), arguments=actions)
    assert allowed(made, Layer("x", (rule,)), "cron", "restart")
    assert not allowed(made, Layer("x", (rule,)), "cron", "stop")


#: A unit with a second name, as Debian has them: ssh.service is sshd.service, too.
TWO_NAMES = """\
case "$1" in show) printf 'Id=ssh.service\\nNames=ssh.service sshd.service\\nLoadState=loaded\\n';; esac
"""
ALLOWED = Rule(Effect.ALLOW, "sys.service_control", "x:1")


async def control(
    made: Made, rules: tuple[Rule, ...], name: str, answer: Answer | None = None, kept: Kept | None = None,
    *, is_dry: bool = False,
) -> tuple[Reply, Asked]:  # fmt: skip
    """Ask for a restart under a policy with these rules; a person, if there is one, gives this answer."""
    policy = Policy("x", Tier.OPERATE, (*rules, ALLOWED), Limits())
    allowing, asked = gate(Tier.OPERATE, kept, made.host, policy=policy, is_dry=is_dry), Asked(answer)
    allowing.decisions._asker = asked if answer is not None else None
    reply = await allowing.call("sys.service_control", [name, "restart"], {})
    await allowing.close()
    return reply, asked


class Asked:
    """A person who gives one answer, and notes what they were asked."""

    def __init__(self, answer: Answer | None) -> None:
        self.answer = answer
        self.questions: list[str] = []

    async def __call__(self, _call: str, text: str) -> Answer:
        self.questions.append(text)
        assert self.answer is not None
        return self.answer


@pytest.mark.parametrize("denied", ["ssh.service", "sshd.service"])
@pytest.mark.parametrize("name", ["ssh", "sshd", "ssh.service", "sshd.service"])
async def test_a_denial_holds_by_every_name_of_a_unit(made: Made, denied: str, name: str) -> None:
    """An owner who keeps sshd from scripts does not know what else the distribution calls it."""
    made.tool("systemctl", script=TWO_NAMES)
    reply, _ = await control(made, (Rule(Effect.DENY, "sys.service_control", "x:7", commands=(denied,)),), name)
    assert reply.error is not None
    assert (reply.error.code, reply.error.rule) == ("denied", "x:7 deny sys.service_control")
    assert all(use[0] == "show" for use in made.uses("systemctl")), "nothing was done"
    reply, _ = await control(made, (Rule(Effect.DENY, "sys.service_control", "x:7", commands=("cron.service",)),), name)
    assert reply.ok, reply.error


@pytest.mark.parametrize("denied", ["ssh.service", "sshd.service"])
async def test_a_dry_run_is_denied_by_every_name_of_a_unit(made: Made, denied: str) -> None:
    """Else a reviewer sees that it works, and it is denied where it counts."""
    made.tool("systemctl", script=TWO_NAMES)
    kept = Kept()
    deny = Rule(Effect.DENY, "sys.service_control", "x:7", commands=(denied,))
    reply, _ = await control(made, (deny,), "sshd", kept=kept, is_dry=True)
    assert reply.error is not None
    assert (reply.error.code, reply.error.rule) == ("denied", "x:7 deny sys.service_control")
    assert [(item["kind"], item["outcome"], item["verdict"]) for item in kept.records] == [("call", "denied", "deny")]
    reply, _ = await control(made, (), "sshd", kept=kept, is_dry=True)
    assert reply.value == {"dry_run": True}
    assert [(item["kind"], item["outcome"]) for item in kept.records[1:]] == [("call", "dry")]
    assert all(use[0] == "show" for use in made.uses("systemctl")), "nothing was done"


@pytest.mark.parametrize(
    "script", ["exit 1", "printf 'Id=new.service\\nNames=new.service\\nLoadState=not-found\\n'", "kill $$"]
)
async def test_a_dry_run_goes_by_the_name_where_systemd_knows_no_unit(made: Made, script: str) -> None:
    """The package that brings it may be what the same run would install."""
    made.tool("systemctl", script=script)
    reply, _ = await control(made, (), "new", is_dry=True)
    assert reply.ok, reply.error
    reply, _ = await control(
        made, (Rule(Effect.DENY, "sys.service_control", "x:7", commands=("new.service",)),), "new", is_dry=True
    )
    assert reply.error is not None


async def test_a_dry_run_spares_the_agents_own_unit_and_the_host(made: Made) -> None:
    made.put("proc/self/cgroup", "0::/system.slice/outrider-agent.service\n")
    made.tool("systemctl", script="printf 'Id=x.service\\nNames=x.service reboot.target\\nLoadState=loaded\\n'")
    for name, told in (("outrider-agent", "agent's own unit"), ("x", "ends or suspends the host")):
        reply, _ = await control(made, (), name, is_dry=True)
        assert reply.error is not None
        assert told in reply.error.message


@pytest.mark.parametrize("asked_by", ["ssh.service", "sshd.service"])
async def test_a_question_is_asked_once_whatever_the_name(made: Made, asked_by: str) -> None:
    made.tool("systemctl", script=TWO_NAMES)
    rule = Rule(Effect.ASK, "sys.service_control", "x:7", commands=(asked_by,))
    reply, asked = await control(made, (rule,), "sshd", Answer(True, "mia", ""))
    assert reply.ok, reply.error
    assert len(asked.questions) == 1
    made.uses("systemctl")
    reply, asked = await control(made, (rule,), "sshd", Answer(False, "mia", "no"))
    assert reply.error is not None
    assert reply.error.code == "denied"
    yes_and_no = (rule, Rule(Effect.DENY, "sys.service_control", "x:8", commands=("ssh.service",)))
    reply, asked = await control(made, yes_and_no, "sshd", Answer(True, "mia", ""))
    assert reply.error is not None, "a yes lifts no denial"
    assert reply.error.rule == "x:8 deny sys.service_control"


async def test_an_allowance_is_by_the_name_that_was_given(made: Made) -> None:
    """What else a unit is called is the host's to say, and must not widen what was approved."""
    made.tool("systemctl", script=TWO_NAMES)
    narrow = Layer("x", (Rule(Effect.ALLOW, "sys.service_control", "x:1", commands=("ssh.service",)),))
    for name, is_allowed in (("ssh.service", True), ("sshd.service", False)):
        facts = Facts(command=name, arguments=("stop",), others=("ssh.service", "sshd.service"))
        assert decide_effective(Effective((narrow,)), "sys.service_control", facts).allowed is is_allowed
