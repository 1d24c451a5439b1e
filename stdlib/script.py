"""``require`` and ``script.call``: scripts made of parts, each pinned by its digest and proved as a script is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from policies.model import Facts
from protocol.errors import UnavailableError
from protocol.limits import MAX_NAME_CHARACTERS
from protocol.tiers import Tier
from stdlib.call_specs import Decided
from stdlib.declaring import call, local
from stdlib.host import Host, RunContext
from stdlib.parameters import Length


class ScriptCaller(Protocol):
    """Runs scripts for a script."""

    async def call(self, name: str, parameters: Mapping[str, Any]) -> Any:
        """Run the script that the calling manifest pins as ``name``; return its result."""


@local(
    "require",
    result="Any",
    lua='local found, util = pcall(require, "util")',
    python='try:\n    util = require("util")\nexcept HostError:\n    util = None',
)
def require(name: str) -> None:
    """Return the module ``name``: a file of this bundle (``util`` is ``util.lua`` or ``util.py``), or a library that
    the manifest pins in ``requires``. It runs once, with this script's permissions.

    In Lua the value that the file returns; in Python an object with the public names of the file. A library finds its
    own files and the libraries of its own manifest. ``not_found`` if it is neither here nor pinned.
    """


def _pinned(host: Host, arguments: Mapping[str, Any]) -> Decided:
    """Return what is decided on: the name under which the calling manifest pins the script.

    One that it does not pin is decided on all the same, and refused when it would be called.
    """
    script = arguments["script"]
    names = {digest: name for name, digest in host.scripts.items()}
    name = names.get(script, script)
    return Decided((Facts(name=name),), {"script": name})


@call(
    "script.call",
    tier=Tier.COMPUTE,
    decides=_pinned,
    lua='local done, result = pcall(script.call, "checks/disk", {device = "sda"})',
    python='try:\n    result = script.call("checks/disk", {"device": "sda"})\nexcept HostError:\n    result = None',
)
async def call_script(
    run: RunContext, script: Annotated[str, Length(MAX_NAME_CHARACTERS)], parameters: dict[str, Any] | None = None
) -> Any:
    """Run another published script, and return its result.

    ``script`` is its name or its digest; the manifest must pin it in ``requires``, and name it in the needs
    (``{call: script.call, names: [checks/disk]}``). It runs as a session of its own, at the tier that it was approved
    for, whatever the tier of the caller; its records name the caller's run. At most 4 scripts deep. What it uses of
    time, calls and output is the caller's. A ``denied`` error if it was denied something, ``budget`` if it was killed,
    ``unavailable`` if it failed, ``untrusted`` if it may not run here.
    """
    if run.scripts is None:
        raise UnavailableError("no other scripts can be called from here")
    return await run.scripts.call(script, parameters or {})
