"""What sessions of people can do on a pipe: the one table of acts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from agent.forwards import serve_accept, serve_forward, serve_listen
from agent.live import Act, LiveSession
from agent.live_calls import serve_call
from agent.live_commands import serve_command, serve_signal, serve_stdin
from agent.live_files import serve_begin, serve_download, serve_drop, serve_finish, serve_state, serve_upload
from agent.recorder import Recorder
from protocol.pipes import Pipe

if TYPE_CHECKING:
    from agent.terminals import Terminals

#: By the name in the pipe's header.
ACTS: Final[Mapping[str, Act]] = {
    "call": serve_call,
    "forward": serve_forward,
    "listen": serve_listen,
    "accept": serve_accept,
    "command": serve_command,
    "command.stdin": serve_stdin,
    "command.signal": serve_signal,
    "download": serve_download,
    "upload": serve_upload,
    "upload.begin": serve_begin,
    "upload.state": serve_state,
    "upload.finish": serve_finish,
    "upload.drop": serve_drop,
}


def terminal_act(recorder: Recorder, end: Callable[[str, str, str], Awaitable[None]]) -> Act:
    """Return the act ``terminal``, whose modules are loaded when somebody first wants one.

    Args:
        recorder: For digests of what terminals print.
        end: Closes a session, given its id, why, and the outcome.
    """
    made: list[Terminals] = []

    async def serve(session: LiveSession, pipe: Pipe) -> None:
        if not made:
            from agent.terminals import Terminals  # most hosts have none most of the time

            made.append(Terminals(recorder, end))
        await made[0].serve(session, pipe)

    return serve
