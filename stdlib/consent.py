"""``consent.ask``: a script asks the owner of its host before it goes on."""

from __future__ import annotations

from typing import Annotated, Any

from protocol.tiers import Tier
from stdlib.declaring import call
from stdlib.host import RunContext
from stdlib.parameters import SAID, Bounds, Length

MAX_TEXT_CHARACTERS = 300  # that somebody reads who has a minute to decide


@call(
    "consent.ask",
    tier=Tier.COMPUTE,
    lua='local answer = consent.ask("May I restart the mail server now?", 30)',
    python='granted = consent.ask("May I restart the mail server now?", timeout=30)["granted"]',
)
async def ask(
    run: RunContext,
    text: Annotated[str, Length(MAX_TEXT_CHARACTERS), SAID],
    timeout: Annotated[float, Bounds(1, 600, "seconds")] = 60.0,  # noqa: ASYNC109 - the name that scripts use
) -> dict[str, Any]:
    """Ask the owner of this host and wait: ``granted``, and ``by`` whom, which is empty if nobody answered.

    No answer in time is a no, and so is nobody who could be asked, as where a script is tried out on a machine of one's
    own. The owner of the host may have set a shorter time. The wall limit of the run goes on counting. Of one run, with
    all that it calls, at most 32 questions are asked.
    """
    if run.ask is None:
        return {"granted": False, "by": ""}
    answer = await run.ask(text, timeout)
    return {"granted": answer.granted, "by": answer.by}
