"""Parameters: what a script can declare, what an operator can give, and what nobody but the author can set."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.errors import ArgumentError, DocumentError
from protocol.manifest import Manifest, parse

HEAD = "name: checks/disk\nversion: 1.2.0\nlanguage: lua\nmain: main.lua\ntier: observe\n"


def declared(text: str) -> Manifest:
    return parse(HEAD + f"parameters:\n  p: {text}\n")


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("{type: string, enum: [a, b]}", ["a", "b"], ["c", "", 1, None, ["a"]]),
        ("{type: integer, choices: [1, 2]}", [1, 2], [True, 3, 1.0]),
        ("{type: boolean}", [True, False], [1, 0, "true"]),
        ("{type: number, choices: [0.5, 1]}", [0.5, 1], [True, 0.25]),
        ("{type: string, min_length: 2, max_length: 3}", ["ab", "abc"], ["a", "abcd"]),
        ("{type: integer, minimum: 2}", [2, 9], [1]),
        ("{type: array, items: {type: string, pattern: '[a-z]+'}, min_items: 1, max_items: 2}",
         [["a"], ["a", "b"]], [[], ["a", "b", "c"], ["A"], "a", [["a"]], {"0": "a"}]),
        ("{type: array, items: {type: integer, maximum: 5}}", [[], [1, 5]], [[6], [True], [1.5]]),
        ("{type: integer, default: 3, locked: true}", [3], [4, True, "3"]),
        ("{type: array, items: {type: boolean}, default: [true], locked: true}", [[True]], [[1], [True, True]]),
    ],
)  # fmt: skip
def test_what_is_taken(text: str, good: list[Any], bad: list[Any]) -> None:
    manifest = declared(text)
    for value in good:
        assert manifest.check_parameters({"p": value}) == {"p": value}
    for value in bad:
        with pytest.raises(ArgumentError) as caught:
            manifest.check_parameters({"p": value})
        assert "'p" in caught.value.message


def test_what_is_locked_is_there_without_being_given() -> None:
    """An agent checks once more what the server has filled in already, so the author's own value passes."""
    manifest = declared("{type: string, default: /srv, locked: true}")
    assert manifest.check_parameters({}) == {"p": "/srv"}
    assert manifest.check_parameters(manifest.check_parameters({})) == {"p": "/srv"}
    with pytest.raises(ArgumentError, match="set by the author"):
        manifest.check_parameters({"p": "/etc"})
    with pytest.raises(ArgumentError, match="set by the author"):
        manifest.convert_parameter("p", "/etc")


@pytest.mark.parametrize(
    ("text", "typed", "value"),
    [
        ("{type: array, items: {type: string}}", "a, b", ["a", "b"]),
        ("{type: array, items: {type: integer}}", "1,2", [1, 2]),
        ("{type: array, items: {type: string}}", '["a,b"]', ["a,b"]),
        ("{type: array, items: {type: boolean}}", "", []),
    ],
)
def test_array_on_a_command_line(text: str, typed: str, value: list[Any]) -> None:
    assert declared(text).convert_parameter("p", typed) == value


@pytest.mark.parametrize(("text", "typed"), [("{type: integer}", "x"), ("{type: boolean}", "yes")])
def test_scalar_that_cannot_be_read(text: str, typed: str) -> None:
    with pytest.raises(ArgumentError, match="'p' must be"):
        declared(f"{{type: array, items: {text}}}").convert_parameter("p", typed)


@pytest.mark.parametrize("typed", ["[", "[" * 5000])
def test_array_that_is_no_json(typed: str) -> None:
    with pytest.raises(ArgumentError, match="must be an array"):
        declared("{type: array, items: {type: integer}}").convert_parameter("p", typed)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{type: array}", "p.items: an array says what its items are"),
        ("{type: array, items: string}", "p.items: must be a mapping, such as items: {type: string}"),
        ("{type: array, items: {type: array}}", "p.items.type: 'array' is not one of string"),
        ("{type: array, items: {type: string, default: x}}", "p.items.default: unknown key 'default'"),
        ("{type: array, items: {type: string}, pattern: a}", "p.pattern: pattern is not for an array"),
        ("{type: array, items: {type: string}, enum: [a]}", "p.enum: enum is not for an array"),
        ("{type: string, minimum: 3}", "p.minimum: minimum is not for a string"),
        ("{type: integer, min_length: 3}", "p.min_length: min_length is not for an integer"),
        ("{type: string, min_length: 3, max_length: 2}", "p.min_length: 3 is over the max_length, 2"),
        ("{type: integer, minimum: 3, maximum: 2}", "p.minimum: 3 is over the maximum, 2"),
        ("{type: integer, choices: [1, x]}", "p.choices: 'x' is not an integer"),
        ("{type: string, choices: [a], enum: [a]}", "p.enum: choices and enum are the same"),
        ("{type: integer, locked: true}", "p.locked: what is locked needs a default"),
        ("{type: integer, locked: true, default: 1, required: true}", "p.locked: what is locked needs a default"),
        ("{type: array, items: {type: integer}, default: [x]}", "p.default: the parameter 'p[0]' must be an integer"),
        ("{type: integer, exclusiveMinimum: 3}", "p.exclusiveMinimum: unknown key"),
    ],
)
def test_what_cannot_be_declared(text: str, said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        declared(text)
    assert f"manifest.yaml:7: parameters.{said}" in str(caught.value)
