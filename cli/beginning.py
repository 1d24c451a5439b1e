"""Where the program ``outrider`` begins: at whatever moment Ctrl-C comes, it ends with that status and no traceback.

Everything is imported within; before that only what the interpreter has loaded anyway.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the program ``outrider``."""
    try:
        from cli.main import run

        status = run()
    except KeyboardInterrupt:  # while it was imported, or a second one while the first was dealt with
        status = 130  # exits.INTERRUPTED, which may be what was not imported yet
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left to do is the interpreter's, which would tell of it
    sys.exit(status)
