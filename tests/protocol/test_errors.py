"""The root of errors and the one table of doors."""

from __future__ import annotations

import protocol.errors as errors
from protocol.errors import DOORS, ArgumentError, OutriderError


def classes(root: type[OutriderError] = OutriderError) -> set[type[OutriderError]]:
    return {root} | {
        found for child in root.__subclasses__() if child.__module__ == errors.__name__ for found in classes(child)
    }


def test_every_code_has_its_doors() -> None:
    """An error without a door would leave as a bare 500."""
    assert {error.code for error in classes()} == set(DOORS)


def test_codes_are_words_that_fit_the_wire() -> None:
    assert all(code.replace("_", "").isalpha() and code.islower() and len(code) <= 40 for code in DOORS)


def test_the_place_stands_in_front_of_the_message_and_apart() -> None:
    error = ArgumentError("is wrong", parameter="wall", where="manifest.yaml:7")
    assert (str(error), error.message, error.where) == ("manifest.yaml:7: is wrong", "is wrong", "manifest.yaml:7")


def test_detail_never_shows_in_the_text() -> None:
    assert "secret" not in str(OutriderError("no", detail="secret"))
