"""Every example of docs/calls.md, run by the real ``outrider script run`` in both languages.

In a village (``village.py``) there is what they speak of: www.example.org, a mail server, databases, a service manager.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from stdlib.catalogue import load

PROGRAM = Path(__file__).with_name("examples_run.py")

#: Examples that find nothing to do here, as nobody has a terminal on the machine of a local run.
OF_PEOPLE = {"tty.client", "tty.notice"}
#: What a kernel may lack that no mount can stand in for.
OF_THE_KERNEL = {"sys.modules", "sys.sensors", "sys.kernel_log", "sys.pressure", "sys.disk_io", "sys.smart"}


@pytest.mark.timeout(600)  # a hundred programs and three databases are started
@pytest.mark.parametrize("language", ["lua", "python"])
def test_every_example_ends_well(language: str) -> None:
    """A reader copies them; what this machine cannot do is told, and nothing else may fail."""
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[1])}  # what all tests share
    done = subprocess.run(
        [sys.executable, str(PROGRAM), language], capture_output=True, text=True, timeout=580, env=environment
    )
    if done.returncode == 3:
        pytest.skip(f"no example can be run in a village: {json.loads(done.stdout)['none']}")
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    ran, missing = told["ran"][language], told["missing"]
    assert set(ran) == set(load().names())
    wrong, not_here = {}, {}
    for spec in load():
        ended, code = ran[spec.name]["ended"], ran[spec.name]["ended"].partition(":")[0]
        if code == "unavailable" and (spec.name in missing or spec.name in OF_THE_KERNEL):
            not_here[spec.name] = missing.get(spec.name, ended)
        elif spec.name in OF_PEOPLE and ended == "ok" and not ran[spec.name]["made"]:
            not_here[spec.name] = "nobody has a terminal here"
        elif ended != "ok" or not (spec.is_local or ran[spec.name]["made"]):
            wrong[spec.name] = ended
    assert wrong == {}
    assert len(not_here) <= len(OF_PEOPLE) + len(OF_THE_KERNEL) + 3
    reasons = "; ".join(f"{name}: {why}" for name, why in not_here.items())
    warnings.warn(f"{len(not_here)} of {len(ran)} examples in {language} cannot end well here: {reasons}", stacklevel=1)
