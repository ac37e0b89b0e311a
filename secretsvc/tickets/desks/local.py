"""No helpdesk: tickets are known by number alone, and the trail stands on our own pages."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import N_, DeskForbidden, HookRefused
from ..model import Hint, NewTicket, Note, Ticket


class LocalDesk:
    """Takes every number for an open ticket of nobody's; opens none and takes no notes."""

    notes = False
    settles = 0.0

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, number: str) -> Ticket:
        """An open ticket of this number."""
        return Ticket(number=number)

    def open(self, new: NewTicket) -> str:
        """Refused: an order needs a helpdesk to arrive in."""
        raise DeskForbidden(N_("There is no helpdesk here that could take an order."))

    def opened(self, marker: str) -> str | None:
        """None."""
        return None

    def note(self, number: str, note: Note) -> None:
        """Refused: see ``notes``."""
        raise DeskForbidden(N_("There is no helpdesk here that could take a note or a reply."))

    def noted(self, number: str, marker: str) -> bool:
        """Nothing ever is."""
        return False

    def reply(self, number: str, reply: Note) -> None:
        """Refused: see ``notes``."""
        self.note(number, reply)

    def hint(self, headers: Mapping[str, str], body: bytes, now: float) -> Hint | None:
        """Refused: nobody could have signed it."""
        raise HookRefused
