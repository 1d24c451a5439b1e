"""A postponed module is loaded when something of it is asked for, and not before; each in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

TAKEN = """
import sys
from agent.postponed import postponed
with postponed("xml.dom.minidom"):
    import xml.dom.minidom
    assert "xml.dom.expatbuilder" not in sys.modules
"""


def outcome(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_who_took_the_stand_in_gets_what_the_module_has() -> None:
    told = "print('xml.dom.minidom' in sys.modules, xml.dom.minidom.parseString('<a/>').documentElement.tagName)"
    assert outcome(TAKEN + told) == "False a"


def test_who_imports_it_afterwards_gets_the_module() -> None:
    told = "import xml.dom.minidom as found; from xml.dom.minidom import Node; print(found.__name__, Node.__name__)"
    assert outcome(TAKEN + told) == "xml.dom.minidom Node"


def test_a_member_that_is_imported_within_is_the_module_s_own() -> None:
    program = """
from agent.postponed import postponed
with postponed("xml.dom.minidom"):
    from xml.dom.minidom import parseString
    print(parseString.__module__)
"""
    assert outcome(program) == "xml.dom.minidom"


def test_what_is_loaded_is_left_alone() -> None:
    program = """
import sys
import xml.dom.minidom as loaded
from agent.postponed import postponed
with postponed("xml.dom.minidom"):
    import xml.dom.minidom
print(xml.dom.minidom is loaded, sys.modules["xml.dom.minidom"] is loaded)
"""
    assert outcome(program) == "True True"


def test_what_the_module_has_not_is_an_attribute_error() -> None:
    told = """
try:
    xml.dom.minidom.nothing
except AttributeError as error:
    print(error)
"""
    assert "nothing" in outcome(TAKEN + told)


#: What an idle agent has no use for; each was loaded by a library, or by us, and is memory on every host.
HEAVY = [
    "importlib.metadata", "importlib.resources", "urllib.request", "http.client", "email", "zipfile",  # by websockets
    "croniter", "dateutil", "zoneinfo", "difflib", "cryptography.hazmat.primitives.serialization",
]  # fmt: skip


@pytest.mark.parametrize("module", HEAVY)
def test_an_agent_that_starts_does_not_load_what_it_seldom_needs(module: str) -> None:
    assert (
        outcome(
            f"import sys, agent.supervisor, agent.loop; agent.loop.loop_factory(); print({module!r} in sys.modules)"
        )
        == "False"
    )
