"""Whose ticket it is, and who may see what: pure rules, on what is known and what a desk says just now.

The organisation of a ticket decides who sees the list of its links, never who opens one.  It comes from the
desk, may be chosen by an agent, and stands still from the moment the ticket is closed, or was solved long
enough: whatever the desk does later, no link changes hands.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from ..errors import N_, Conflict
from ..tokens import Person
from .model import Reference, Status, Ticket

DAY = 86_400
_SMALL = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What we keep of a ticket.

    Attributes:
        status: as the desk said last.
        organisation: whose list of links it is in; None for nobody's but the requester's.
        said: the organisation that the desk named last; tells whether it names another one now.
        chosen: whether an agent or the customer chose ``organisation``, which then outlasts ``said``.
        requester: e-mail address of the customer's person.
        requester_name: what the desk calls them.
        language, package: as in ``Ticket``.
        solved_at: seconds since 1970, while it is solved or closed.
        frozen_at: since when organisation and requester stand still.
        read_at: when the desk was last asked; 0 for never.
        suggested: the organisation that the subject names, which an agent may take.
        hints, heard: how often the desk has said that something changed, and how often by our last look.
    """

    status: Status = "open"
    organisation: str | None = None
    said: str | None = None
    chosen: bool = False
    requester: str | None = None
    requester_name: str | None = None
    language: Literal["de", "en"] | None = None
    package: str | None = None
    solved_at: int | None = None
    frozen_at: int | None = None
    read_at: float = 0.0
    suggested: str | None = None
    hints: int = 0
    heard: int = 0

    @property
    def hinted(self) -> bool:
        """Whether the desk has said since that something changed."""
        return self.hints != self.heard


def seen(known: Facts, ticket: Ticket, now: float, *, grace: float) -> Facts:
    """What is known after a look at the desk.

    Args:
        known: what was known before.
        ticket: what the desk says.
        now: seconds since 1970.
        grace: seconds in which a solved ticket may still change hands.
    """
    found = msgspec.structs.replace(known, status=ticket.status, read_at=now)
    if known.frozen_at is not None:
        return found
    solved_at = None if ticket.status == "open" else ticket.solved_at or known.solved_at or int(now)
    found = msgspec.structs.replace(found, solved_at=solved_at)
    over = int(now) + 1 if solved_at is None else int(solved_at + grace)
    if now >= over or ticket.status == "closed":
        found = msgspec.structs.replace(found, frozen_at=min(int(now), over))
    if now >= over and over - known.read_at <= DAY:
        return found  # it froze since we looked: what was so then stays
    chosen = known.chosen and ticket.organisation == known.said
    return msgspec.structs.replace(
        found,
        organisation=known.organisation if chosen else ticket.organisation,
        said=ticket.organisation,
        chosen=chosen,
        requester=ticket.requester,
        requester_name=ticket.requester_name,
        language=ticket.language,
        package=ticket.package,
    )


def freezes_at(known: Facts, *, grace: float) -> int | None:
    """When to look again so that the freeze finds the ticket as it is then, in seconds since 1970."""
    if known.frozen_at is not None or known.solved_at is None:
        return None
    return int(known.solved_at + grace)


def choose(known: Facts, organisation: str | None, now: float, *, grace: float) -> Facts:
    """What is known once an agent has set the organisation, or confirmed it.

    Args:
        now: seconds since 1970.
        grace: seconds in which a solved ticket may still change hands.

    Raises:
        Conflict: the ticket is frozen, or would be if somebody had looked.
    """
    due = freezes_at(known, grace=grace)
    if known.frozen_at is not None or (due is not None and now >= due):
        raise Conflict(N_("This ticket is closed or long solved: its organisation cannot change any more."))
    return msgspec.structs.replace(known, organisation=organisation, chosen=True)


def may_list(person: Person, ticket: Reference, known: Facts) -> bool:
    """Whether they may see the list of a ticket's links: state and times, never what a link opens.

    Agents of its desk may; so may members of its organisation, and whoever requested it.  An address counts for
    the requester alone, only where it is verified, and never for membership.
    """
    if person.agent:
        return person.works_at(ticket.desk)
    if known.organisation is not None and known.organisation in person.organisations:
        return True
    return bool(person.email) and known.requester is not None and same(person.email, known.requester)


def same(one: str, other: str) -> bool:
    """Whether two e-mail addresses are one: capitals of ASCII do not count, everything else does."""
    return folded(one) == folded(other)


def folded(address: str) -> str:
    """An address without ASCII's capitals."""
    return address.translate(_SMALL)


def may_follow(person: Person, organisation: str) -> bool:
    """Whether they may see an organisation's list and hear of its new links; nobody joins one by himself."""
    return person.agent or organisation in person.organisations


def needs_confirmation(known: Facts, agencies: Iterable[str]) -> bool:
    """Whether an agent has to say for whom the ticket is: it stands under an agency, which acts for others."""
    return not known.chosen and known.frozen_at is None and known.organisation in tuple(agencies)


def suggested(subject: str, organisations: Iterable[str]) -> str | None:
    """The organisation that a subject names in front, as in ``Customer GmbH: mail is down``.

    Answers to mails put words of their own before it.
    """
    name, colon, _ = _unprefixed(subject).partition(":")
    wanted = " ".join(name.split()).casefold()
    found = [each for each in organisations if " ".join(each.split()).casefold() == wanted]
    return found[0] if colon and wanted and found else None


def chosen_by_subject(known: Facts, subject: str, memberships: Iterable[str]) -> Facts:
    """What is known once the subject was read: it decides by itself only among the requester's memberships.

    A mail proves nothing: for anybody else it is a suggestion that an agent may take.
    """
    found = suggested(subject, memberships)
    if found is None or known.chosen or known.frozen_at is not None or found == known.organisation:
        return known
    return msgspec.structs.replace(known, organisation=found, chosen=True)


def _unprefixed(subject: str) -> str:
    while True:
        head, colon, rest = subject.strip().partition(":")
        if not colon or head.strip().casefold() not in ("re", "aw", "fwd", "fw", "wg", "antw"):
            return subject.strip()
        subject = rest
