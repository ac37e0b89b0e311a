"""From send to receipt, as people do it: in both browsers, on a real service, with and without script."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

import pytest
from babel.dates import format_date
from playwright.sync_api import Browser, Locator, Page, expect

from secretsvc.envelope import b64, seal, seal_answer, unb64, unseal, write_answers
from tests.browser import steps
from tests.browser.conftest import Site, Trouble, let_finish
from tests.browser.relay import Relay
from tests.browser.steps import PASSWORD, File, moment, view
from tests.harness import InProcess, Secret
from tests.web.common import FORM, Asked, dump, expire, store, unchanged, wrong_password

NewPage = Callable[..., Page]
TEXTS = {  # for each language one without a password and one with
    "de-DE": ("\ufeffGrüße: Äpfel, Öl, Maß, „sicher“\n\n\tzweite Zeile\n", "  \u00a0vorn und hinten\t\n "),
    "en-GB": (
        "עברית \u202elive\u202c العربية 👩\u200d👩\u200d👧\u200d👦 𝄞 e\u0301",
        "\x01\x08\x1b[31m\x7f\x85\u2028\ufffe{link}<b>&amp;%23\\",
    ),
}
SAFE = File("Zugang Müller (1).kdbx", bytes(range(256)) * 40, "application/x-keepass")
IMAGE = File("image.png", b"\x89PNG\r\n\x1a\n" + bytes(2040), "image/png")
# Drops a text; whether the browser is left to do with it as it does.
DROP_TEXT = """(target) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.setData("text/plain", "dropped");
  return target.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }));
}"""
# How often a sender's page asks how its secret stands, in milliseconds.
ASKS_EVERY = 3000


@pytest.fixture(scope="module")
def desk(site: Site) -> InProcess:
    """What makes requests and API tokens, on the same servers."""
    return InProcess(site.backs.app())


@pytest.fixture(scope="module")
def watched(site: Site) -> Trouble:
    return Trouble(site.url)


@pytest.fixture(scope="module")
def lasting(browser: Browser, site: Site, watched: Trouble) -> Iterator[Page]:
    """One page for all tests that leave nothing behind: a new one costs a browser a second."""
    with browser.new_context(base_url=site.url, locale="en-GB") as context:
        watched.watch(context)
        yield context.new_page()


@pytest.fixture
def trouble(site: Site, watched: Trouble) -> Trouble:
    watched.found.clear()
    watched.allowed.clear()
    watched.origin = site.url
    return watched


@pytest.fixture
def page(lasting: Page, trouble: Trouble) -> Iterator[Page]:
    yield lasting
    let_finish(lasting.context)
    trouble.check()


def status(page: Page, state: str) -> Locator:
    """The line of a sender's page that says how it stands, once it says this."""
    line = page.locator(f'#status [data-state="{state}"]')
    expect(line).to_be_visible()
    expect(page.locator("#status [data-state]:visible")).to_have_count(1)
    return line


def ended(page: Page, how: str) -> Locator:
    """The time on the page of a link that has ended."""
    return view(page, how).locator("time")


# --- what is sent arrives --------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", TEXTS)
def test_text_arrives_as_it_was(new_page: NewPage, downloads: Path, locale: str) -> None:
    page = new_page(locale=locale)
    for password, text in zip(("", PASSWORD), TEXTS[locale], strict=True):
        made = steps.create(page, text, password=password)
        assert made.password == password
        expect(page.locator("html")).to_have_attribute("lang", locale[:2])
        assert steps.receive(page, made.link, password) == text
        expect(page.locator("html")).to_have_attribute("lang", locale[:2])
        assert steps.save(page, downloads, "#save-text") == ("secret.txt", text.encode())


def test_file_arrives_with_name_type_and_bytes(page: Page, downloads: Path) -> None:
    steps.write(page, "")
    steps.choose(page, SAFE)
    expect(page.locator("#chosen-name")).to_have_text(SAFE.name)
    steps.press_create(page)
    steps.follow(page, steps.read_created(page).link)
    steps.press_open(page)
    view(page, "opened-now")
    expect(page.locator("#file-name")).to_have_text(SAFE.name)
    expect(page.locator("#file-size")).to_have_text(f"{SAFE.type}, 10 KiB")
    assert steps.save(page, downloads) == (SAFE.name, SAFE.content)


def test_file_is_dropped_or_pasted(page: Page, site: Site) -> None:
    for hand, file in ((steps.drop, SAFE), (steps.paste, IMAGE)):
        steps.write(page, "")
        hand(page, file)
        expect(page.locator("#chosen-name")).to_have_text(file.name)
        steps.press_create(page)
        secret = steps.read_created(page).secret
        payload = unseal(secret.key, unb64(secret.claim(site.web.client()).json["envelope"]))
        assert (payload.name, payload.type, payload.content) == (file.name, file.type, file.content)


def test_text_that_is_dropped_on_the_password_is_not_put_into_the_secret(page: Page) -> None:
    steps.write(page, "typed before")
    for field, is_left in (("#password", True), ("#secret", True), ("#secret-hint", False)):
        # Left to the browser, which puts it into the field; beside one it could take it for an address.
        assert page.locator(field).evaluate(DROP_TEXT) == is_left
        expect(page.locator("#secret")).to_have_value("typed before")


def test_too_much_is_refused_in_words_and_nothing_is_lost(page: Page) -> None:
    creates = steps.sent(page, "POST", "/secrets")
    large = File("large.iso", bytes(3 * 2**19))
    steps.write(page, "typed before")
    steps.drop(page, large)
    expect(steps.problem(page)).to_have_text("This has 1.5 MiB, and at most 1 MiB are possible here.")
    steps.choose(page, SAFE)
    expect(steps.problem(page)).to_have_text(
        "A link holds a text or a file, not both. Please remove the text first."
    )
    expect(page.locator("#secret")).to_have_value("typed before")
    page.locator("#secret").fill("")
    steps.choose(page, SAFE)
    steps.choose(page, large)
    expect(steps.problem(page)).to_contain_text("1.5 MiB")
    expect(page.locator("#chosen-name")).to_have_text(SAFE.name)
    page.locator("#unchoose").click()

    page.locator("#secret").evaluate("(field) => { field.value = 'ü'.repeat(3 * 2 ** 18); }")
    steps.press_create(page)
    expect(steps.problem(page)).to_have_text("This has 1.5 MiB, and at most 1 MiB are possible here.")
    assert page.locator("#secret").evaluate("(field) => field.value.length") == 3 * 2**18
    assert creates == []


def test_password_works_composed_and_decomposed(page: Page) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Ångström-Öl") for form in ("NFC", "NFD"))
    assert composed != decomposed
    made = steps.create(page, "x", password=composed)
    assert steps.receive(page, made.link, decomposed) == "x"


def test_generated_secret_and_password_work(page: Page) -> None:
    steps.write(page, "")
    page.locator("#generate-secret").click()
    expect(page.locator("#secret")).to_have_value(re.compile(r"^\w{24}$"))
    page.locator("#generate").click()
    expect(page.locator("#password")).to_have_value(re.compile(r"^([a-z2-9]{5}-){3}[a-z2-9]{5}$"))
    text, password = (page.locator(field).input_value() for field in ("#secret", "#password"))
    steps.press_create(page)
    made = steps.read_created(page)
    assert made.password == password
    assert steps.receive(page, made.link, password) == text


def fill_number(page: Page, text: str) -> None:
    field = page.locator("#expires-count")
    field.fill("")  # Playwright cannot mark what stands in a number field of this Firefox, and would add to it
    field.fill(text)


def test_link_works_for_as_long_as_was_chosen(page: Page, site: Site) -> None:
    creates = steps.sent(page, "POST", "/secrets")
    steps.write(page, "x", expires="other")
    fill_number(page, "45")
    for unit, possible in (("60", True), ("86400", False), ("60", True)):
        page.locator("#expires-unit").select_option(unit)
        expect(page.locator("#until")).to_contain_text("Works until" if possible else "at most 31 days")
    for count in ("0", "", "44641"):
        fill_number(page, count)
        steps.press_create(page)
        expect(steps.problem(page)).to_contain_text("at least one minute and at most 31 days")
    assert creates == []
    fill_number(page, "45")
    steps.press_create(page)
    made = steps.read_created(page)
    found = made.look(site.web.client())
    lasts = moment(found["expires_at"]) - moment(found["created_at"])
    assert abs(lasts.total_seconds() - 45 * 60) <= 1
    assert moment(page.locator("#created-until")) == moment(found["expires_at"])


def test_what_curl_sealed_opens_here_and_the_other_way_round(page: Page, site: Site) -> None:
    def curl(path: str, **form: str) -> str:
        answer = site.web.client().send("POST", path, urlencode({"plain": "", **form}).encode(), FORM)
        assert answer.status in (200, 201), answer.text
        return answer.text

    text = "Über Plain-curl\r\n"
    link = curl("/", secret=text, password=PASSWORD).strip()
    assert steps.receive(page, link, PASSWORD) == text
    made = steps.create(page, "Über den Browser\n", password=PASSWORD)
    assert curl("/open", link=made.link, password=PASSWORD) == "Über den Browser\n"


# --- what its sender sees --------------------------------------------------------------------------------


def test_sender_sees_opening_and_report_without_a_reload(
    page: Page, new_page: NewPage, site: Site, trouble: Trouble
) -> None:
    trouble.allow("status of 409")  # the second report
    reader, page = page, new_page()
    page.clock.install()
    made = steps.create(page)
    page.evaluate("() => { window.same = true; }")
    status(page, "sealed")
    steps.receive(reader, made.link)
    page.clock.fast_forward(ASKS_EVERY)
    opened = status(page, "opened")
    expect(opened).to_have_text(re.compile(r"^Opened on \d+ \w+ \d{4} at \d+:\d\d$"))
    expect(page.locator("#revoking")).to_be_hidden()
    expect(page.locator("#reported")).to_be_hidden()
    told = moment(opened.locator("time"))
    assert told == moment(made.look(site.web.client())["ended_at"])

    for said in ("The sender will see that it was not you.", "The sender has been told before."):
        steps.follow(reader, made.link, "opened")
        assert moment(ended(reader, "opened")) == told
        reader.locator("#report").click()
        expect(reader.locator("#report-said")).to_have_text(said)
        expect(reader.locator("#report")).to_be_hidden()
    page.clock.fast_forward(ASKS_EVERY)
    expect(page.locator("#reported")).to_contain_text("somebody else who opened it")
    assert page.evaluate("() => window.same")
    steps.follow(page, made.receipt, "receipt")
    status(page, "opened")
    expect(page.locator("#reported")).to_contain_text("somebody else who opened it")


def test_sender_withdraws_it_where_it_was_created(page: Page, site: Site) -> None:
    made = steps.create(page)
    steps.unfold(page, "Withdraw the link").locator("#revoke").click()
    told = moment(status(page, "revoked").locator("time"))
    assert told == moment(made.look(site.web.client())["ended_at"])
    steps.follow(page, made.link, "revoked")
    assert moment(ended(page, "revoked")) == told
    steps.follow(page, made.receipt, "receipt")
    assert moment(status(page, "revoked").locator("time")) == told


def test_sender_withdraws_it_with_the_receipt(
    page: Page, new_page: NewPage, site: Site, trouble: Trouble
) -> None:
    trouble.allow("status of 410")
    secret = Secret.create(site.web.client())
    reader = new_page()
    steps.follow(reader, steps.link_of(secret))
    steps.follow(page, steps.receipt_of(secret), "receipt")
    steps.unfold(page, "Withdraw the link").locator("#revoke").click()
    told = moment(status(page, "revoked").locator("time"))
    steps.press_open(reader)
    assert moment(ended(reader, "revoked")) == told


def test_wrong_passwords_lock_and_the_sender_unlocks(
    page: Page, new_page: NewPage, site: Site, trouble: Trouble
) -> None:
    trouble.allow("status of 403")
    reader, page = page, new_page()
    page.clock.install()
    made = steps.create(page, "kept", password=PASSWORD)
    steps.follow(reader, made.link)
    steps.press_open(reader, "falsch")
    expect(steps.problem(reader)).to_have_text(
        "Wrong password. Nothing was opened. Wrong passwords left before it locks: 4"
    )
    wrong_password(site.web.client(), made.secret, times=3)
    steps.press_open(reader, "wieder falsch")
    view(reader, "locked")
    page.clock.fast_forward(ASKS_EVERY)
    unlock(page)
    wrong_password(site.web.client(), made.secret, times=5)
    steps.follow(reader, made.link, "locked")
    steps.follow(page, made.receipt, "receipt")
    unlock(page)
    assert steps.receive(reader, made.link, PASSWORD) == "kept"


def unlock(page: Page) -> None:
    status(page, "locked")
    page.locator("#unlock").click()
    status(page, "sealed")
    expect(page.locator("#tries")).to_have_text("Wrong passwords left before it locks: 5")


def test_link_that_has_run_out_says_until_when(page: Page, site: Site) -> None:
    made = steps.create(page)
    expire(site.backs, made.secret)
    found = made.look(site.web.client())
    steps.follow(page, made.link, "expired")
    assert moment(ended(page, "expired")) == moment(found["expires_at"])
    steps.follow(page, made.receipt, "receipt")
    status(page, "expired")


# --- where a link does not lead there --------------------------------------------------------------------


def test_link_that_leads_to_nothing_can_be_pasted_again(page: Page, site: Site, trouble: Trouble) -> None:
    trouble.allow("status of 404")
    secret = Secret.create(site.web.client())
    link, unknown = (site.url + steps.link_of(each) for each in (secret, Secret.make()))
    before = dump(site.backs)
    steps.follow(page, unknown, "not-found")
    for pasted, leads_to in ((unknown, "not-found"), (f"Here it is: <{link}>.", "ready")):
        page.locator('[data-view="not-found"] [data-paste]').click()
        page.locator("#pasted").fill(pasted)
        page.get_by_role("button", name="Continue").click()
        view(page, leads_to)
    assert unchanged(before, dump(site.backs))
    assert page.url == f"{site.url}/s"
    steps.press_open(page)
    assert steps.read_secret(page) == "hunter2"


def test_help_and_status_are_a_click_away(page: Page) -> None:
    page.goto("/")
    for name, words in (("Help", "How it works"), ("Status", "The service works")):
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        expect(page.locator("main")).to_contain_text(words)


# --- the reader's language -------------------------------------------------------------------------------


def test_message_is_in_the_readers_language_with_link_and_expiry(new_page: NewPage, site: Site) -> None:
    page = new_page(timezone_id="Europe/Berlin")
    made = steps.create(page, password="x", language="de")
    steps.unfold(page, "A message to send along")
    expires_at = moment(made.look(site.web.client())["expires_at"])
    days = {(expires_at + timedelta(hours=ahead)).date() for ahead in (1, 2)}  # of UTC, in winter and summer
    for language, greeting, locale in (("de", "Guten Tag,", "de_DE"), ("en", "Hello,", "en_GB")):
        expect(page.locator("#message-language")).to_have_value(language)
        message = page.locator("#message").text_content() or ""
        assert message.startswith(greeting)
        assert f"\n{made.link}\n" in message
        assert any(format_date(day, "long", locale) in message for day in days)
        assert re.search(r"\bCES?T\b|\bMES?Z\b|\bGMT[+]", message), message
        assert re.search("password|Passwort", message.splitlines()[-1])
        page.locator("#message-language").select_option("en")


def test_pinned_language_reaches_the_reader_with_the_link(page: Page, site: Site) -> None:
    secret = Secret.create(site.web.client(), b"x", language="de")
    steps.follow(page, steps.link_of(secret))
    expect(page.locator("html")).to_have_attribute("lang", "de")
    assert page.url == f"{site.url}/s?lang=de"
    # What the reader chooses counts more than what the sender pinned.
    page.locator('[data-language="en"]').click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    view(page, "ready")
    assert page.url == f"{site.url}/s?lang=en"
    steps.press_open(page)
    assert steps.read_secret(page) == "x"


def test_language_is_switched_with_the_link_kept(page: Page, site: Site, desk: InProcess) -> None:
    secret = Secret.create(site.web.client())
    asked = Asked.create(desk, steps.new_agent(desk))
    for link, leads_to in ((steps.receipt_of(secret), "receipt"), (steps.request_of(asked), "write")):
        address = site.url + link.partition("#")[0]
        steps.follow(page, link, leads_to)
        assert page.url == address
        page.locator('[data-language="de"]').click()
        expect(page.locator("html")).to_have_attribute("lang", "de")
        view(page, leads_to)
        assert page.url == f"{address}?lang=de"


# --- requests --------------------------------------------------------------------------------------------


def test_request_is_answered_once_and_picked_up_by_an_agent(
    page: Page, new_page: NewPage, site: Site, desk: InProcess, trouble: Trouble
) -> None:
    trouble.allow("status of 40[139]")  # no token; answered before
    anna = steps.new_agent(desk)
    asked = Asked.create(desk, anna, label="Ticket 4711")
    customer, late = page, new_page()
    for each in (customer, late):
        steps.follow(each, steps.request_of(asked), "write")
        expect(each.locator("#label")).to_have_text("Ticket 4711")
        assert each.url == f"{site.url}/r"
        each.locator("#secret").fill("  root: Öl\n")
    customer.locator("#answer-button").click()
    view(customer, "handed-in")
    late.locator("#answer-button").click()
    expect(view(late, "answered").locator("h1")).to_have_text("This request has been answered")
    steps.follow(late, steps.request_of(asked), "answered")

    steps.follow(page, steps.pick_up_of(asked))
    steps.press_open(page)
    expect(steps.problem(page)).to_contain_text("Only an agent of this desk can collect it")
    page.locator("#api-key").fill(anna["X-API-Key"])
    steps.press_open(page)
    assert steps.read_secret(page) == "  root: Öl\n"


def test_form_is_one_row_for_each_field_with_its_own_copy_button(
    page: Page, site: Site, desk: InProcess
) -> None:
    fields = {"Nutzer": "admin", "Passwort": " ä<b>&\n𝄞 ", "Ort": ""}
    payload = write_answers(fields)
    secret, anna = Secret.make(), steps.new_agent(desk)
    secret.body["envelope"] = b64(seal(secret.key, payload))
    store(site.web.client(), secret)
    asked = Asked.create(desk, anna)
    body = {"envelope": b64(seal_answer(asked.request, payload)), "consents": []}
    assert asked.answer(desk, body).status == 201

    for link, token in ((steps.link_of(secret), ""), (steps.pick_up_of(asked), anna["X-API-Key"])):
        steps.follow(page, link)
        if token:
            page.locator("#api-key").fill(token)
        steps.press_open(page)
        view(page, "opened-now")
        expect(page.locator("#text")).to_be_hidden()
        expect(page.locator("#binary")).to_be_hidden()
        rows = page.locator("#answers > div")
        expect(rows).to_have_count(len(fields))
        for row, (name, value) in zip(rows.all(), fields.items(), strict=True):
            assert (row.locator("dt").text_content(), row.locator("dd").first.text_content()) == (name, value)
            expect(row.get_by_role("button", name=f"Copy {name}", exact=True)).to_be_visible()
    for name, value in fields.items():
        button = page.get_by_role("button", name=f"Copy {name}", exact=True)
        button.click()
        expect(button).to_have_text("Copied")
        assert steps.clipboard(page) == value


# --- what the service never gets -------------------------------------------------------------------------


def spellings(text: str) -> set[str]:
    """A text as it might stand in an address, a header or a body."""
    raw = text.encode()
    coded = {b64(raw), base64.b64encode(raw).decode(), raw.hex(), json.dumps(text).strip('"')}
    return {text, quote(text, safe=""), quote_plus(text), *coded}


def test_service_gets_neither_text_nor_key_nor_password(
    new_page: NewPage, site: Site, trouble: Trouble
) -> None:
    text, password = "Tr0ub4dor & drei Öre", "Stapel Pferd+Öl"
    with Relay(site.url) as relay:
        trouble.origin = relay.url
        page = new_page(base_url=relay.url)
        made = steps.create(page, text, password=password)
        link, receipt = (url.replace(site.url, relay.url) for url in (made.link, made.receipt))
        with steps.done(page):
            assert steps.receive(page, link, password) == text
        steps.follow(page, link, "opened")
        page.locator("#report").click()
        expect(page.locator("#report-said")).to_be_visible()
        steps.follow(page, receipt, "receipt")
        status(page, "opened")
        page.reload()
        page.goto("/help")
    seen = "\n".join(call.whole for call in relay.seen)
    for passed in ("POST /api/v1/secrets\n", made.secret.id, made.secret.token, "/claim", "/done", "/report"):
        assert passed in seen
    for secret in (text, password, made.key, made.receipt.partition("#")[2]):
        assert [found for found in spellings(secret) if found in seen] == []
    assert made.secret.key.hex() not in seen


def test_looking_at_a_link_changes_nothing_on_the_servers(page: Page, site: Site) -> None:
    secret = Secret.create(site.web.client())
    before = dump(site.backs)
    steps.follow(page, steps.link_of(secret))
    page.reload()
    steps.follow(page, steps.link_of(secret))
    page.goto("/help")
    assert unchanged(before, dump(site.backs))
    assert steps.receive(page, steps.link_of(secret)) == "hunter2"
    assert not unchanged(before, dump(site.backs))


# --- without script --------------------------------------------------------------------------------------


@pytest.fixture
def plain(new_page: NewPage) -> Page:
    """A page in a browser without JavaScript."""
    return new_page(java_script_enabled=False)


def says_once(page: Page, words: str) -> None:
    assert page.locator("main").inner_text().count(words) == 1


def open_plain(page: Page, link: str, password: str = "") -> None:
    """Follow a link without JavaScript and do what the page says."""
    page.goto(link)
    says_once(page, "the server opens the link for you")
    page.locator("#plain-link").fill(page.url)
    page.locator("#plain-password").fill(password)
    page.get_by_role("button", name="Open now").click()


def test_without_script_a_secret_is_sent_opened_and_reported(plain: Page, trouble: Trouble) -> None:
    trouble.allow("status of 410")
    text = "\nzwei\n\tZeilen <b>&amp; 𝄞 \n"
    plain.goto("/")
    says_once(plain, "the server encrypts what you send")
    plain.locator("#plain-secret").fill(text)
    plain.locator("#plain-password").fill(PASSWORD)
    plain.get_by_role("button", name="Create link").click()
    link, receipt = (plain.locator(field).input_value() for field in ("#link", "#receipt"))
    says_once(plain, "The server encrypted this secret for you")
    assert "#" not in plain.url

    open_plain(plain, link, PASSWORD)
    expect(plain.locator("#secret")).to_have_value(text)
    open_plain(plain, link)
    expect(plain.locator("h1")).to_have_text("This link was opened before")
    opened = moment(plain.locator("time"))
    plain.locator("#link").fill(link)
    plain.get_by_role("button", name="That was not me").click()
    expect(plain.locator("h1")).to_have_text("The sender is told")

    plain.goto(receipt)
    plain.locator("#plain-receipt").fill(receipt)
    plain.get_by_role("button", name="Show").click()
    assert moment(plain.locator("[data-now=opened] time").first) == opened
    expect(plain.locator("[data-now=opened]")).to_contain_text("somebody else who opened it")


def test_without_script_the_sender_withdraws_it(plain: Page, site: Site, trouble: Trouble) -> None:
    trouble.allow("status of 410")
    secret = Secret.create(site.web.client())
    plain.goto("/receipt")
    plain.locator("#plain-receipt").fill(steps.receipt_of(secret))
    plain.get_by_role("button", name="Show").click()
    expect(plain.locator("[data-now=sealed]")).to_have_text("Not opened yet")
    plain.get_by_role("button", name="Withdraw it").click()
    revoked = moment(plain.locator("[data-now=revoked] time"))
    open_plain(plain, steps.link_of(secret))
    expect(plain.locator("h1")).to_have_text("The sender has withdrawn this link")
    assert moment(plain.locator("time")) == revoked


def test_without_script_a_request_is_answered(
    plain: Page, site: Site, desk: InProcess, trouble: Trouble
) -> None:
    trouble.allow("status of 409")
    anna = steps.new_agent(desk)
    asked = Asked.create(desk, anna)
    plain.goto(steps.request_of(asked))
    says_once(plain, "the server encrypts what you send")
    plain.locator("#plain-link").fill(plain.url)
    plain.get_by_role("button", name="Continue").click()
    says_once(plain, "the server encrypts what you send")
    plain.locator("#plain-secret").fill("zwei\nZeilen")
    plain.get_by_role("button", name="Hand it in").click()
    expect(plain.locator("h1")).to_have_text("Handed in")
    plain.goto("/help")
    plain.goto(steps.request_of(asked))
    plain.locator("#plain-link").fill(plain.url)
    plain.get_by_role("button", name="Continue").click()
    expect(plain.locator("h1")).to_have_text("This request has been answered")
    claimed = desk.post(f"/api/v1/secrets/{asked.id}/claim", {}, asked.holder | anna)
    assert asked.unseal(claimed) == b"zwei\nZeilen"
