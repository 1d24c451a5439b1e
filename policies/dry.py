"""Dry runs: which calls that may change something only read, so that they are carried out all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from policies.decide import Effective, Layer, decide_effective
from policies.load import builtin
from policies.model import Facts
from protocol.tiers import Tier


def only_reads(effective: Effective) -> Callable[[str, Facts], bool]:
    """Return what tells of a call and its facts whether it only reads.

    It does if tier inspect, in the place of the session's own tier (its first layer), would allow it: what inspect
    allows of declared commands and requests reads, and of files what ends with the run.
    """
    inspect = builtin(Tier.INSPECT)
    layers = replace(effective, layers=(Layer(inspect.name, inspect.rules), *effective.layers[1:]))
    return lambda call, facts: decide_effective(layers, call, facts).allowed
