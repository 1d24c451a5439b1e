"""The header of a technique is read strictly: what is not understood is an error and never skipped."""

from __future__ import annotations

import pytest
from outcomes import PROOFS, REAL, Seen, check
from technique import BadHeader, Expectation, parse

GOOD = """# title: do harm
# reference: CVE-2023-37271
# real: killed: seccomp
# weakened: seccomp, landlock
# proof: canary

attack()
"""


def test_a_header_is_read() -> None:
    """Every field of it."""
    technique = parse(GOOD.replace("attack()", "attack({{LONG}})").replace(
        "# proof: canary", '# proof: value: [1, "a: b"]\n# limits: cpu=0.2, memory=32, wall=3, calls=9\n# needs: root\n'
        '# with: LONG = "ab" * 3'
    ), "native", "do_harm")  # fmt: skip
    assert technique.id == "native/do_harm"
    assert technique.real == Expectation("killed", "seccomp")
    assert technique.proof == Expectation("value", '[1, "a: b"]')
    assert technique.weakened == ("seccomp", "landlock")
    assert (technique.cpu_s, technique.memory_mib, technique.wall_s, technique.calls) == (0.2, 32, 3.0, 9)
    assert technique.needs == ("root",)
    assert technique.attack.strip() == "attack({{LONG}})"
    assert technique.source.endswith("attack(ababab)\n")


def test_a_long_field_goes_on_in_the_next_line() -> None:
    """References can be long."""
    technique = parse(GOOD.replace("37271", "37271,\n#   CVE-2023-41039"), "native", "x")
    assert technique.reference == "CVE-2023-37271, CVE-2023-41039"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# title: do harm\n", ""),
        ("# title: do harm", "# title:"),
        ("# title: do harm", "#title: do harm"),
        ("# title: do harm", "# title: do harm\n# title: do more"),
        ("# title: do harm", "# name: do harm"),
        ("# reference: CVE-2023-37271", "# reference: somebody told me"),
        ("# real: killed: seccomp\n# weakened: seccomp, landlock", "# weakened: seccomp\n# real: killed: seccomp"),
        ("# proof: canary", "# proof: canary\n# needs: luck"),
        ("# proof: canary", "# proof: canary\n# limits: patience=3"),
        ("# proof: canary", "# proof: canary\n# limits: cpu=much"),
        ("# proof: canary", '# proof: canary\n# with: LONG = "a" * 3'),
        ("# proof: canary", "# proof: canary\n# with: open('/etc/passwd').read()"),
        ("\nattack()\n", ""),
        ("\nattack()\n", "\n   \n"),
    ],
)
def test_a_bad_header_is_an_error(old: str, new: str) -> None:
    """Each key once, known, in order; a public reference; an attack."""
    assert old in GOOD
    with pytest.raises(BadHeader, match="native/x"):
        parse(GOOD.replace(old, new), "native", "x")


def test_a_bad_name_is_an_error() -> None:
    """It becomes the name of a test and of a directory."""
    with pytest.raises(BadHeader):
        parse(GOOD, "native", "Do Harm")


def seen(status: str = "ok", reason: str | None = None, value: object = None) -> Seen:
    return Seen(status, reason, value, "canary123", 0.2)


@pytest.mark.parametrize(
    ("told", "fits", "does_not"),
    [
        ("error: no", seen("error", "main.lua:1: no"), seen("ok", "no")),
        ("denied: rule", seen("denied", "a rule"), seen("error", "a rule")),
        ("killed: seccomp", seen("killed", "the worker made a system call that is not allowed (SIGSYS)"), seen()),
        ("budget: cpu", seen("killed", "cpu: 1 s used"), seen("killed", "the worker was killed by SIGXCPU")),
        ("budget: memory", seen("killed", "main.lua:3: memory: not enough"), seen("killed", "cpu: 1 s used")),
        ("refused: EACCES", seen(value={"errno": "EACCES"}), seen(value={"errno": "EPERM"})),
        ("harmless: null", seen(), seen(value=1)),
        ("harmless: 1", seen(value=1), seen("error", None, 1)),
    ],
)
def test_what_is_expected_of_the_real_sandbox(told: str, fits: Seen, does_not: Seen) -> None:
    """Each word means one thing."""
    kind, _, detail = told.partition(": ")
    assert check(Expectation(kind, detail), fits, REAL) is None
    assert check(Expectation(kind, detail), does_not, REAL) is not None


def test_an_unknown_outcome_fails() -> None:
    """Both ways round: a proof is no outcome of the real sandbox."""
    assert "no outcome" in str(check(Expectation("fine", ""), seen(), REAL))
    assert "no outcome" in str(check(Expectation("canary", ""), seen(value="canary123"), REAL))
    assert check(Expectation("canary", ""), seen(value="has canary123 in it"), PROOFS) is None
    assert check(Expectation("canary", ""), seen(value="canary"), PROOFS) is not None


def test_going_on_in_time_is_more_than_the_real_limit() -> None:
    """A run that its weakened limit ended at once proves nothing."""
    long, short = seen("killed", "cpu: used"), seen("killed", "cpu: used")
    long.cpu_s, short.cpu_s = 0.5, 0.3
    assert check(Expectation("over", "time"), long, PROOFS) is None
    assert check(Expectation("over", "time"), short, PROOFS) is not None
