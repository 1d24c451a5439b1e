"""The lowest tier at which a command may be started, as far as its words say. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.tiers import Tier

PLACES = ("/usr/bin", "/bin", "/usr/sbin", "/sbin")  # where a bare name may be found on the host


def lowest_tier(argv: Sequence[str], *, as_user: bool) -> Tier:
    """Return the lowest tier whose own policy names the command with these arguments; else the highest.

    Args:
        argv: The command.
        as_user: Whether it is to run as somebody else, which only the highest tier can have.
    """
    from policies.decide import decide  # few milliseconds, for who names no tier
    from policies.load import builtin
    from policies.model import Facts

    name = argv[0].rpartition("/")[2]
    programs = [argv[0]] if argv[0].startswith("/") else [f"{place}/{name}" for place in PLACES]
    for tier in (Tier.INSPECT, Tier.OPERATE):
        for program in () if as_user else programs:
            facts = Facts(command=name, program=program, arguments=tuple(argv[1:]))
            if decide(builtin(tier), "proc.start", facts).allowed:
                return tier
    return Tier.ADMIN
