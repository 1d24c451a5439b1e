"""``python -m cli`` is ``outrider``."""

from cli.start import main

main()
