"""Helpdesks: one module for each product, all behind ``model.Desk``."""

from __future__ import annotations

from .. import config
from ..model import Desk
from .local import LocalDesk
from .rt import RequestTrackerDesk
from .zammad import ZammadDesk
from .zendesk import ZendeskDesk


def open_desk(name: str, conf: config.AnyDesk) -> Desk:
    """The desk that these settings describe; reads its secret files, and calls nobody yet.

    Args:
        name: the desk's in references.

    Raises:
        Misconfigured: a file is missing or malformed; the message names its place in the settings.
    """
    match conf:
        case config.RequestTracker():
            return RequestTrackerDesk(name, conf)
        case config.Zendesk():
            return ZendeskDesk(name, conf)
        case config.Zammad():
            return ZammadDesk(name, conf)
        case config.Local():
            return LocalDesk(name)


def open_desks(settings: config.Config) -> dict[str, Desk]:
    """All desks by name; see ``open_desk``."""
    return {name: open_desk(name, conf) for name, conf in settings.desks.items()}
