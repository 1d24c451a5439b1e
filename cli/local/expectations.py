"""What a manifest's test expects of a run, and how a run differs from it. Pure.

Only what the test names is compared: status, state, the result, and each metric by its name. A metric is given as its
value, or as a map with any of ``value``, ``type``, ``unit``; numbers are equal within one part in a million, because a
script computes with floats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cli.local.report import Ran
from protocol.manifest import Result

RELATIVE_TOLERANCE = 1e-6


def differences(expect: Mapping[str, Any], ran: Ran) -> list[str]:
    """Return one line for each expectation that is not met; none if the test passes."""
    found: list[str] = []
    expected_status = expect.get("status", "ok")
    if ran.status != expected_status:
        found.append(f"status is {ran.status}, not {expected_status}: {ran.reason or 'no reason given'}")
        return found  # whatever else differs follows from this
    if "state" in expect and ran.state != expect["state"]:
        found.append(f"state is {ran.state}, not {expect['state']}")
    if "result" in expect and not equal(expect["result"], ran.result):
        found.append(f"result is {ran.result!r}, not {expect['result']!r}")
    for name, wanted in (expect.get("metrics") or {}).items():
        found += _metric(str(name), wanted, ran)
    return found


def _metric(name: str, wanted: Any, ran: Ran) -> list[str]:
    dimension, _, last = name.rpartition(".")
    metrics = [item for item in ran.metrics if item.get("name") in {name, last}]
    exact = [item for item in metrics if item.get("name") == name or item.get("dimension") == dimension]
    if not exact:
        known = ", ".join(sorted(str(item.get("name")) for item in ran.metrics)) or "none"
        return [f"there is no metric {name} (there are: {known})"]
    fields = wanted if isinstance(wanted, Mapping) and wanted.keys() <= {"value", "type", "unit"} else {"value": wanted}
    return [
        f"metric {name}: {key} is {exact[-1].get(key)!r}, not {value!r}"
        for key, value in fields.items()
        if not equal(value, exact[-1].get(key))
    ]


def equal(expected: Any, found: Any) -> bool:
    """Return whether two plain values are the same; numbers within RELATIVE_TOLERANCE, booleans only booleans."""
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, (int, float)) and isinstance(found, (int, float)):
        return math.isclose(expected, found, rel_tol=RELATIVE_TOLERANCE)
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return expected.keys() == found.keys() and all(equal(value, found[key]) for key, value in expected.items())
    if isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)):
        return len(expected) == len(found) and all(map(equal, expected, found))
    return bool(expected == found)


def broken_promises(result: Result | None, ran: Ran) -> list[str]:
    """Return how the result of a run that went well differs from what the manifest promises."""
    if result is None or ran.status != "ok":
        return []
    if not _is_a(result.type, ran.result):
        return [f"result is {ran.result!r:.60}, the manifest promises {result.type}"]
    given = ran.result if isinstance(ran.result, Mapping) else {}
    return [
        f"result.{name} is {given.get(name)!r:.60}, the manifest promises {kind}"
        for name, kind in result.fields.items()
        if not _is_a(kind, given.get(name))
    ]


def _is_a(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    match kind:
        case "integer":
            return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        case "number":
            return isinstance(value, (int, float))
        case "string":
            return isinstance(value, str)
        case "object":
            return isinstance(value, Mapping) or value == []  # an empty table of Lua is both
        case "array":
            return isinstance(value, (list, tuple)) or value == {}
        case _:
            return kind == "null" and value is None
