"""Who may do what in a terminal, and who has its keyboard."""

from __future__ import annotations

import pytest

from protocol.errors import ConflictError, DeniedError, NotFoundError
from server.sessions.people import Party, Person, Role


def party(moderators: int = 0, **roles: str) -> Party:
    made = Party(moderators)
    for name, role in roles.items():
        made.join(Person(name, name, Role(role)))
    return made


def test_the_owner_types_and_everybody_is_told_who_comes_and_goes() -> None:
    made = Party()
    told = made.join(Person("v1", "ana", Role.OWNER))
    assert [each["what"] for each in told] == ["joined", "keyboard"]
    assert made.join(Person("v2", "tom", Role.OBSERVER)) == [
        {"what": "joined", "id": "v2", "who": "tom", "role": "observer"}
    ]
    made.check_typing("v1")
    assert made.leave("v2") == [{"what": "left", "id": "v2", "who": "tom", "role": "observer"}]
    assert made.leave("v2") == []


def test_an_observer_never_types() -> None:
    made = party(ana="owner", tom="observer")
    with pytest.raises(DeniedError):
        made.check_typing("tom")
    for attempt in (made.ask, made.take, made.pause, made.check_ending):
        with pytest.raises(DeniedError):
            attempt("tom")
    with pytest.raises(DeniedError):
        made.give("ana", "tom")
    made.leave("ana")
    with pytest.raises(DeniedError):
        made.take("tom")
    with pytest.raises(NotFoundError):
        made.check_typing("nobody")


def test_a_peer_types_with_the_keyboard_only() -> None:
    made = party(ana="owner", tom="peer")
    with pytest.raises(ConflictError, match="ana has the keyboard"):
        made.check_typing("tom")
    assert made.ask("tom")[0]["what"] == "asked"
    with pytest.raises(DeniedError):
        made.take("tom")
    with pytest.raises(DeniedError):
        made.give("tom", "tom")
    made.give("ana", "tom")
    made.check_typing("tom")
    with pytest.raises(ConflictError):
        made.check_typing("ana")
    made.take("ana")
    made.check_typing("ana")


def test_a_keyboard_goes_back_to_the_owner_and_else_to_whoever_takes_it() -> None:
    made = party(ana="owner", tom="peer")
    made.give("ana", "tom")
    assert made.leave("tom")[1]["who"] == "ana"
    made.join(Person("tom", "tom", Role.PEER))
    assert made.leave("ana")[1]["who"] is None
    with pytest.raises(ConflictError, match="nobody"):
        made.check_typing("tom")
    made.take("tom")
    made.check_typing("tom")
    assert [each["what"] for each in made.join(Person("ana", "ana", Role.OWNER))] == ["joined"], "it was given away"


def test_from_another_device_the_owner_types_at_once() -> None:
    made = Party()
    made.join(Person("v1", "ana", Role.OWNER))
    made.join(Person("v2", "ana", Role.OWNER))
    made.check_typing("v2")
    with pytest.raises(ConflictError):
        made.check_typing("v1")


def test_a_moderator_pauses_takes_and_ends() -> None:
    made = party(ana="owner", mo="moderator")
    made.pause("mo")
    with pytest.raises(ConflictError, match="paused by mo"):
        made.check_typing("ana")
    with pytest.raises(DeniedError):
        made.resume("ana")
    assert made.is_held
    made.leave("mo")
    assert made.is_held, "who is gone has let nothing go on"
    made.join(Person("mo", "mo", Role.MODERATOR))
    made.resume("mo")
    assert not made.is_held
    made.check_typing("ana")
    made.take("mo")
    made.check_typing("mo")
    assert made.check_ending("mo").principal == "mo"


def test_where_moderators_are_required_nobody_types_without_them() -> None:
    made = party(2, ana="owner", mo="moderator")
    made.join(Person("mo-2", "mo", Role.MODERATOR))
    assert made.moderators_missing == 1, "one person at two devices is one"
    with pytest.raises(ConflictError, match="1 more moderator"):
        made.check_typing("ana")
    assert made.is_held
    made.join(Person("max", "max", Role.MODERATOR))
    made.check_typing("ana")
    made.leave("max")
    with pytest.raises(ConflictError):
        made.check_typing("ana")


def test_who_types_does_not_moderate_themselves() -> None:
    """Else somebody who may moderate would type alone where two must be there."""
    made = party(1, ana="owner", mo="moderator")
    made.check_typing("ana")
    made.take("mo")
    assert made.moderators_missing == 1
    with pytest.raises(ConflictError, match="1 more moderator"):
        made.check_typing("mo")
    made.join(Person("mo-2", "mo", Role.MODERATOR))
    assert made.moderators_missing == 1, "nor on another device"
    made.join(Person("max", "max", Role.MODERATOR))
    made.check_typing("mo")


def test_a_pause_lets_who_has_the_keyboard_interrupt_what_runs() -> None:
    made = party(ana="owner", tom="peer", olga="observer", mo="moderator")
    made.pause("mo")
    with pytest.raises(ConflictError, match="paused by mo"):
        made.check_typing("ana")
    made.check_interrupting("ana")
    for who, kind in (("tom", ConflictError), ("mo", ConflictError), ("olga", DeniedError), ("nobody", NotFoundError)):
        with pytest.raises(kind):
            made.check_interrupting(who)
    alone = party(1, ana="owner")
    with pytest.raises(ConflictError, match="1 more moderator"):
        alone.check_interrupting("ana")


def test_without_access_of_their_own_nobody_types_whatever_they_are() -> None:
    """A role lets somebody come; what reaches the host needs what would open the session."""
    made = party(ana="owner")
    made.join(Person("mo", "mo", Role.MODERATOR, has_access=False))
    made.join(Person("tom", "tom", Role.PEER, has_access=False))
    for who in ("mo", "tom"):
        for attempt in (made.take, made.ask, made.check_typing):
            with pytest.raises(DeniedError, match="without an access grant"):
                attempt(who)
        with pytest.raises(DeniedError):
            made.give("ana", who)
    made.leave("ana")
    with pytest.raises(DeniedError):
        made.take("tom")
    made.pause("mo")
    assert made.check_ending("mo").principal == "mo"
