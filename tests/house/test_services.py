"""The systemd units: what they promise about being started again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from protocol.errors import DOORS

ROOT = Path(__file__).resolve().parents[2]
UNITS = ("agent", "server")


def settings(unit: str) -> dict[tuple[str, str], str]:
    """The settings of a unit by section and key; a key that is given twice has its last value."""
    found, section = {}, ""
    for line in (ROOT / f"packaging/outrider-{unit}.service").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[section, key] = value
    return found


def pauses(unit: str) -> list[int]:
    """How long systemd waits before each start; systemd.service(5), and ``service_restart_usec_next`` in its source."""
    told = settings(unit)
    first, most = float(told["Service", "RestartSec"]), float(told["Service", "RestartMaxDelaySec"])
    steps = int(told["Service", "RestartSteps"])
    return [round(first * (most / first) ** (step / steps)) for step in range(steps + 1)]


@pytest.mark.parametrize("unit", UNITS)
def test_what_fails_again_and_again_is_started_less_and_less_often(unit: str) -> None:
    """A service that fails at once, every two seconds for ever, takes a host's journal and a part of its processor."""
    waits = pauses(unit)
    assert waits == sorted(set(waits)), "each is longer than the one before"
    assert waits[0] <= 5, "one that failed once is back soon"
    assert waits[-1] >= 60
    assert settings(unit)["Service", "Restart"] == "always"


@pytest.mark.parametrize("unit", UNITS)
def test_it_is_never_given_up(unit: str) -> None:
    """By systemd's own limit it would be after five failures within ten seconds, which these pauses can reach."""
    assert settings(unit)["Unit", "StartLimitIntervalSec"] == "0"


@pytest.mark.parametrize("unit", UNITS)
def test_the_pauses_are_those_that_are_told(unit: str) -> None:
    row = re.search(rf"^\| {unit} \|(.*)\|$", (ROOT / "docs/services.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert row is not None
    assert [int(number) for number in re.findall(r"[0-9]+", row[1])] == pauses(unit)


def test_what_only_a_person_can_mend_is_not_started_again() -> None:
    """The statuses are given to errors in one place, and the units say them once more."""
    wrong, refused = DOORS["invalid_document"].exit_status, DOORS["untrusted"].exit_status
    assert settings("agent")["Service", "RestartPreventExitStatus"] == f"{wrong} {refused}"
    assert settings("server")["Service", "RestartPreventExitStatus"] == f"{wrong}"
