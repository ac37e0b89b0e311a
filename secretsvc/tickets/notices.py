"""What followers of an organisation read when one of its tickets has a new link."""

from __future__ import annotations

from typing import Literal, NamedTuple

from .wording import one_line

Kind = Literal["sent", "asked"]
Language = Literal["de", "en"]


class Notice(NamedTuple):
    """A mail's subject and text."""

    subject: str
    text: str


_SUBJECT: dict[Language, dict[Kind, str]] = {
    "en": {
        "sent": "Ticket {number}: a one-time link was made",
        "asked": "Ticket {number}: access data was asked for",
    },
    "de": {
        "sent": "Ticket {number}: Einmal-Link erstellt",
        "asked": "Ticket {number}: Zugangsdaten angefragt",
    },
}
_WHAT: dict[Language, dict[Kind, str]] = {
    "en": {
        "sent": "Support has made a one-time link for ticket {number} of {organisation}.",
        "asked": "Support has asked for access data in ticket {number} of {organisation}.",
    },
    "de": {
        "sent": "Der Support hat zu Ticket {number} von {organisation} einen Einmal-Link erstellt.",
        "asked": "Der Support hat zu Ticket {number} von {organisation} Zugangsdaten angefragt.",
    },
}
_REST: dict[Language, str] = {
    "en": (
        "It is valid until {expires}.\n\n"
        "The link itself is not in this mail: please look into the ticket.\n\n"
        "You receive this mail because you follow {organisation}. You can end that on its page.\n"
    ),
    "de": (
        "Gültig bis {expires}.\n\n"
        "Den Link selbst enthält diese Mail nicht: Bitte sehen Sie im Ticket nach.\n\n"
        "Sie erhalten diese Mail, weil Sie {organisation} folgen. Das können Sie auf der Seite der "
        "Organisation beenden.\n"
    ),
}


def new_link(number: str, kind: Kind, expires: str, organisation: str, language: Language) -> Notice:
    """The notice of a new link on a ticket; never the link.

    Args:
        number: the ticket's, as people say it.
        kind: ``sent`` to the customer, or ``asked`` of the customer.
        expires: until when it is valid, written out in that language.
        organisation: whose ticket it is.
        language: of the follower.
    """
    # What the helpdesk calls things cannot add lines of its own to our text.
    words = {"number": one_line(number), "expires": one_line(expires), "organisation": one_line(organisation)}
    text = f"{_WHAT[language][kind]}\n{_REST[language]}"
    return Notice(_SUBJECT[language][kind].format(**words), text.format(**words))
