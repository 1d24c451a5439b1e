"""What an owner denies by a name that is a link on this host is denied by where that leads, too."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.linked_names import KNOWN_S, MAX_KNOWN, LinkedNames
from policies.ceiling import load_ceiling
from policies.decide import Effective, Layer, decide_below, decide_effective
from policies.model import Effect, Facts, Rule
from policies.paths import PathPattern
from protocol.errors import UnavailableError

Denies = Callable[..., bool]


def rule(effect: Effect, *paths: str, programs: tuple[str, ...] = (), exceptions: tuple[str, ...] = ()) -> Rule:
    patterns = [tuple(map(PathPattern.parse, each)) for each in (paths, programs, exceptions)]
    return Rule(effect, "*", "test:1", paths=patterns[0], programs=patterns[1], exceptions=patterns[2])


def effective(*rules: Rule) -> Effective:
    return Effective((Layer("the test", (*rules, Rule(Effect.ALLOW, "*", "test:2"))),))


def effect(links: LinkedNames, ruled: Effective, **facts: str) -> Effect:
    return decide_effective(links.followed(ruled), "fs.read", Facts(**facts)).effect


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """``var/run -> ../run``, ``bin -> usr/bin``, ``usr/bin/vi -> alternatives/vi -> usr/bin/vim``."""
    for name in ("run/secrets", "var", "usr/bin", "alternatives"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "var/run").symlink_to("../run")
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "usr/bin/vim").touch()
    (tmp_path / "alternatives/vi").symlink_to(tmp_path / "usr/bin/vim")
    (tmp_path / "usr/bin/vi").symlink_to(tmp_path / "alternatives/vi")
    return tmp_path


@pytest.mark.parametrize("kind", [Effect.DENY, Effect.ASK])
@pytest.mark.parametrize(
    ("named", "there"),
    [
        ("var/run/**", "run/secrets/key"),
        ("var/run/**", "run"),
        ("var/run/*/key", "run/secrets/key"),
        ("var/run/secr?ts/**", "run/secrets/key"),
        ("var/run/not/yet/there", "run/not/yet/there"),
        ("bin/vi", "usr/bin/vim"),
        ("bin/vi", "usr/bin/vi"),  # the link itself, as fs.unlink is about
        ("usr/bin/vi", "usr/bin/vim"),
    ],
)
def test_what_denies_or_asks_follows_links(top: Path, kind: Effect, named: str, there: str) -> None:
    ruled = effective(rule(kind, f"{top}/{named}"))
    assert decide_effective(ruled, "fs.read", Facts(path=f"{top}/{there}")).effect is Effect.ALLOW
    assert effect(LinkedNames(), ruled, path=f"{top}/{there}") is kind
    assert effect(LinkedNames(), ruled, path=f"{top}/{named.replace('**', 'x').replace('*', 'x')}") is kind, "as named"
    assert effect(LinkedNames(), ruled, path=f"{top}/elsewhere") is Effect.ALLOW


def test_programs_are_denied_by_what_they_lead_to(top: Path) -> None:
    ruled = effective(rule(Effect.DENY, programs=(f"{top}/bin/vi",)))
    assert effect(LinkedNames(), ruled, command="vi", program=f"{top}/usr/bin/vim") is Effect.DENY
    assert effect(LinkedNames(), ruled, command="ed", program=f"{top}/usr/bin/ed") is Effect.ALLOW


def test_an_exception_of_an_allowance_follows_links_and_the_allowance_does_not(top: Path) -> None:
    """It gives what it names, and less where that is a link: nobody gets more by how a host is made."""
    allowed = rule(Effect.ALLOW, f"{top}/**", exceptions=(f"{top}/var/run/**",))
    ruled = Effective((Layer("the test", (allowed,)),))
    assert effect(LinkedNames(), ruled, path=f"{top}/usr/x") is Effect.ALLOW
    assert effect(LinkedNames(), ruled, path=f"{top}/run/secrets/key") is Effect.DENY
    assert decide_below(LinkedNames().followed(ruled), "fs.read", f"{top}/run") is False
    ruled = Effective((Layer("the test", (rule(Effect.ALLOW, f"{top}/var/run/**"),)),))
    assert effect(LinkedNames(), ruled, path=f"{top}/run/secrets/key") is Effect.DENY


def test_odd_names_are_denied_all_the_same(top: Path) -> None:
    """What a pattern cannot say plainly fits too much rather than too little."""
    odd = top / "a{b}*[c]"
    (odd / "deep").mkdir(parents=True)
    (top / "plain").symlink_to(odd)
    ruled = effective(rule(Effect.DENY, f"{top}/plain/**"))
    assert effect(LinkedNames(), ruled, path=f"{odd}/deep/file") is Effect.DENY
    os.symlink(os.fsencode(top) + b"/\xff", top / "bytes")
    ruled = effective(rule(Effect.DENY, f"{top}/bytes/**"))
    assert effect(LinkedNames(), ruled, path=f"{top}/\udcff/x") is Effect.DENY


def test_what_no_rule_can_name_is_a_refusal(top: Path) -> None:
    """Nothing runs then: a denial that is about less than it says is none."""
    (top / "odd").symlink_to("?" * 20)
    with pytest.raises(UnavailableError, match="leads to what no rule can name"):
        LinkedNames().followed(effective(rule(Effect.DENY, f"{top}/odd/**")))


def test_links_without_an_end_end(top: Path) -> None:
    (top / "one").symlink_to("two")
    (top / "two").symlink_to("one")
    (top / "self").symlink_to("self/self/self")
    ruled = effective(rule(Effect.DENY, f"{top}/one/**", f"{top}/self/x"))
    assert effect(LinkedNames(), ruled, path=f"{top}/one/x") is Effect.DENY


def test_a_link_up_and_one_to_the_root(top: Path) -> None:
    (top / "root").symlink_to("/")
    (top / "up").symlink_to("usr/../../../../../../../../../../etc")
    ruled = effective(rule(Effect.DENY, f"{top}/root/etc/shadow", f"{top}/up/*"))
    assert effect(LinkedNames(), ruled, path="/etc/shadow") is Effect.DENY
    assert effect(LinkedNames(), ruled, path="/etc/passwd") is Effect.DENY
    assert effect(LinkedNames(), effective(rule(Effect.DENY, f"{top}/root")), path="/") is Effect.DENY


def test_links_are_looked_at_again_after_a_while(top: Path) -> None:
    now = [100.0]
    links = LinkedNames(clock=lambda: now[0])
    ruled = effective(rule(Effect.DENY, f"{top}/later/**"))
    assert effect(links, ruled, path=f"{top}/run/x") is Effect.ALLOW
    (top / "later").symlink_to("run")
    now[0] += KNOWN_S + 1
    assert effect(links, ruled, path=f"{top}/run/x") is Effect.DENY


def test_file_systems_of_others_are_not_asked(top: Path, tmp_path: Path) -> None:
    """They may never answer; what leads there is followed up to them."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"2 1 0:50 / {top}/share rw - nfs4 server:/x rw\n"
        f"3 1 0:51 / {top}/twice rw - nfs4 server:/x rw\n4 1 0:52 / {top}/twice rw - tmpfs tmpfs rw\n"
    )
    for name in ("share", "twice"):
        (top / name).mkdir()
        (top / name / "link").symlink_to(top / "run")
    (top / "to-share").symlink_to("share")
    links = LinkedNames(str(mounts))
    ruled = effective(rule(Effect.DENY, f"{top}/share/link/**", f"{top}/to-share/link"))
    assert effect(links, ruled, path=f"{top}/run/x") is Effect.ALLOW
    assert effect(links, ruled, path=f"{top}/share/link") is Effect.DENY
    ruled = effective(rule(Effect.DENY, f"{top}/twice/link/**"))
    assert effect(links, ruled, path=f"{top}/run/x") is Effect.DENY


def test_a_list_of_mounts_that_cannot_be_read_is_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be read"):
        LinkedNames(str(tmp_path / "none")).followed(effective())


def test_what_is_known_has_a_bound(top: Path) -> None:
    """Each run may bring rules of its own."""
    links = LinkedNames()
    for number in range(2 * MAX_KNOWN):
        links.followed(effective(rule(Effect.DENY, f"{top}/x{number % 7}")))
    assert len(links._made) <= MAX_KNOWN + 1
    assert len(links._leads) <= MAX_KNOWN + 1


def test_rules_without_links_stay_as_they_are(top: Path) -> None:
    ruled = effective(rule(Effect.DENY, f"{top}/run/**"), rule(Effect.DENY))
    assert LinkedNames().followed(ruled) == ruled


def test_a_ceiling_of_this_very_host() -> None:
    """As people write it: /var/run and /bin are links nearly everywhere."""
    ceiling = load_ceiling(
        "highest_tier: admin\ndeny:\n  - {call: '*', paths: [/var/run/**]}\n  - {call: '*', programs: [/bin/rm]}\n",
        "ceiling.yaml",
    )
    assert ceiling.layer is not None
    links, ruled = LinkedNames(), Effective((ceiling.layer,))
    assert effect(links, ruled, path=f"{os.path.realpath('/var/run')}/x") is Effect.DENY
    assert effect(links, ruled, command="rm", program=os.path.realpath("/bin/rm")) is Effect.DENY
