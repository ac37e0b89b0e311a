"""Whose ticket it is and who sees its list: each rule of the desk by name, on plain values."""

from __future__ import annotations

import msgspec
import pytest

from secretsvc.errors import Conflict
from secretsvc.tickets import rules
from secretsvc.tickets.model import Reference, Ticket
from secretsvc.tickets.rules import DAY, Facts
from secretsvc.tokens import Person

NOW = 1_800_000_000
GRACE = 3 * DAY
RT = Reference("rt", "7")
KIM = Person("Kim", "customer", ("Kunde GmbH",), "kim", (), "kim@kunde.example")
ADA = Person("Ada", "customer", ("Agentur AG", "Kunde GmbH"), "ada", (), "ada@agentur.example")
EVE = Person("Eve", "agent", (), "eve")


def ticket(**more: object) -> Ticket:
    return msgspec.structs.replace(
        Ticket(number="7", organisation="Kunde GmbH", requester="kim@kunde.example"), **more
    )


def look(known: Facts, now: int, **more: object) -> Facts:
    return rules.seen(known, ticket(**more), now, grace=GRACE)


def test_a_ticket_gets_its_organisation_from_the_desk() -> None:
    """S1: it is read, never computed: an address of the customer's domain makes nobody a member."""
    assert look(Facts(), NOW).organisation == "Kunde GmbH"
    assert look(Facts(), NOW, organisation=None).organisation is None


def test_a_person_may_be_in_several_organisations() -> None:
    """S2"""
    for name in ("Agentur AG", "Kunde GmbH"):
        assert rules.may_list(ADA, RT, Facts(organisation=name))
    assert not rules.may_list(ADA, RT, Facts(organisation="Fremd AG"))


def test_membership_decides_who_sees_the_list() -> None:
    """S3"""
    assert rules.may_list(KIM, RT, Facts(organisation="Kunde GmbH", requester="lee@kunde.example"))
    assert not rules.may_list(KIM, RT, Facts(organisation="Agentur AG", requester="lee@kunde.example"))


def test_names_of_organisations_are_compared_exactly() -> None:
    assert not rules.may_list(KIM, RT, Facts(organisation="kunde gmbh"))
    assert not rules.may_list(KIM, RT, Facts(organisation="Kunde GmbH "))


def test_without_an_organisation_the_requester_alone_sees_it() -> None:
    facts = Facts(organisation=None, requester="KIM@kunde.example")
    assert rules.may_list(KIM, RT, facts)
    assert not rules.may_list(ADA, RT, facts)


def test_an_address_counts_only_where_it_is_verified_and_never_for_membership() -> None:
    unverified = msgspec.structs.replace(KIM, email="", organisations=())
    verified = msgspec.structs.replace(KIM, organisations=())
    assert not rules.may_list(unverified, RT, Facts(requester=""))
    assert not rules.may_list(unverified, RT, Facts(requester="kim@kunde.example"))
    assert not rules.may_list(verified, RT, Facts(organisation="Kunde GmbH", requester="lee@kunde.example"))


def test_agents_see_the_tickets_of_their_desks_alone() -> None:
    assert rules.may_list(EVE, RT, Facts())
    elsewhere = msgspec.structs.replace(EVE, desks=("zendesk",))
    assert not rules.may_list(elsewhere, RT, Facts(requester="", organisation="Kunde GmbH"))


@pytest.mark.parametrize("change", [{"organisation": "Agentur AG"}, {"requester": "ada@agentur.example"}])
def test_a_closed_ticket_changes_hands_no_more(change: dict[str, str]) -> None:
    """S4"""
    closed = look(look(Facts(), NOW), NOW + 60, status="closed")
    after = look(closed, NOW + 120, status="closed", **change)
    assert closed.frozen_at == NOW + 60
    assert (after.organisation, after.requester) == ("Kunde GmbH", "kim@kunde.example")


@pytest.mark.parametrize(("days", "organisation"), [(2.9, "Agentur AG"), (3.1, "Kunde GmbH")])
def test_a_ticket_freezes_three_days_after_it_was_solved(days: float, organisation: str) -> None:
    """S4"""
    solved = look(look(Facts(), NOW), NOW + 60, status="solved")
    assert solved.frozen_at is None
    late = int(NOW + 60 + days * DAY)
    just_before = look(solved, late - DAY // 2, status="solved") if days > 3 else solved
    after = look(just_before, late, status="solved", organisation="Agentur AG")
    assert after.organisation == organisation
    assert (after.frozen_at is not None) == (days > 3)
    assert rules.freezes_at(solved, grace=GRACE) == NOW + 60 + GRACE


def test_the_desks_own_time_of_solving_counts() -> None:
    """S4: a hint was lost, and we look only later."""
    known = look(Facts(), NOW)
    after = look(known, NOW + DAY, status="solved", solved_at=NOW + 60)
    assert rules.freezes_at(after, grace=GRACE) == NOW + 60 + GRACE


def test_a_ticket_that_is_reopened_in_time_is_not_frozen() -> None:
    solved = look(look(Facts(), NOW), NOW + 60, status="solved")
    reopened = look(solved, NOW + DAY, status="open")
    assert reopened.solved_at is None
    again = look(reopened, NOW + 5 * DAY, status="solved", organisation="Agentur AG")
    assert (again.organisation, again.frozen_at) == ("Agentur AG", None)


def test_what_is_frozen_stays_so_even_if_the_desk_reopens_it() -> None:
    closed = look(look(Facts(), NOW), NOW + 60, status="closed")
    after = look(closed, NOW + 120, status="open", organisation="Agentur AG")
    assert (after.organisation, after.status, after.frozen_at) == ("Kunde GmbH", "open", NOW + 60)


def test_a_ticket_first_seen_long_after_it_was_solved_is_frozen_as_it_is() -> None:
    after = look(Facts(), NOW, status="solved", solved_at=NOW - 30 * DAY)
    assert (after.organisation, after.frozen_at) == ("Kunde GmbH", NOW - 27 * DAY)


def test_what_nobody_looked_at_for_long_is_taken_as_it_is_at_the_freeze() -> None:
    known = look(Facts(), NOW, organisation=None)
    after = look(known, NOW + 30 * DAY, status="solved", solved_at=NOW + 20 * DAY)
    assert after.organisation == "Kunde GmbH"


def test_a_requester_taken_out_of_the_organisation_leaves_an_open_ticket_without_one() -> None:
    after = look(look(Facts(), NOW), NOW + 60, organisation=None)
    assert after.organisation is None
    assert rules.may_list(KIM, RT, after)
    assert not rules.may_list(msgspec.structs.replace(KIM, email="lee@kunde.example"), RT, after)


def test_an_agency_is_asked_for_whom_the_ticket_is() -> None:
    """S5"""
    facts = look(Facts(), NOW, organisation="Agentur AG")
    assert rules.needs_confirmation(facts, ("Agentur AG",))
    assert not rules.needs_confirmation(facts, ())
    confirmed = rules.choose(facts, "Agentur AG", NOW, grace=GRACE)
    assert not rules.needs_confirmation(confirmed, ("Agentur AG",))


def test_what_an_agent_chose_stays_until_the_desk_names_another() -> None:
    """S5"""
    chosen = rules.choose(look(Facts(), NOW, organisation="Agentur AG"), "Kunde GmbH", NOW, grace=GRACE)
    same = look(chosen, NOW + 60, organisation="Agentur AG")
    assert (same.organisation, same.chosen) == ("Kunde GmbH", True)
    other = look(same, NOW + 120, organisation="Dritte GmbH")
    assert (other.organisation, other.chosen) == ("Dritte GmbH", False)


def test_nobody_chooses_for_a_frozen_ticket() -> None:
    closed = look(look(Facts(), NOW), NOW + 60, status="closed")
    with pytest.raises(Conflict):
        rules.choose(closed, "Agentur AG", NOW, grace=GRACE)


def test_nobody_chooses_once_the_time_of_the_freeze_is_over_although_nobody_has_looked() -> None:
    solved = look(look(Facts(), NOW), NOW + 60, status="solved")
    assert rules.choose(solved, "Agentur AG", NOW + 60 + GRACE - 1, grace=GRACE).organisation == "Agentur AG"
    with pytest.raises(Conflict):
        rules.choose(solved, "Agentur AG", NOW + 60 + GRACE, grace=GRACE)


def test_letters_beyond_ascii_make_no_address_another_ones() -> None:
    facts = Facts(requester="kim@strasse.example")
    for other in ("kim@stra\u00dfe.example", "\u212aim@strasse.example"):
        assert not rules.may_list(msgspec.structs.replace(KIM, organisations=(), email=other), RT, facts)


def test_nobody_joins_an_organisation_by_himself() -> None:
    """S6: nothing a person sends makes them a member; there is no call for it."""
    assert not rules.may_follow(KIM, "Agentur AG")
    assert KIM.organisations == ("Kunde GmbH",)


def test_a_member_sees_all_tickets_of_the_organisation() -> None:
    """S7"""
    for requester in ("kim@kunde.example", "lee@kunde.example", None):
        assert rules.may_list(KIM, RT, Facts(organisation="Kunde GmbH", requester=requester))


@pytest.mark.parametrize(
    "subject",
    ["Kunde GmbH: mail is down", "AW: kunde  gmbh : mail", "Re: Fwd: Kunde GmbH:x", "  Kunde GmbH: "],
)
def test_a_subject_suggests_the_organisation_it_names(subject: str) -> None:
    """S8"""
    assert rules.suggested(subject, ["Agentur AG", "Kunde GmbH"]) == "Kunde GmbH"


@pytest.mark.parametrize(
    "subject", ["Kunde GmbH", "mail is down", ": x", "Re:", "", "Kunde: x", "x Kunde GmbH: y", "Kunde GmbH2: x"]
)
def test_other_subjects_suggest_nothing(subject: str) -> None:
    """S8"""
    assert rules.suggested(subject, ["Agentur AG", "Kunde GmbH"]) is None


def test_a_subject_decides_by_itself_only_for_a_member() -> None:
    """S8: mail proves nothing."""
    facts = look(Facts(), NOW, organisation="Agentur AG")
    assert rules.chosen_by_subject(facts, "Kunde GmbH: x", ADA.organisations).organisation == "Kunde GmbH"
    assert rules.chosen_by_subject(facts, "Kunde GmbH: x", ("Agentur AG",)) == facts
    assert rules.chosen_by_subject(facts, "Kunde GmbH: x", ()) == facts


def test_a_subject_overrules_no_agent_and_no_freeze() -> None:
    """S8"""
    chosen = rules.choose(look(Facts(), NOW, organisation="Agentur AG"), "Agentur AG", NOW, grace=GRACE)
    assert rules.chosen_by_subject(chosen, "Kunde GmbH: x", ADA.organisations) == chosen
    closed = look(look(Facts(), NOW), NOW + 60, status="closed", organisation="Kunde GmbH")
    assert rules.chosen_by_subject(closed, "Agentur AG: x", ADA.organisations) == closed


def test_members_and_agents_may_follow() -> None:
    """S9"""
    assert rules.may_follow(ADA, "Kunde GmbH")
    assert rules.may_follow(EVE, "Kunde GmbH")
    assert not rules.may_follow(KIM, "Agentur AG")
