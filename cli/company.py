"""Who is at a terminal together, and who of them types: what the server tells, kept and put into words. No I/O."""

from __future__ import annotations

from typing import Any


class Company:
    """The people at one terminal, as one of them sees them."""

    def __init__(self) -> None:
        self.keyboard: str | None = None  # the attachment that has it
        self.asked: str | None = None  # the attachment that wanted the keyboard last
        self.is_paused = False
        self._people: dict[str, dict[str, Any]] = {}  # by attachment
        self._you = ""

    def hello(self, message: dict[str, Any]) -> None:
        """Learn how it stands from the server's greeting, anew on each connection."""
        self._you = str(message["you"]["id"])
        self._people = {each["id"]: each for each in message.get("people") or ()}
        self.keyboard = message.get("keyboard")
        self.is_paused = message.get("paused_by") is not None

    @property
    def have_keyboard(self) -> bool:
        """Whether it is we who type."""
        return self.keyboard == self._you

    def changed(self, message: dict[str, Any]) -> str | None:
        """Learn of a change; return what to say of it, None for what we did ourselves."""
        what, who, identity = message.get("what"), message.get("who"), message.get("id")
        self.keyboard = message.get("keyboard")
        if what == "joined":
            self._people[str(identity)] = message
            text = f"{who} joined as {message.get('role')}"
        elif what == "left":
            self._people.pop(str(identity), None)
            text = f"{who} left"
        elif what == "keyboard":
            text = f"{who} has the keyboard" if who else "nobody has the keyboard"
        elif what == "asked":
            self.asked = str(identity)
            text = f"{who} asks for the keyboard (~g gives it)"
        else:
            self.is_paused = what == "paused"
            text = f"{what} by {who}"
        return text if identity != self._you or what in ("paused", "resumed") else None

    def __str__(self) -> str:
        return ", ".join(
            f"{each['who']} ({each['role']}{', keyboard' if identity == self.keyboard else ''})"
            for identity, each in self._people.items()
        )
