"""``python -m cli`` is ``outrider``."""

from cli.beginning import main

main()
