"""Pairs of calls that mean more together than alone."""

from __future__ import annotations

import pytest

from protocol.manifest import Need
from sandbox.risks import RULES, SHORT, risks


def codes(calls: list[str], *needs: Need) -> list[str]:
    return [risk.code for risk in risks(calls, needs)]


def test_every_rule_is_met_by_its_own_calls() -> None:
    """With nothing bound; each has a code and a sentence of its own."""
    assert len({rule.code for rule in RULES}) == len({rule.means for rule in RULES}) == len(RULES)
    for rule in RULES:
        first, second = rule.first[0], next(call for call in rule.second if call != rule.first[0])
        found = {risk.code: risk for risk in risks([first, second], ())}
        assert rule.code in found or (rule.code, "read_secrets_and_send") == ("read_and_send", *list(found)[:1])


@pytest.mark.parametrize("calls", [[], ["fs.write"], ["proc.command"], ["fs.read", "fs.list", "sys.host"]])
def test_one_of_them_alone_is_no_risk(calls: list[str]) -> None:
    assert codes(calls) == []


def test_one_call_that_is_in_both_groups_is_no_pair() -> None:
    assert codes(["net.http"]) == []
    assert codes(["tty.open"]) == []


@pytest.mark.parametrize(
    ("paths", "is_risk"),
    [
        ((), True),
        (("/etc/cron.d/x",), True),
        (("/etc/**",), True),
        (("/**",), True),
        (("/",), True),
        (("/usr/local/bin/{name}",), True),
        (("/{name}",), True),
        (("/srv/data/**",), False),
        (("/etc/motd",), False),
        (("/etc/ssh*",), True),
        (("/var/tmp/x", "/root/.ssh/authorized_keys"), True),
        (("/homework/x",), False),
    ],
)
def test_writing_and_running_is_a_risk_where_programs_are_taken_from(paths: tuple[str, ...], is_risk: bool) -> None:
    found = codes(["fs.write", "proc.command"], Need("fs.write", paths), Need("proc.command", (), ("df",)))
    assert ("write_and_run" in found) is is_risk


def test_needs_add_up_and_a_family_stands_for_its_calls() -> None:
    narrow, wide = Need("fs.write", ("/srv/x",)), Need("fs.*", ("/etc/cron.d/x",))
    assert "write_and_run" not in codes(["fs.write", "proc.exec"], narrow)
    (risk, *_) = risks(["fs.write", "proc.exec"], [narrow, wide])
    assert (risk.code, risk.calls, risk.paths) == ("write_and_run", ("fs.write", "proc.exec"), ("/etc/cron.d/x",))
    assert "write_and_run" in codes(["fs.write", "proc.exec"], narrow, Need("*"))


def test_the_stronger_of_two_says_it_all() -> None:
    assert codes(["fs.read", "net.http"], Need("fs.read", ("/etc/shadow",))) == ["read_secrets_and_send"]
    assert codes(["fs.read", "net.http"], Need("fs.read", ("/srv/x",))) == ["read_and_send"]


def test_every_rule_has_short_words_of_its_own() -> None:
    """A list of reviews shows them; one that lacks would break the whole list."""
    assert set(SHORT) == {rule.code for rule in RULES}
    assert len(set(SHORT.values())) == len(RULES)
    assert all(len(words) <= 40 for words in SHORT.values())
