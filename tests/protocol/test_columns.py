"""Rows in columns: what goes in comes out as maps, whatever the names are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.columns import Columns, rows_of, unpacked
from protocol.frames import decode_trusted, encode

NAMES = st.lists(
    st.one_of(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20),
        st.binary(min_size=1, max_size=20).filter(lambda data: b"\0" not in data).map(
            lambda data: data.decode("utf-8", "surrogateescape")
        ),
    ),
    max_size=20,
)  # fmt: skip


def as_given(text: str) -> str | bytes:
    """How a text reaches a script: one that is not UTF-8 as the bytes that it stands for."""
    data = text.encode("utf-8", "surrogateescape")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


@given(names=NAMES, prefix=st.sampled_from(["/", "/a/", "/caf\udce9/"]), numbers=st.integers(-(2**63), 2**63 - 1))
def test_rows_come_out_as_they_went_in(names: list[str], prefix: str, numbers: int) -> None:
    made = Columns(len(names))
    made.texts("name", names)
    made.below("path", "name", bytes([place % 2 for place in range(len(names))]), [prefix, "/other/"])
    made.words("type", bytes([place % 2 for place in range(len(names))]), ["file", "directory"])
    made.same("depth", 3)
    made.integers("size", [numbers] * len(names))
    made.reals("mtime", [0.5] * len(names))
    block = decode_trusted(encode(made.to_wire()))
    assert rows_of(block) == made.rows() == [
        {
            "name": as_given(name), "path": as_given([prefix, "/other/"][place % 2] + name),
            "type": ["file", "directory"][place % 2], "depth": 3, "size": numbers, "mtime": 0.5,
        }
        for place, name in enumerate(names)
    ]  # fmt: skip


def test_numbers_are_unpacked_for_who_cannot_read_bytes() -> None:
    made = Columns(2)
    made.integers("size", [1, -2])
    made.reals("mtime", [1.5, 2.0])
    made.same("depth", 1)
    assert unpacked(made.to_wire()) == [
        2, [["size", 4, [1, -2], None], ["mtime", 5, [1.5, 2.0], None], ["depth", 0, 1, None]],
    ]  # fmt: skip


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_a_number_that_fits_no_column_is_no_number_of_it(number: int) -> None:
    with pytest.raises(OverflowError):
        Columns(1).integers("size", [number])


def test_its_size_is_near_that_on_the_wire() -> None:
    """A batch is bounded by it."""
    made = Columns(1000)
    made.texts("name", [f"{place:05}" for place in range(1000)])
    made.reals("mtime", [1.0] * 1000)
    assert len(encode(made.to_wire())) * 0.9 < made.size_bytes < len(encode(made.to_wire())) * 1.1
