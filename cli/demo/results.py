"""The results of scheduled runs, as they come in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from cli.ages import clock
from cli.api import Api
from cli.nouns.run import summary

ENDED = frozenset({"ok", "error", "denied", "killed", "lost", "refused"})
PAGE = 50
MAX_SEEN = 1000  # runs remembered as shown; a page is far shorter


class Results:
    """Yields every ended run once."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._seen: OrderedDict[str, None] = OrderedDict()

    def skip(self) -> None:
        """Take all that is there as seen."""
        for _ in self.new():
            pass

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the runs that ended since the last look, oldest first."""
        page = self._api.get("runs", limit=PAGE)["items"]
        fresh = [run for run in page if run.get("status") in ENDED and run["id"] not in self._seen]
        for run in sorted(fresh, key=lambda run: str(run.get("finished"))):
            self._seen[run["id"]] = None
            if len(self._seen) > MAX_SEEN:
                self._seen.popitem(last=False)
            yield run


def line(run: dict[str, Any]) -> str:
    """Return a run as one line of the demo."""
    usage = run.get("usage") or {}
    cost = f"{usage.get('cpu_ms', 0):6.1f} ms cpu  {usage.get('calls', 0):3d} calls" if usage else ""
    return (
        f"{clock(run.get('finished'))}  {run.get('script'):<20}  {run.get('status'):<7} {summary(run):<40.40}  {cost}"
    ).rstrip()
