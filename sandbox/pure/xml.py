"""``xml.decode``: elements as maps, by expat.

A document type is refused where it begins, so there are no entities but the five of XML itself, nothing is fetched and
nothing multiplies. Comments and processing instructions are left out. Prefixes stay part of the names.
"""

from __future__ import annotations

import pyexpat
from typing import Any

from sandbox.pure.declared import Refused, bounded, pure, text

MAX_CHARACTERS = 4 << 20
MAX_DEPTH = 29  # of elements: each is a map in a list, and both count as nesting of the result
MAX_ELEMENTS = 50_000

Element = dict[str, Any]


@pure("xml.decode", text=text)
def decode(text: str) -> Element:
    """Return the root element."""
    reader = _Reader()
    try:
        reader.parser.Parse(bounded("text", text, MAX_CHARACTERS).encode("utf-8"), True)
    except pyexpat.ExpatError as error:
        raise Refused("text", f"line {error.lineno} column {error.offset + 1}: {_words(error)}") from None
    return reader.finish()


def _words(error: pyexpat.ExpatError) -> str:
    return str(pyexpat.ErrorString(error.code))


class _Reader:
    """Builds the elements while expat reads. What it refuses travels through expat as an exception."""

    def __init__(self) -> None:
        self.parser = pyexpat.ParserCreate("utf-8")  # said here, it counts more than what the document says
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._doctype
        self._root: Element = {"children": []}  # stands around the root while it is read
        self._open: list[tuple[Element, list[str]]] = [(self._root, [])]
        self._elements = 0

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise self._refused(f"has more than {MAX_ELEMENTS} elements")
        if len(self._open) > MAX_DEPTH:
            raise self._refused(f"elements are nested more than {MAX_DEPTH} deep")
        element: Element = {"tag": tag, "attributes": attributes, "children": [], "text": ""}
        self._open[-1][0]["children"].append(element)
        self._open.append((element, []))

    def _end(self, _tag: str) -> None:
        element, parts = self._open.pop()
        element["text"] = "".join(parts).strip()

    def _characters(self, characters: str) -> None:
        self._open[-1][1].append(characters)

    def _doctype(self, *_: Any) -> None:
        raise self._refused("a document type (DTD) is not read")

    def _refused(self, problem: str) -> Refused:
        place = f"line {self.parser.CurrentLineNumber} column {self.parser.CurrentColumnNumber + 1}"
        return Refused("text", f"{place}: {problem}")

    def finish(self) -> Element:
        """Return the root; expat has seen to it that there is exactly one."""
        root: Element = self._root["children"][0]
        return root
