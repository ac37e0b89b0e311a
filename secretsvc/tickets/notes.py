"""What stands in the helpdesk beside the trail: an order's ticket, and the note with a pick-up link."""

from __future__ import annotations

from .notices import Language
from .wording import one_line

_ORDER: dict[Language, str] = {
    "en": "Order: {title}",
    "de": "Auftrag: {title}",
}
_ORDER_TEXT: dict[Language, str] = {
    "en": (
        "A signed-in customer hands in an order with access data.\n\n"
        "Form: {title}\nOrganisation: {organisation}\n\n"
        "What was entered is sealed. The link to pick it up stands in an internal note.\n"
    ),
    "de": (
        "Ein angemeldeter Kunde übergibt einen Auftrag mit Zugangsdaten.\n\n"
        "Formular: {title}\nOrganisation: {organisation}\n\n"
        "Die Eingaben sind versiegelt. Der Link zum Abholen steht in einer internen Notiz.\n"
    ),
}
_PICK_UP: dict[Language, str] = {
    "en": "Access data to pick up: {title}",
    "de": "Zugangsdaten zum Abholen: {title}",
}
_PICK_UP_TEXT: dict[Language, str] = {
    "en": (
        "Pick it up here, once, signed in as an agent of this desk:\n\n{link}\n\n"
        "The link opens nothing for anybody else. Never send it to the customer.\n"
    ),
    "de": (
        "Hier einmal abholen, angemeldet als Mitarbeiter dieses Desks:\n\n{link}\n\n"
        "Für andere öffnet der Link nichts. Senden Sie ihn niemals dem Kunden.\n"
    ),
}
_NOT_YET: dict[Language, str] = {
    "en": "If nothing is there yet, the customer has not handed it in.\n",
    "de": "Ist noch nichts da, hat der Kunde noch nichts übergeben.\n",
}


def order_subject(title: str, language: Language) -> str:
    """The subject of an order's ticket; ``title`` is the form's."""
    return _ORDER[language].format(title=one_line(title))


def order_text(title: str, organisation: str | None, language: Language) -> str:
    """The text of an order's ticket: nothing that was entered."""
    return _ORDER_TEXT[language].format(title=one_line(title), organisation=one_line(organisation or "-"))


def pick_up_subject(title: str, language: Language) -> str:
    """The subject of the note with a pick-up link."""
    return _PICK_UP[language].format(title=one_line(title))


def pick_up_text(link: str, language: Language) -> str:
    """The note with a pick-up link, which leads agents alone to an answer."""
    return _PICK_UP_TEXT[language].format(link=link) + _NOT_YET[language]
