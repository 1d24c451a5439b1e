"""The modules that scripts can import, put together. The compiler turns ``import`` into a call of ``import_module``.

``__import__`` stays absent: functions of the interpreter call what is under that name when they import by themselves,
and what a script's frame has there would answer them. What each module holds is listed in ``python_surface.MODULES``,
by which ``import`` is checked before anything runs; a test compares the two.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from sandbox import pure
from sandbox.pure.declared import SIGNATURES
from sandbox.python_collections import COLLECTIONS
from sandbox.python_dates import DATETIME
from sandbox.python_formats import BASE64, CSV, HASHLIB, JSON, TEXTWRAP
from sandbox.python_guards import as_call
from sandbox.python_iteration import ITERTOOLS
from sandbox.python_numbers import MATH, STATISTICS
from sandbox.python_proxies import Module, listed, module, words
from sandbox.python_regex import RE
from sandbox.values import LOCAL_CAPS, arguments


def _local_calls(family: str) -> dict[str, Callable[..., Any]]:
    """Return ``encode`` and ``decode`` of a family, so that importing the module of its name takes nothing away."""
    return {member: _local_call(f"{family}.{member}") for member in ("decode", "encode")}


def _local_call(name: str) -> Callable[..., Any]:

    def perform(args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return pure.PURE[name]({}, *arguments(list(SIGNATURES[name]), args, named, LOCAL_CAPS))

    return as_call(perform)


def _ranges(first: Any, last: Any) -> list[Any]:
    return listed(ipaddress.summarize_address_range(first, last), "the range")


def _collapsed(addresses: Any) -> list[Any]:
    return listed(ipaddress.collapse_addresses(listed(addresses, "the addresses")), "the addresses")


_OF_IPADDRESS = """AddressValueError IPv4Address IPv4Interface IPv4Network IPv6Address IPv6Interface IPv6Network
    NetmaskValueError ip_address ip_interface ip_network"""
_IPADDRESS: dict[str, Any] = {name: getattr(ipaddress, name) for name in words(_OF_IPADDRESS)}
_IPADDRESS |= {"collapse_addresses": _collapsed, "summarize_address_range": _ranges}

MODULES: Mapping[str, Module] = {
    name: module(name, members)
    for name, members in {
        "base64": BASE64 | _local_calls("base64"),
        "collections": COLLECTIONS,
        "csv": CSV | _local_calls("csv"),
        "datetime": DATETIME,
        "hashlib": HASHLIB,
        "ipaddress": _IPADDRESS,
        "itertools": ITERTOOLS,
        "json": JSON | _local_calls("json"),
        "math": MATH,
        "re": RE,
        "statistics": STATISTICS,
        "textwrap": TEXTWRAP,
    }.items()
}


def import_module(name: str) -> Module:
    """Return a module; the compiler has checked that there is one of this name."""
    return MODULES[name]
