"""The languages of the pages: English as in the code, German from the catalogue in ``secretsvc/locale``.

A page is in the language that its address asks for (``?lang=de``), else in the one the browser prefers.  No
cookie is set.
"""

from __future__ import annotations

import gettext as catalogues
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from typing import Any

from flask import Flask, g, has_request_context, request
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

LANGUAGES: Mapping[str, str] = {"en": "English", "de": "Deutsch"}


def _catalogue(language: str) -> catalogues.NullTranslations:
    if language == "en":
        return catalogues.NullTranslations()
    with (files("secretsvc") / "locale" / language / "LC_MESSAGES" / "messages.mo").open("rb") as file:
        return catalogues.GNUTranslations(file)


CATALOGUES = {language: _catalogue(language) for language in LANGUAGES}


def asked() -> str | None:
    """The language that the address asks for; it stays with the reader from link to link."""
    found = request.args.get("lang") if has_request_context() else None
    return found if found in LANGUAGES else None


def current() -> str:
    """The language of the page at hand."""
    if not has_request_context():
        return "en"
    forced: str | None = g.get("language")
    return forced or asked() or _preferred(request.headers.get("Accept-Language", ""))


@lru_cache(64)
def _preferred(header: str) -> str:
    """The language that a browser prefers; there are few such headers, and many words on a page ask for it."""
    return parse_accept_header(header, LanguageAccept).best_match(list(LANGUAGES), "en") or "en"


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Another language for a while, as in a message to somebody else."""
    before = g.get("language")
    g.language = language
    try:
        yield
    finally:
        g.language = before


def gettext(message: str) -> str:
    """The message in the current language."""
    return CATALOGUES[current()].gettext(message)


def ngettext(singular: str, plural: str, n: int) -> str:
    """The message for ``n`` things in the current language."""
    return CATALOGUES[current()].ngettext(singular, plural, n)


def moment(seconds: float) -> str:
    """A time as the pages say it before, or without, a script that knows the reader's time zone."""
    # Translators: a format of strftime; keep UTC.
    return datetime.fromtimestamp(int(seconds), UTC).strftime(gettext("%Y-%m-%d %H:%M UTC"))


def size(count: float) -> str:
    """A number of bytes for people."""
    if count < 1024:
        return f"{int(count)} B"
    number, unit = (count / 1024, "KiB") if count < 2**20 else (count / 2**20, "MiB")
    text = f"{number:.1f}".removesuffix(".0")
    return f"{text.replace('.', ',') if current() == 'de' else text} {unit}"


def telephone(number: str) -> str:
    """A telephone number as a ``tel:`` address takes it."""
    return "".join(character for character in number if character in "+0123456789")


def here(path: str) -> str:
    """An address of ours, in the language the reader asked for."""
    language = asked()
    return f"{path}?lang={language}" if language else path


def install(app: Flask) -> None:
    """Make templates speak; every page says which language it is in."""
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.policies["ext.i18n.trimmed"] = True
    environment: Any = app.jinja_env
    environment.install_gettext_callables(gettext, ngettext, newstyle=True)
    app.jinja_env.filters |= {"moment": moment, "size": size, "tel": telephone}
    app.jinja_env.globals |= {"here": here, "language": current, "languages": LANGUAGES}

    @app.after_request
    def say_language(response: Any) -> Any:
        if response.mimetype == "text/html":
            response.headers["Content-Language"] = current()
            response.vary.add("Accept-Language")
        return response
