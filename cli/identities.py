"""Ids on the command line: a whole one, or so much of its beginning that only one begins so.

A parameter says by its type of what its id is. Before the command runs, the server is asked what a beginning stands
for; a whole id is what it is, and costs no question.
"""

from __future__ import annotations

from typing import Any

import click

from cli.invocation import Invocation
from cli.leaf import LookedUp
from protocol.errors import ArgumentError, ProtocolError
from protocol.identities import MIN_BEGINNING, Kind, check_beginning, is_whole


class Identity(LookedUp):
    """The type of a parameter that takes an id.

    Args:
        kind: Of what.
    """

    name = "id"
    note = f"The beginning of an id will do: {MIN_BEGINNING} characters or more, if no other id begins so."

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text if it can be an id or the beginning of one."""
        try:
            check_beginning(value)
        except ArgumentError as error:
            self.fail(error.message, param, ctx)
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """Name it after the parameter, as click does where there is no type."""
        return None

    def meant(self, invocation: Invocation, text: str) -> str:
        """Return the whole id.

        Raises:
            NotFoundError: There is none that begins so, for this person.
            ConflictError: There are several; names them.
            ProtocolError: The server names one that does not begin so.
        """
        if is_whole(text, self.kind):
            return text
        told = invocation.api.get("ids", beginning=text, kind=self.kind.value)
        found = told.get("id") if isinstance(told, dict) else None
        if not isinstance(found, str) or not found.startswith(text):
            raise ProtocolError(f"the server's answer names no id that begins with {text!r}")
        return found


RUN = Identity(Kind.RUN)
SESSION = Identity(Kind.SESSION)
SCHEDULE = Identity(Kind.SCHEDULE)
REVIEW = Identity(Kind.REVIEW)
GRANT = Identity(Kind.GRANT)
ACCESS = Identity(Kind.ACCESS)
REQUEST = Identity(Kind.REQUEST)
QUESTION = Identity(Kind.QUESTION)
WEBHOOK = Identity(Kind.WEBHOOK)
MESSAGE = Identity(Kind.MESSAGE)
