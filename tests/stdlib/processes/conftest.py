"""Starters of programs, each ended with its test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from stdlib.processes.start import Processes


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    async with Processes() as started:
        yield started
