"""The bundled checks pass their own tests in the real sandbox, and report exactly what they promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.local.folder import read_bundle
from scripts import bundled

TARGETS = {"disk": "device={disk}", "filesystem": "target=/", "network": "target=lo", "cpu": "sample=0.1"}


def outrider(*arguments: str) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments, "--json"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def some_disk() -> str:
    return Path("/proc/diskstats").read_text().splitlines()[-1].split()[2]


def test_both_languages_are_there() -> None:
    languages = [read_bundle(path).manifest.language for path in bundled().values()]
    assert sorted(bundled()) == ["cpu", "disk", "filesystem", "load_average", "memory", "network"]
    assert (languages.count("lua"), languages.count("python")) == (4, 2)


@pytest.mark.parametrize("name", sorted(bundled()))
def test_check_passes_its_own_tests(name: str) -> None:
    status, told = outrider("script", "check", str(bundled()[name]))
    assert status == 0, told
    assert told["inferred_tier"] == "observe"
    assert told["tests"], "a check without a test proves nothing"


@pytest.mark.parametrize("name", sorted(bundled()))
def test_what_a_check_calls_was_inferred(name: str) -> None:
    """As the gate of the real sandbox recorded it; and nothing is inferred that no run could make."""
    arguments = ["--arg", TARGETS[name].format(disk=some_disk())] if name in TARGETS else []
    _, ran = outrider("script", "run", str(bundled()[name]), *arguments)
    _, checked = outrider("script", "check", str(bundled()[name]))
    made, inferred = names(ran["calls"]), names(checked["calls"])
    assert made
    assert made <= inferred
    assert inferred - made <= {"param", "check.state", "check.metric", "fs.space"}, (
        "carried out by the worker, or not met"
    )
    assert checked["dynamic"] == []


def names(calls: object) -> set[str]:
    assert isinstance(calls, list)
    return {call["call"] for call in calls}


@pytest.mark.parametrize("name", sorted(bundled()))
def test_check_reports_what_it_promises(name: str) -> None:
    """On the real host, in the real sandbox: names, types and units as in the manifest, no more and no less."""
    arguments = ["--arg", TARGETS[name].format(disk=some_disk())] if name in TARGETS else []
    status, told = outrider("script", "run", str(bundled()[name]), *arguments)
    assert status == 0, told
    metrics = told["metrics"]
    assert isinstance(metrics, list)
    if name == "filesystem" and not metrics:
        pytest.skip("nothing is mounted on / of this machine as the kernel tells it")
    found = {(item["name"], item["type"], item["unit"]) for item in metrics}
    assert found == {(item.name, item.type, item.unit) for item in read_bundle(bundled()[name]).manifest.metrics}
