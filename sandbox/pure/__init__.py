"""The calls that need no host: computed inside the worker, never seen by the gate.

They are pure functions of the run's parameters and their arguments; whatever they do wrong, they do inside the jail.
Each takes ``(parameters of the run, positional arguments, named arguments)`` and raises only ``CallError``. One module
a concept; all of them are imported in the zygote, as a locked worker cannot open files. ``declared`` says how a call
is declared, and bounds what goes in and what comes out.
"""

from __future__ import annotations

from sandbox.pure import (  # noqa: F401 - each declares its calls when it is imported
    base64,
    cidr,
    csv,
    digest,
    gzip,
    hex,
    hmac,
    ini,
    json,
    param,
    path,
    regex,
    require,
    semver,
    toml,
    url,
    xml,
    yaml,
)
from sandbox.pure.declared import PURE, PureCall

__all__ = ["PURE", "PureCall"]
