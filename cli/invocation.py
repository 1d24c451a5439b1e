"""One invocation of ``outrider``: what its flags said, and what commands get from it.

Settings, output and the client are made when a command first asks, so that a command which needs none pays for none.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from cli.output import Output
from cli.settings import Asked, Context, find_context, find_key_path

if TYPE_CHECKING:
    from cli.api import Api
    from protocol.signing import Signer

MAX_KEY_BYTES = 4096


@dataclass
class Invocation:
    """Flags of one command line. Click carries it as ``ctx.obj``."""

    as_json: bool = False
    no_color: bool = False
    asked: Asked = field(default_factory=Asked)
    _api: Api | None = None

    @property
    def output(self) -> Output:
        """Where to write."""
        return Output(as_json=self.as_json, no_color=self.no_color)

    @property
    def context(self) -> Context:
        """The server to speak to; raises as ``settings.find_context``."""
        return find_context(self.asked)

    @property
    def api(self) -> Api:
        """The client; one for the invocation."""
        if self._api is None:
            from cli.api import Api  # a local command needs none

            self._api = Api(self.context)
        return self._api

    def ask(self, **given: str | None) -> None:
        """Note what a flag said; the flag nearest to the command's end wins."""
        self.asked = replace(self.asked, **{name: value for name, value in given.items() if value is not None})

    def signing_key(self) -> Signer:
        """Return what to sign with: a private key in a file, or one in an SSH agent.

        Raises:
            ArgumentError: There is none, or its file is wrong or open to others.
            UnavailableError: It is in an SSH agent, and none answers.
        """
        from cli.keys import find_signer

        return find_signer(find_key_path(self.asked))

    @property
    def key_path(self) -> Path:
        """Where the private key to sign with is, or would be."""
        return find_key_path(self.asked)

    @property
    def answered(self) -> str | None:
        """The last request that the server answered, such as ``GET /api/v1/agents``; None if there is none."""
        return None if self._api is None else self._api.answered

    def close(self) -> None:
        """Close the client, if there is one."""
        if self._api is not None:
            self._api.close()

    def exit(self, status: int) -> NoReturn:
        """End the command with an exit status of ``cli.exits``."""
        raise click.exceptions.Exit(status)

    @property
    def may_ask(self) -> bool:
        """Whether a person is there to answer a prompt."""
        return sys.stdin.isatty() and sys.stderr.isatty()


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)
