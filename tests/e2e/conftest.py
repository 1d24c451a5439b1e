"""One running fleet for the tests that only look and ask; those that change what others see have one for their module,
and those that kill make their own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from forwarded import let_reach_loopback
from shell import Shell, outrider_on

from fleet import CEILING, Fleet, fleet, script_bundle


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as made:
        made.add_agent("host-1")
        yield made


@pytest.fixture
def own_fleet(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The fleet of everything that only uses the command line: ``host-1`` is there, ``gone-1`` was there."""
    with fleet(tmp_path_factory.mktemp("shared")) as made:
        with ThreadPoolExecutor() as both:
            list(both.map(made.add_agent, ["host-1", "gone-1"]))
        made.publish_and_approve(script_bundle("checks/seen", 'return #fs.list("/etc")\n'))
        assert made.run("checks/seen", target="gone-1")["status"] == "ok"
        made.agents["gone-1"].stop()
        made.wait_for("gone-1 to be away", lambda: not made.api.get("/api/v1/agents/gone-1").json()["connected"])
        yield made


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet of this module alone with ``host-1``, which people may do everything on."""
    with fleet(tmp_path_factory.mktemp("host")) as made:
        made.add_agent("host-1", ceiling=CEILING)
        yield made


@pytest.fixture(scope="module")
def loopback(host: Fleet) -> Fleet:
    """The same, with forwards that may reach loopback, where everything of a test is."""
    let_reach_loopback(host)
    return host


@pytest.fixture(scope="module")
def desk(host: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The command ``outrider`` of somebody who may do everything on ``host``, with one home for the module."""
    return Shell(tmp_path_factory.mktemp("home"), host)


outrider = outrider_on("shared")
