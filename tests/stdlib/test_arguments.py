"""Wrong arguments of every parameter of every call, from the catalogue: none reaches an implementation."""

from __future__ import annotations

import math
from typing import Any

import pytest
from running import Kept, gate

from protocol.tiers import Tier
from sandbox.attempts import RULE_ARGUMENTS
from sandbox.pure import PURE
from sandbox.pure.declared import REQUIRED, SIGNATURES
from sandbox.runtimes import CallError
from stdlib.call_specs import CallSpec
from stdlib.catalogue import load
from stdlib.parameters import MAX_LIST_ITEMS, MAX_TEXT_CHARACTERS, Bounds, Parameter

NUMBERS: list[Any] = [True, "1", b"1", [], {}, math.nan, math.inf, -math.inf, 1 << 70, -(1 << 70), 1e300]
TEXTS: list[Any] = [1, 1.5, True, b"x", [], {}, "a\0b", "\ud800", "x" * (MAX_TEXT_CHARACTERS + 1)]
WRONG_MAPS: list[Any] = [{"a": 1}, {"a": "b\0"}, {"a\0": "b"}, {"a": ["b"]}]
GOOD: dict[str, Any] = {
    "path": "/", "text": "x", "boolean": True, "integer": 1, "number": 1.0, "value": 1, "host": "localhost",
    "url": "http://localhost/", "octal": "0644", "data": "x", "plain": 1, "map": {"a": "b"}, "handle": {"$handle": 1},
    "list of texts": [], "list of paths": ["/"],
}  # fmt: skip
OF_SOME_FORM = ["x", "/x", "@daily", "0" * 64, "@@ -0,0 +0,0 @@"]  # each form has one of them
OF_NO_FORM = ["", "\n"]  # no form has both


def kind_of(item: Parameter) -> str:
    if item.kind.startswith("list of "):
        return item.kind
    return "choice" if item.kind.startswith("'") else item.kind.split(" ")[0]


def good(item: Parameter) -> Any:
    if kind_of(item) == "choice":
        return item.kind.split("'")[1]
    if kind_of(item) in ("integer", "number"):
        kind, low = type(GOOD[kind_of(item)]), float(item.kind.split(" ")[1].split("..")[0])
        return kind(max(low, 1))
    if item.form is not None and item.kind == "text":
        return next(text for text in OF_SOME_FORM if item.form.problem(text) is None)
    if kind_of(item) == "list of texts" and item.bounds is not None and item.bounds.low:
        return ["x"] * int(item.bounds.low)
    return GOOD[kind_of(item)]


def counts_not_taken(item: Parameter) -> list[int]:
    bounds = item.bounds or Bounds(0, MAX_LIST_ITEMS)
    return [int(bounds.high) + 1, *([0] if bounds.low else [])]


def bad(item: Parameter) -> list[Any]:
    """What a parameter of this kind must refuse. A kind that is not known here fails."""
    kind = kind_of(item)
    nothing = [] if kind == "plain" or (not item.is_required and item.default is None) else [None]
    if kind in ("integer", "number"):
        low, high = (float(end) for end in item.kind.split(" ")[1].split(".."))
        ends = [int(low) - 1, int(high) + 1, *([low + 0.5] if kind == "integer" else [])]
        return [*nothing, *NUMBERS, *ends]
    formless = [text for text in OF_NO_FORM if item.form is not None and item.form.problem(text)]
    assert bool(formless) == (item.form is not None)
    return (
        nothing
        + [text if kind == "text" else {text: "x"} if kind == "map" else [text] for text in formless]
        + ([["x"] * count for count in counts_not_taken(item)] if kind == "list of texts" else [])
        + {
            "path": [*TEXTS, "", "etc", "./x", "/" + "x" * 4096],
            "text": TEXTS,
            "choice": [*TEXTS, "", "no such choice", str(good(item)).swapcase()],
            "boolean": [0, 1, "true", b"", [], {}],
            "host": [*TEXTS, "", "web:80", "http://web", "127.1", "a b", "-a", "bücher.test", "[::1]", "x" * 254],
            "url": [
                *TEXTS,
                "",
                "web",
                "ftp://web/",
                "http://web:0/",
                "http://web:65536/",
                "http://u@web/",
                "http://127.1/",
            ],
            "octal": [*TEXTS, "", "644 ", "0888", "4755", "02755", "77777", 420],
            "data": [1, 1.5, True, [], {}, "\ud800", "x" * (1 << 20), b"x" * (1 << 20)],
            "plain": [math.nan, [math.inf], {"a": [1 << 70]}, {1: 2}, "\ud800", {"a": object()}],
            "map": [1, "x", True, [1], b"x", *(WRONG_MAPS if item.kind != "map" else [])],
            "handle": [1, "x", True, [], {}, {"$handle": "1"}, {"$handle": 1.0}, {"$handle": 1, "a": 1}, {"handle": 1}],
            "list of paths": ["/", 1, True, {"a": "b"}, [], [1], ["x"], ["/a\0b"], ["/"] * (MAX_LIST_ITEMS + 1)],
            "list of texts": [
                "x",
                1,
                True,
                {"a": "b"},
                [1],
                [None],
                ["a\0b"],
                [b"x"],
                [["x"]],
            ],
            "value": [math.nan, math.inf, b"x", [], {}, "a\0b", "\ud800", "x" * (MAX_TEXT_CHARACTERS + 1)],
        }[kind]
    )


def test_defaults_have_the_form() -> None:
    """They reach the implementation unchecked."""
    formed = [item for spec in load() for item in spec.parameters if item.form is not None]
    assert len(formed) >= 20
    for item in formed:
        assert item.is_required or item.default is None or item.check(item.default) is None, item


GATED = [spec for spec in load() if not spec.is_local]
EACH = [pytest.param(spec, item, id=f"{spec.name}-{item.name}") for spec in GATED for item in spec.parameters]


async def refused(spec: CallSpec, args: list[Any], named: dict[str, Any], parameter: str | None) -> None:
    """The gate refuses it before anything is opened or decided, and records that."""
    kept = Kept()
    reply = await gate(Tier.ADMIN, kept).call(spec.name, args, named)
    assert reply.error is not None, named
    assert reply.error.code == "invalid_argument", (named, reply.error)
    assert getattr(reply.error, "parameter", None) == parameter, (named, reply.error)
    (record,) = kept.records  # no intent: nothing was about to happen
    assert (record["rule"], record["verdict"]) == (RULE_ARGUMENTS, "deny")


@pytest.mark.parametrize(("spec", "item"), EACH)
async def test_wrong_value_is_refused_by_name(spec: CallSpec, item: Parameter) -> None:
    given = {other.name: good(other) for other in spec.parameters}
    for value in bad(item):
        await refused(spec, [], given | {item.name: value}, item.name)
    place = [parameter.name for parameter in spec.parameters].index(item.name)
    positional = [good(other) for other in spec.parameters[:place]]
    await refused(spec, [*positional, bad(item)[-1]], {}, item.name)


@pytest.mark.parametrize(("spec", "item"), EACH)
async def test_missing_and_doubled_are_refused_by_name(spec: CallSpec, item: Parameter) -> None:
    given = {other.name: good(other) for other in spec.parameters if other.is_required and other is not item}
    if item.is_required:
        await refused(spec, [], given, item.name)
    args = [good(other) for other in spec.parameters]
    await refused(spec, args, {item.name: good(item)}, item.name)


@pytest.mark.parametrize("spec", GATED, ids=lambda spec: spec.name)
async def test_extra_arguments_are_refused(spec: CallSpec) -> None:
    given = {item.name: good(item) for item in spec.parameters}
    await refused(spec, [], given | {"no_such": 1}, "no_such")
    await refused(spec, [*given.values(), 1], {}, None)


LOCAL = [spec for spec in load() if spec.is_local]
#: What no parameter of a local call takes, by its kind. Texts and bytes may be any, also those that hold a NUL.
NOT_LOCAL: dict[str, list[Any]] = {
    "text": [1, 1.5, True, b"\xff", [], {}],
    "data": [1, 1.5, True, [], {}],
    "boolean": [0, "true", b"", []],
    "choice": ["other", b"x", 1],
    "integer": [*NUMBERS, 1 << 40, -1],
    "list of texts": ["x", 1, True, {"a": "b"}],
    "map": ["x", 1, True, ["a"]],
    "value": [],
}


@pytest.mark.parametrize("spec", LOCAL, ids=lambda spec: spec.name)
def test_local_calls_refuse_too(spec: CallSpec) -> None:
    perform = PURE[spec.name]
    good_here = {**GOOD, "value": []}
    known = {item.name: good_here.get(kind_of(item), "x") for item in spec.parameters if item.is_required}
    wrong: list[tuple[list[Any], dict[str, Any], str]] = [([], known | {"no_such": 1}, "no_such")]
    wrong += [([1] * (len(spec.parameters) + 1), {}, spec.parameters[-1].name)]
    for place, item in enumerate(spec.parameters):
        if item.is_required:
            wrong.append(([], {name: value for name, value in known.items() if name != item.name}, item.name))
        before = [GOOD.get(kind_of(other), "x") for other in spec.parameters[:place]]
        wrong.append(([*before, GOOD.get(kind_of(item), "x")], {item.name: "x"}, item.name))
        wrong += [([], known | {item.name: value}, item.name) for value in NOT_LOCAL[kind_of(item)]]
    for args, named, parameter in wrong:
        with pytest.raises(CallError) as caught:
            perform({}, args, named)
        assert (caught.value.code, caught.value.fields["parameter"]) == ("invalid_argument", parameter), (args, named)


@pytest.mark.parametrize("spec", LOCAL, ids=lambda spec: spec.name)
def test_local_calls_take_the_parameters_that_are_declared(spec: CallSpec) -> None:
    """Declared in one package and done in another: names, order and defaults are compared."""
    done = {name: None if default is REQUIRED else default for name, default in SIGNATURES[spec.name].items()}
    declared = {item.name: None if item.is_required else item.default for item in spec.parameters}
    assert list(done) == list(declared)
    assert {name: list(value) if value == () else value for name, value in done.items()} == declared
