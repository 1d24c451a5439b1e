"""The contract between worker and runtimes."""

from __future__ import annotations

import pytest

from sandbox.runtimes import MAX_ERROR_BYTES, Binding, failed


def test_bindings_come_from_plain_data() -> None:
    """They cross a process boundary as plain values."""
    rows = [{"name": "fs.space", "parameters": ["path"]}, {"name": "param", "parameters": ["name"], "local": True}]
    dotted, bare = Binding.from_plain(rows)
    assert (dotted.family, dotted.member, dotted.parameters, dotted.is_local) == ("fs", "space", ("path",), False)
    assert (bare.family, bare.member, bare.is_local) == ("", "param", True)


@pytest.mark.parametrize("text", ["x" * 5000, "é" * 3000, "\ud800" * 5000])
def test_error_texts_are_cut_and_always_encodable(text: str) -> None:
    """They leave the worker in a frame."""
    message = failed(text).error_message
    assert message is not None
    assert len(message.encode("utf-8")) <= MAX_ERROR_BYTES
