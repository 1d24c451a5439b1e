"""What static analysis knows of the calls, for who reads scripts and runs none: the server.

It is written beside this file, in ``tables.json``, by ``stdlib.reference`` from the declarations, and the tests hold
that it is what they say. So a server loads no implementation of a call: half a second at the first script that is
published, and modules that it could only be harmed by.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protocol.errors import InternalError

FILE = Path(__file__).with_name("tables.json")


def load() -> list[dict[str, Any]]:
    """Return the rows of ``Catalogue.tables``.

    Raises:
        InternalError: The file is not there or broken: the installation is not whole.
    """
    try:
        rows = json.loads(FILE.read_bytes())
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise ValueError("it is no list of calls")
    except (OSError, ValueError) as error:
        raise InternalError(f"{FILE} has no tables of the calls", detail=repr(error)) from error
    return rows


def text() -> str:
    """Return what the file is to hold, by the declarations of all families; one line for each call."""
    from stdlib.catalogue import load as load_all  # loads every module

    return "[\n" + ",\n".join(json.dumps(row) for row in load_all().tables()) + "\n]\n"
