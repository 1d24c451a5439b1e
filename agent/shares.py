"""How many of the threads for what may block (``kernel.visits``) one run, script, session or person may have at once.

What never comes back, as from a file system whose server is gone, keeps its thread after the run or session is over. So
there is an account for the script and the person, too: the next run of the same schedule would take the next thread.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

from agent import limits
from kernel.visits import Account


class Shares:
    """The accounts of one agent. Those of scripts and people last as long as anything is begun for them."""

    def __init__(self) -> None:
        self._scripts: WeakValueDictionary[str, Account] = WeakValueDictionary()
        self._people: WeakValueDictionary[str, Account] = WeakValueDictionary()

    def of_run(self, script: str) -> tuple[Account, ...]:
        """Return the accounts of one more run of ``script``, named as its author was proved to hold the name."""
        shared = self._scripts.get(script)
        if shared is None:
            shared = self._scripts[script] = Account(f"the script {script}", limits.MAX_SCRIPT_VISITS)
        return Account("this run", limits.MAX_RUN_VISITS), shared

    def of_session(self, person: str) -> tuple[Account, ...]:
        """Return the accounts of one more session of ``person``."""
        shared = self._people.get(person)
        if shared is None:
            shared = self._people[person] = Account(f"the sessions of {person}", limits.MAX_PERSON_VISITS)
        return Account("this session", limits.MAX_SESSION_VISITS), shared
