"""An application behind the server's own HTTP protocol, on a free port of loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from server.http_protocol import BoundedProtocol

DEADLINE_S = 60.0


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """Serve it, and give the port; whoever takes longer than ``DEADLINE_S`` with it has failed."""
    settings = uvicorn.Config(app, "127.0.0.1", 0, http=BoundedProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(settings)
    settings.load()
    server.lifespan = settings.lifespan_class(settings)
    await server.startup()
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.force_exit = True
        await server.shutdown()
