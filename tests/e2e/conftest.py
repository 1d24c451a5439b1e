"""One running fleet for the tests that only look and ask; tests that kill make their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fleet import Fleet, fleet

SERVER = Path(__file__).resolve().parents[2] / "server" / "__main__.py"


@pytest.fixture(autouse=True, scope="session")
def whole_path() -> None:
    """These tests need every process of the product."""
    if not SERVER.exists():
        pytest.skip("the server is not built yet: there is no server/__main__.py")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as made:
        made.add_agent("host-1")
        yield made


@pytest.fixture
def own_fleet(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path) as made:
        yield made
