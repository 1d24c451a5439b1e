"""Wall ``mdwe`` alone."""

from __future__ import annotations

import errno

import pytest
from arena import errno_behind

import kernel
from sandbox.jail import mdwe
from sandbox.jail.trial import in_child
from sandbox.jail.walls import MDWE

needs_kernel = pytest.mark.skipif(
    in_child(lambda _say: kernel.make(mdwe.calls())).error is not None,
    reason="this kernel has no memory-deny-write-execute",
)


@needs_kernel
@pytest.mark.parametrize("name", ["map_code", "make_code"])
async def test_memory_never_becomes_code(name: str) -> None:
    """Neither at once nor later."""
    assert await errno_behind((MDWE,), name) == errno.EACCES
    assert await errno_behind((), name) == 0
