"""The operator's colour, made readable: one colour in, a light and a dark accent out.

Contrast is that of WCAG 2.2, success criterion 1.4.3: at least 4.5 to 1 for text, on paper and on the accent.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from flask import Flask, current_app

from ..errors import Misconfigured
from ..settings import Settings, variable

RGB = tuple[float, float, float]

CONTRAST = 4.5
# The papers of the stylesheet that accents must stand out from: the darker light one, the lighter dark one.
LIGHT_PAPER, DARK_PAPER = "#eef1ea", "#232a26"
WHITE, BLACK = "#ffffff", "#0d120f"
LOGO_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp"}
MAX_LOGO_BYTES = 2048


@dataclass(frozen=True)
class Theme:
    """What an operator brings along: a stylesheet, empty for none, and a logo with its media type."""

    css: str = ""
    logo: bytes = b""
    logo_type: str = ""

    @property
    def integrity(self) -> str:
        """The stylesheet's digest, as pages name it."""
        return "sha256-" + base64.b64encode(hashlib.sha256(self.css.encode()).digest()).decode()


def load(conf: Settings) -> Theme:
    """The theme of the settings.

    Raises:
        Misconfigured: a logo that is missing, too large, or of another kind.
    """
    css = stylesheet(conf.colour) if conf.colour else ""
    if not conf.logo_file:
        return Theme(css)
    path = Path(conf.logo_file)
    kind = LOGO_TYPES.get(path.suffix.lower())
    try:
        logo = path.read_bytes()
    except OSError:
        raise Misconfigured(f"{variable('logo_file')}: this file cannot be read.") from None
    if not kind or not 0 < len(logo) <= MAX_LOGO_BYTES:
        raise Misconfigured(
            f"{variable('logo_file')}: expected an SVG, PNG or WebP file of at most {MAX_LOGO_BYTES} bytes."
        )
    return Theme(css, logo, kind)


def install(app: Flask, theme: Theme) -> None:
    """Let templates and views know the theme."""
    app.extensions["secretsvc.theme"] = app.jinja_env.globals["theme"] = theme


def current() -> Theme:
    """The theme of the service at hand."""
    return cast(Theme, current_app.extensions["secretsvc.theme"])


def stylesheet(colour: str) -> str:
    """The rules that put ``colour`` (``#rrggbb``), or the nearest readable one, in place of our green."""
    light, dark = accent(colour, LIGHT_PAPER, toward=BLACK), accent(colour, DARK_PAPER, toward=WHITE)
    rule = "--accent: {}; --on-accent: {};"
    return (
        f":root {{ {rule.format(light, on(light))} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {rule.format(dark, on(dark))} }} }}\n"
    )


def accent(colour: str, paper: str, *, toward: str) -> str:
    """``colour``, moved ``toward`` black or white only as far as it takes to be read on ``paper``."""
    for step in range(51):
        mixed = _mix(colour, toward, step / 50)
        if contrast(mixed, paper) >= CONTRAST:
            return mixed
    return toward


def on(colour: str) -> str:
    """The colour of text on ``colour``."""
    return max((WHITE, BLACK), key=lambda text: contrast(text, colour))


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _parse(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mix(one: str, other: str, share: float) -> str:
    parts = (round(255 * (a + (b - a) * share)) for a, b in zip(_parse(one), _parse(other), strict=True))
    return "#" + "".join(f"{part:02x}" for part in parts)


def _parse(colour: str) -> RGB:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue
