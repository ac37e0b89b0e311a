"""The link format in real browsers: the vectors, on a page of the service and under its policy."""

from __future__ import annotations

import time
from collections.abc import Callable

from playwright.sync_api import Page

from secretsvc.envelope import b64
from tests.browser.conftest import Site
from tests.harness import ROOT

VECTORS = ROOT / "tests" / "vectors"
RUNNER = ROOT / "tests" / "js" / "vectors.mjs"
RUN = """async ([folder, ...texts]) => {
  const envelope = { ...await import(`${folder}/js/envelope.js`), ...await import(`${folder}/js/answers.js`) };
  const { runVectors } = await import(`${folder}/js/vectors.mjs`);
  const [v1, own, refusals] = texts.map((text) => JSON.parse(text));
  return await runVectors(envelope, { v1, own, refusals });
}"""
READ = """async (folder) => {
  const { b64, readAddress, readLink } = await import(`${folder}/js/envelope.js`);
  return b64(readLink(readAddress(location.href)));
}"""
SEAL = """async (folder) => {
  const { Payload, b64, newKey, seal, unb64, unseal } = await import(`${folder}/js/envelope.js`);
  const content = Uint8Array.from({ length: 2 ** 20 }, (_, at) => at * at);
  const [key, began] = [newKey(), performance.now()];
  const read = await unseal(key, unb64(b64(await seal(key, new Payload(content, "backup.tar")))));
  const took = performance.now() - began;
  const isSame = read.content.every((byte, at) => byte === content[at]);
  return isSame && read.content.length === content.length && took;
}"""
ANSWER = """async ([folder, value]) => {
  const { readAnswers, writeAnswers } = await import(`${folder}/js/envelope.js`);
  const long = value.repeat(2 ** 20 / value.length);
  return readAnswers(writeAnswers([["key", long]])).get("key") === long;
}"""
KEY = bytes(range(32))


def test_all_vectors_hold(page: Page, site: Site, say: Callable[[str], None]) -> None:
    runner = f"{site.url}{site.static}/js/vectors.mjs"
    page.route(runner, lambda route: route.fulfill(path=RUNNER, content_type="text/javascript"))
    page.goto("/")
    # As text: on the way into a browser a lone surrogate would not stay what it is.
    texts = [(VECTORS / f"{name}.json").read_text(encoding="utf-8") for name in ("v1", "own", "refusals")]
    began = time.monotonic()
    found = page.evaluate(RUN, [site.static, *texts])
    say(f"{sum(found['counts'].values())} in {time.monotonic() - began:.1f} s")
    assert found["failures"] == []
    assert found["counts"] == {"envelopes": 12, "answers": 4, "hpke": 3, "accepted": 41, "refusals": 304}


def test_link_opens_from_the_address_bar_with_what_stood_behind_it(page: Page, site: Site) -> None:
    page.goto("/")
    for sign in ("#", "%23"):
        for behind in ("", ">", '"', '">.', ">\u00a0", ").", ">;"):
            address = f"/s{sign}{b64(KEY)}{behind}"
            page.evaluate("(path) => history.replaceState(null, '', path)", address)
            assert page.evaluate(READ, site.static) == b64(KEY), address


def test_a_secret_of_one_mebibyte_takes_no_time(page: Page, site: Site, say: Callable[[str], None]) -> None:
    page.goto("/")
    milliseconds = page.evaluate(SEAL, site.static)
    assert milliseconds is not False
    say(f"{milliseconds:.0f} ms to seal, write, read and unseal")
    assert milliseconds < 2000


def test_answers_of_one_mebibyte_are_read(page: Page, site: Site) -> None:
    page.goto("/")
    for value in ("x", "\n", '\\"', "\U0001f600"):
        assert page.evaluate(ANSWER, [site.static, value]) is True, value
