"""Who is at a terminal together: what is told of others, and what of ourselves."""

from __future__ import annotations

from cli.company import Company

HELLO = {
    "you": {"id": "1"}, "keyboard": "1", "paused_by": None,
    "people": [{"id": "1", "who": "admin", "role": "owner"}],
}  # fmt: skip


def test_what_others_do_is_said_and_what_we_did_is_not() -> None:
    company = Company()
    company.hello(HELLO)
    told = [
        company.changed(message)
        for message in (
            {"what": "joined", "id": "1", "who": "admin", "role": "owner", "keyboard": "1"},
            {"what": "joined", "id": "2", "who": "tom", "role": "peer", "keyboard": "1"},
            {"what": "asked", "id": "2", "who": "tom", "keyboard": "1"},
            {"what": "keyboard", "id": "2", "who": "tom", "keyboard": "2"},
        )
    ]
    assert told == [None, "tom joined as peer", "tom asks for the keyboard (~g gives it)", "tom has the keyboard"]
    assert (company.asked, company.keyboard, company.have_keyboard) == ("2", "2", False)
    assert str(company) == "admin (owner), tom (peer, keyboard)"
    assert company.changed({"what": "left", "id": "2", "who": "tom", "keyboard": None}) == "tom left"
    assert str(company) == "admin (owner)"
    assert company.changed({"what": "keyboard", "id": None, "who": None, "keyboard": None}) == "nobody has the keyboard"


def test_a_pause_is_said_even_if_it_is_ours() -> None:
    company = Company()
    company.hello(HELLO)
    assert company.changed({"what": "paused", "id": "1", "who": "admin", "keyboard": "1"}) == "paused by admin"
    assert company.is_paused
    assert company.changed({"what": "resumed", "id": "1", "who": "admin", "keyboard": "1"}) == "resumed by admin"
    assert not company.is_paused


def test_a_new_connection_begins_with_what_the_server_says_then() -> None:
    company = Company()
    company.hello(HELLO)
    company.changed({"what": "joined", "id": "2", "who": "tom", "role": "peer", "keyboard": "2"})
    company.hello({"you": {"id": "7"}, "keyboard": "7", "paused_by": "mo", "people": []})
    assert (str(company), company.have_keyboard, company.is_paused) == ("", True, True)
