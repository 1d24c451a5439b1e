"""The calls that a script may make while the beginning of its run is still on its way to this host's disk.

After a crash in that moment nothing tells that there was a run, and its fire time, or its order, is as good as before.
So such a call must leave nothing behind, on the host or elsewhere, by which anybody could tell that it was made: it
adds to what the run itself will report (which is told only when its beginning is on disk), or copies numbers that the
kernel keeps in memory for everybody. No file is opened by a path of the script's, no name is looked up, nobody is
asked, no program runs, nothing is remembered for the next run.

What is not in this list waits. It is one list, and not a word at each declaration, so that it can be judged as a whole.
"""

from __future__ import annotations

from typing import Final

EARLY: Final = frozenset({
    # what the run reports
    "check.metric", "check.state", "check.status", "check.timestamp",
    "emit", "log.debug", "log.error", "log.info", "log.warn", "progress",
    # what the run knows of itself
    "ctx.budget", "ctx.caller", "ctx.deadline", "ctx.dry_run", "ctx.reason", "time.mono", "time.now",
    # numbers of the kernel's
    "sys.cpu", "sys.loadavg", "sys.memory", "sys.uptime",
})  # fmt: skip
