"""The real sandbox, with the calls of the catalogue."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sandbox.launch import Sandbox
from stdlib.catalogue import load


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    started = await Sandbox.start(bindings=load().bindings())
    yield started
    await started.close()
