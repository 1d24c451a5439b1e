"""``python -m cli`` is ``outrider``."""

from cli.main import main

main()
