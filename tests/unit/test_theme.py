"""An operator's colours are readable in both themes, whatever they are."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from secretsvc.errors import Misconfigured
from secretsvc.settings import from_env
from secretsvc.web import theme
from tests.harness import ROOT

CSS = (ROOT / "static" / "css" / "secretsvc.css").read_text()


def tokens(part: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", part))


LIGHT, DARK = (tokens(part) for part in CSS.split("@media (prefers-color-scheme: dark)")[:2])


def long(colour: str) -> str:
    """``#abc`` as ``#aabbcc``."""
    return colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])


def test_contrast_is_that_of_wcag() -> None:
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert theme.contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)
    assert theme.contrast("#ff0000", "#ffffff") == pytest.approx(3.998, abs=0.001)


@pytest.mark.parametrize("tones", [LIGHT, DARK], ids=["light", "dark"])
def test_our_own_colours_are_readable(tones: dict[str, str]) -> None:
    for ink in ("ink", "quiet", "accent", "danger"):
        for paper in ("paper", "card", "code"):
            assert theme.contrast(long(tones[ink]), long(tones[paper])) >= 4.5, (ink, paper)
    assert theme.contrast(long(tones["ink"]), long(tones["note"])) >= 4.5
    assert theme.contrast(long(tones["on-accent"]), long(tones["accent"])) >= 4.5
    assert theme.contrast(long(tones["edge"]), long(tones["card"])) >= 3  # what shows a field (WCAG 1.4.11)


def test_any_colour_is_readable_on_every_paper_of_both_themes() -> None:
    colours = ["#000000", "#ffffff", "#808080", "#ffff00", "#0000ff", "#ff0000"]
    colours += [f"#{random.Random(seed).randrange(2**24):06x}" for seed in range(200)]
    for colour in colours:
        light, dark = re.findall(r"--accent: (#\w+); --on-accent: (#\w+);", theme.stylesheet(colour))
        for (accent, on), tones in ((light, LIGHT), (dark, DARK)):
            assert theme.contrast(on, accent) >= 4.5, colour
            for paper in ("paper", "card", "code"):
                assert theme.contrast(accent, long(tones[paper])) >= 4.5, (colour, paper)


def test_a_readable_colour_stays_as_it_is() -> None:
    assert "--accent: #0b5d3b; --on-accent: #ffffff;" in theme.stylesheet("#0b5d3b")


@pytest.mark.parametrize("colour", ["green", "#fff", "#12345g", "#0b5d3b;}", "rgb(1,2,3)", "#0b5d3b "])
def test_what_is_no_colour_is_refused(colour: str) -> None:
    with pytest.raises(Misconfigured, match="SECRETSVC_COLOUR"):
        from_env({"SECRETSVC_COLOUR": colour})


@pytest.mark.parametrize(
    ("name", "content"), [("a.gif", b"x"), ("a.svg", b""), ("a.png", b"x" * 9000), ("a.svg", None)]
)
def test_what_is_no_small_picture_is_refused_as_a_logo(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Misconfigured, match="SECRETSVC_LOGO_FILE"):
        theme.load(from_env({"SECRETSVC_LOGO_FILE": str(tmp_path / name)}))
