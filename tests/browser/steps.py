"""What people do on the pages, step by step: write, create, follow the link, open it, read what is shown.

A step waits for what it leads to, and for nothing else.
"""

from __future__ import annotations

import base64
import contextlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from playwright.sync_api import Locator, Page, Request, expect

from secretsvc.envelope import Payload, b64, derive_handles, read_link, seal, unb64
from tests.harness import Client, InProcess, Secret, wait_until
from tests.web.common import Asked, staff, store

PASSWORD = "Maßkrug 7 öffnen"
# The failing answers that browsers themselves log, in their two wordings; for ``trouble.allow``.
FAILED = r"Failed to load resource|NetworkError|Loading failed"
# What a browser does with the files of a drop or a paste.
HAND_FILES = """
(target, [kind, files]) => {
  const transfer = new DataTransfer();
  for (const [name, type, bytes] of files) {
    const content = Uint8Array.from(atob(bytes), (character) => character.charCodeAt(0));
    transfer.items.add(new File([content], name, { type }));
  }
  const options = { bubbles: true, cancelable: true };
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
    : new DragEvent(kind, { ...options, dataTransfer: transfer });
  // Firefox makes a ClipboardEvent with a transfer of its own, and empty.
  if (kind === "paste") Object.defineProperty(event, "clipboardData", { value: transfer });
  target.dispatchEvent(event);
}
"""


@dataclass(frozen=True)
class Created:
    """What a sender holds when the link is ready."""

    link: str
    receipt: str
    password: str = ""

    @property
    def key(self) -> str:
        """What stands behind the # of the link."""
        return self.link.partition("#")[2]

    @property
    def secret(self) -> Secret:
        """The same with all its handles, for calls that no page makes."""
        key = read_link(self.link)
        handles = derive_handles(key)
        return Secret(key, b"", b64(handles.id), b64(handles.token), {})

    def look(self, client: Client) -> dict[str, Any]:
        """What the service tells the holder of the link about it."""
        answer = self.secret.state(client)
        assert answer.status == 200, answer.text
        found: dict[str, Any] = answer.json
        return found


@dataclass(frozen=True)
class File:
    """A file as a person has it."""

    name: str
    content: bytes
    type: str = "application/octet-stream"


# --- anywhere --------------------------------------------------------------------------------------------


def view(page: Page, name: str) -> Locator:
    """One of the page's views, and it is the one that is shown."""
    found = page.locator(f'[data-view="{name}"]')
    expect(found).to_be_visible()
    expect(page.locator("[data-view]:visible")).to_have_count(1)
    return found


def problem(page: Page) -> Locator:
    """The complaint beside the form at hand."""
    return page.locator("#problem")


def unfold(page: Page, summary: str) -> Locator:
    """Open a part that is folded away, by the words on it."""
    found = page.locator("details", has=page.locator("summary", has_text=summary))
    found.locator("summary").click()
    return found


def sent(page: Page, method: str, path: str) -> list[Request]:
    """A list that grows with every call of the API whose path matches the pattern ``path``, whole."""
    found: list[Request] = []
    pattern = re.compile(rf"https?://[^/]+/api/v1{path}")

    def note(request: Request) -> None:
        if request.method == method and pattern.fullmatch(request.url):
            found.append(request)

    page.on("request", note)
    return found


def moment(time: Locator | str) -> datetime:
    """The moment that a page's ``<time>`` stands for, or the service's own words do."""
    text = time if isinstance(time, str) else time.get_attribute("datetime")
    return datetime.fromisoformat(text or "")


def link_of(secret: Secret) -> str:
    """The link of a secret that was not made on a page; the page's own site is meant."""
    return f"/s#{b64(secret.key)}"


def receipt_of(secret: Secret) -> str:
    """Its receipt link."""
    return f"/receipt#{b64(unb64(secret.id) + unb64(secret.receipt_token))}"


def request_of(asked: Asked) -> str:
    """The link that its customer gets."""
    return f"/r#{b64(asked.request.id + asked.request.public_key)}"


def pick_up_of(asked: Asked) -> str:
    """The link that its agent keeps."""
    return f"/s#{b64(asked.key)}"


def keep(client: Client, payload: Payload, **more: Any) -> Secret:
    """A secret of any kind that was not made on a page."""
    secret = Secret.make(**more)
    secret.body["envelope"] = b64(seal(secret.key, payload))
    return store(client, secret)


def new_agent(desk: InProcess) -> dict[str, str]:
    """The header of an agent with an API token."""
    return staff(desk, f"agent-{secrets.token_hex(8)}")


def clipboard(page: Page) -> str:
    """What is in the clipboard, pasted into a field that is added to the page for it."""
    field = page.locator("#clipboard")
    if not field.count():
        page.evaluate(
            "() => document.body.append(Object.assign(document.createElement('textarea'), { id: 'clipboard' }))"
        )
    field.fill("")
    field.press("Control+V")
    return field.input_value()


# --- send ------------------------------------------------------------------------------------------------


def write(page: Page, text: str, *, password: str = "", expires: str = "", language: str = "") -> None:
    """Fill the form in; ``expires`` and ``language`` are values of their choices."""
    page.goto("/")
    expect(page.locator("#create-button")).to_be_enabled()
    page.locator("#secret").fill(text)
    page.locator("#password").fill(password)
    if expires:
        page.locator("#expires").select_option(expires)
    if language:
        page.locator("#reader-language").select_option(language)


def press(button: Locator) -> None:
    """Press it once it is not busy any more; before, nothing would come of it."""
    expect(button).not_to_have_attribute("aria-busy", "true")
    button.click()


def press_create(page: Page) -> None:
    press(page.locator("#create-button"))


def read_created(page: Page) -> Created:
    """Wait for the link, and read what its sender gets."""
    view(page, "created")
    password = page.locator("#created-password-text").text_content() or ""
    return Created(page.locator("#link").inner_text(), page.locator("#receipt").text_content() or "", password)


def create(
    page: Page, text: str = "hunter2", *, password: str = "", expires: str = "", language: str = ""
) -> Created:
    """Write, press, and read the link."""
    write(page, text, password=password, expires=expires, language=language)
    press_create(page)
    return read_created(page)


def choose(page: Page, *files: File) -> None:
    """Pick files with the form's own button."""
    page.locator("#file").set_input_files(
        [{"name": file.name, "mimeType": file.type, "buffer": file.content} for file in files]
    )


def drop(page: Page, *files: File) -> None:
    _hand(page, "#drop", "drop", files)


def paste(page: Page, *files: File) -> None:
    _hand(page, "#secret", "paste", files)


def _hand(page: Page, target: str, kind: str, files: tuple[File, ...]) -> None:
    given = [[file.name, file.type, base64.b64encode(file.content).decode()] for file in files]
    page.locator(target).evaluate(HAND_FILES, [kind, given])


# --- open ------------------------------------------------------------------------------------------------


def follow(page: Page, link: str, leads_to: str = "ready") -> None:
    """Go to a link; it leads to this view, and nothing is opened by it."""
    here, there = (url.partition("#")[0] for url in (page.url, urljoin(page.url, link)))
    if here == there:  # then a browser would stay on the page that it has
        page.goto("/help")
    page.goto(link)
    view(page, leads_to)


def press_open(page: Page, password: str = "") -> None:
    if password:
        page.locator("#password").fill(password)
    press(page.locator("#open-button"))


def read_secret(page: Page) -> str:
    """Wait for the text that was in the link, and read it as it is, with every blank."""
    view(page, "opened-now")
    expect(page.locator("#text")).to_be_visible()
    return page.locator("#secret").text_content() or ""


def receive(page: Page, link: str, password: str = "") -> str:
    """Follow the link, open it, and read the text."""
    follow(page, link)
    press_open(page, password)
    return read_secret(page)


def save(page: Page, downloads: Path, button: str = "#save") -> tuple[str, bytes]:
    """Press a button that saves a file; what the browser has put down then: name and bytes."""
    if page.context.browser.browser_type.name == "chromium":
        with page.expect_download() as found:
            page.locator(button).click()
        return found.value.suggested_filename, Path(found.value.path()).read_bytes()
    # Firefox has told Playwright without the id it waits for; it saves all the same, empty and .part first.
    page.locator(button).click()
    wait_until(lambda: [file.stat().st_size > 0 for file in downloads.iterdir()] == [True])
    (file,) = downloads.iterdir()
    content = file.read_bytes()
    file.unlink()
    return file.name, content


@contextlib.contextmanager
def done(page: Page) -> Iterator[None]:
    """Do something, and wait until the service knows that the secret has arrived."""
    with page.expect_response(lambda answer: answer.url.endswith("/done")) as told:
        yield
    assert told.value.status == 204
