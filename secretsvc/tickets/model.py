"""The words of the ticket rules: reference, ticket, note, hint, and what a desk must do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol, Self

import msgspec

from ..errors import N_, Invalid

Status = Literal["open", "solved", "closed"]
# How it was made sure that an order comes from who it says: shown to the agent, and kept beside the answer.
Identity = Literal["signed-in", "phone-password", "known-address", "not-checked"]
# Too short a number for a link or its key, which somebody may paste by mistake.
_REFERENCE = re.compile(r"([a-z][a-z0-9-]{0,31}):([A-Za-z0-9][A-Za-z0-9._-]{0,31})")


class Reference(NamedTuple):
    """Which ticket: ``desk:number``, as it stands in a secret's label."""

    desk: str
    number: str

    def __str__(self) -> str:
        return f"{self.desk}:{self.number}"

    @classmethod
    def of(cls, text: str | None) -> Self | None:
        """The reference in a label, or None where it holds something else."""
        found = _REFERENCE.fullmatch(text or "")
        return cls(found[1], found[2]) if found else None

    @classmethod
    def read(cls, text: str, field: str = "ticket") -> Self:
        """A reference that somebody typed.

        Raises:
            Invalid: not one.
        """
        found = cls.of(text.strip())
        if found is None:
            raise Invalid((field, N_("Expected desk:number, as in rt:4711.")))
        return found


class Ticket(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a desk says of a ticket just now.

    Attributes:
        number: as people say it.
        status: ``solved`` may be reopened, ``closed`` may not.
        organisation: its name; None where the desk names none.
        requester: e-mail address of the customer's person.
        requester_name: what the desk calls that person.
        subject: the ticket's title.
        language: the requester's, where the desk knows it.
        package: the service package that costs go by, where the desk names one.
        solved_at: seconds since 1970, where the desk says since when it is solved or closed.
    """

    number: str
    status: Status = "open"
    organisation: str | None = None
    requester: str | None = None
    requester_name: str | None = None
    subject: str = ""
    language: Literal["de", "en"] | None = None
    package: str | None = None
    solved_at: int | None = None


class NewTicket(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket to be opened for a customer.

    Attributes:
        marker: a word of ours that finds it again (letters, digits, dots, dashes); stands in what the desk
            keeps of it.
        subject, text: plain text without any secret.
        requester: e-mail address.
        requester_name: what to call that person.
        organisation: its name, or None.
    """

    marker: str
    subject: str
    text: str
    requester: str
    requester_name: str = ""
    organisation: str | None = None


class Note(msgspec.Struct, frozen=True):
    """An internal note, or a public reply.

    Attributes:
        marker: a word of ours that finds it again (letters, digits, dots, dashes).
        subject: one line of plain text.
        text: plain text.
    """

    marker: str
    subject: str
    text: str


class Hint(msgspec.Struct, frozen=True):
    """What a verified webhook says: look at this ticket.  Nothing else in it is believed.

    Attributes:
        number: the ticket's, as people say it.
        delivery: the delivery's own id, to notice a repeat; at most 200 characters.
        own: whether our own account caused it, so that looking is not needed.
    """

    number: str
    delivery: str
    own: bool = False


class Desk(Protocol):
    """A helpdesk, as far as we need one.

    Every call raises:
        DeskUnavailable: no answer, or not now; ``retry_after`` in seconds, ``unclear`` where what was asked may
            have been done all the same.
        DeskForbidden: our account may not; somebody has to set it up.
        TicketGone: there is no such ticket, or not for us.
        TicketClosed: it takes no more notes or replies.

    Attributes:
        name: the desk's in references.
        notes: whether it takes notes; without, the trail stands on our own page alone.
        settles: seconds from the beginning of a try at something until nothing can come of it any more, however
            many calls it took.
    """

    name: str
    notes: bool
    settles: float

    def read(self, number: str) -> Ticket:
        """The ticket as it is."""

    def open(self, new: NewTicket) -> str:
        """Open a ticket; its number."""

    def opened(self, marker: str) -> str | None:
        """The number of the ticket that ``open`` made with this marker, if it did."""

    def note(self, number: str, note: Note) -> None:
        """Write an internal note, which customers never see."""

    def noted(self, number: str, marker: str) -> bool:
        """Whether a note or reply with this marker is there."""

    def reply(self, number: str, reply: Note) -> None:
        """Write a public reply, which the desk sends to the customer."""

    def hint(self, headers: Mapping[str, str], body: bytes, now: float) -> Hint | None:
        """What an incoming webhook says, once its signature is checked; None where it concerns no ticket.

        Args:
            headers: by lower-case names.
            body: as it came.
            now: seconds since 1970.

        Raises:
            HookRefused: no or a wrong signature, or too old.
        """
