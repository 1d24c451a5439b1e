"""No command that tier ``inspect`` names tells the arguments of processes: ``proc.cmdline`` leaves the secrets out."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys

import pytest

from policies.decide import decide
from policies.load import builtin
from policies.model import Facts
from protocol.tiers import Tier

#: What ps could be given: options of one letter, words that older systems take for such, lists of what to show.
WORDS = [
    "-e", "-A", "-ej", "-eF", "-ef", "-el", "-eLy", "-ec", "-f", "-F", "-eo", "-o", "-oargs", "-eopid,comm", "-eoargs",
    "pid,comm", "pid,args", "pid,cmd", "pid", "args", "comm", "user", "rss", "stat", "tty", "time", "lstart", "vsz",
    "e", "f", "u", "aux", "axe", "eww", "--forest",
]  # fmt: skip


@pytest.mark.skipif(shutil.which("ps") is None, reason="this machine has no ps")
def test_ps_tells_no_arguments_at_inspect() -> None:
    """``ps -e rss`` did: to ps the letters are options, and the policy took them for names of columns."""
    secret = "--password=hunter2"
    with subprocess.Popen(
        [sys.executable, "-c", "input()", secret], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={"X": secret}
    ) as process:
        lines = [line for count in (0, 1, 2) for line in itertools.permutations(WORDS, count)]
        allowed = [line for line in lines if _is_allowed(Tier.INSPECT, line)]
        assert ("-eo", "pid,comm") in allowed
        try:
            told = {line: _printed(line) for line in allowed if re.search("e|A", " ".join(line))}
            assert secret in _printed(("-eo", "pid,args")), "ps shows no arguments here; nothing was proved"
        finally:
            process.kill()
    assert [line for line, printed in told.items() if secret in printed or " -c input" in printed] == []


def test_who_may_operate_may_see_them() -> None:
    """A person at a terminal is not shut out: from operate on, declared commands print what they print."""
    assert _is_allowed(Tier.OPERATE, ("-ef",))
    assert not _is_allowed(Tier.OPERATE, ("-e", "rss"))


def _is_allowed(tier: Tier, line: tuple[str, ...]) -> bool:
    facts = Facts(command="ps", program="/usr/bin/ps", arguments=line)
    return decide(builtin(tier), "proc.start", facts).allowed


def _printed(line: tuple[str, ...]) -> str:
    return subprocess.run(
        ["ps", *line], env={"PATH": "/usr/bin:/bin", "COLUMNS": "2000"}, capture_output=True, text=True, check=False
    ).stdout
