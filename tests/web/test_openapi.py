"""The description of the API is right: every answer is one that it announces."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from typing import Any

import hypothesis
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks

from secretsvc.envelope import b64
from tests.harness import Backends, InProcess, Secret, new_idempotency_key
from tests.web.common import Asked, staff, store, with_proof, wrong_password

# All there are, but for positive_data_acceptance: a body of the right shape may still be damaged or taken.
CHECKS: list[Callable[..., Any]] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
    checks.unsupported_method,
]
OPERATIONS = [
    "POST /api/v1/secrets",
    "GET /api/v1/secrets/{id}",
    "POST /api/v1/secrets/{id}/claim",
    "POST /api/v1/secrets/{id}/done",
    "POST /api/v1/secrets/{id}/report",
    "POST /api/v1/secrets/{id}/revoke",
    "POST /api/v1/secrets/{id}/unlock",
    "POST /api/v1/open",
    "POST /api/v1/requests",
    "GET /api/v1/requests/{id}",
    "POST /api/v1/requests/{id}/answer",
    "GET /api/v1/me",
    "GET /api/v1/forms",
    "GET /api/v1/forms/{name}",
    "GET /api/v1/requests/{id}/form",
    "GET /api/v1/organisations",
    "GET /api/v1/organisations/links",
    "POST /api/v1/organisations/follow",
    "POST /api/v1/orders",
    "GET /api/v1/tickets/{desk}/{number}",
    "POST /api/v1/tickets/{desk}/{number}/organisation",
    "GET /api/v1/tickets/{desk}/{number}/texts",
    "POST /api/v1/tickets/{desk}/{number}/links/{ref}/revoke",
    "POST /api/v1/tickets/{desk}/{number}/links/{ref}/unlock",
    "POST /api/v1/tickets/{desk}/{number}/links/{ref}/note",
    "POST /api/v1/tickets/{desk}/{number}/links/{ref}/reply",
]
# What a desk without a helpdesk behind it refuses, as described: it takes no orders, notes and replies.
REFUSED = {"/orders": 403, "/note": 422, "/reply": 422}
FOR_CORE = OPERATIONS[:11]
DRAFT = "https://json-schema.org/draft/2020-12/schema"
STATES = ["", "sealed", "opened", "revoked", "locked", "password", "answered", "waiting"]


def document(here: InProcess) -> dict[str, Any]:
    answer = here.get("/api/v1/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    found: dict[str, Any] = answer.json
    return found


def test_the_description_is_openapi_3_1(here: InProcess) -> None:
    found = document(here)
    assert found["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(found).validate()
    for name, schema in found["components"]["schemas"].items():
        whole = {
            "$schema": DRAFT,
            **schema,
            "components": found["components"],
        }
        jsonschema_rs.meta.validate(whole)
        jsonschema_rs.validator_for(whole)  # every $ref leads somewhere
        if schema["type"] == "object" and name != "Problem":
            assert schema["additionalProperties"] is False, name


def test_the_description_names_every_call_and_no_other(here: InProcess) -> None:
    found = document(here)
    described = {f"{method.upper()} {path}" for path, calls in found["paths"].items() for method in calls}
    served = {
        f"{method} {rule.rule.replace('<', '{').replace('>', '}')}"
        for rule in here.app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/") and "openapi" not in rule.rule
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == served == set(OPERATIONS)


def test_the_description_names_every_problem_type(here: InProcess) -> None:
    enum = set(document(here)["components"]["schemas"]["Problem"]["properties"]["type"]["enum"])
    assert enum - {"internal-error"} == {
        "damaged",
        "invalid",
        "unauthorized",
        "forbidden",
        "wrong-password",
        "not-found",
        "conflict",
        "not-answered",
        "opened",
        "revoked",
        "expired",
        "ended-by-operator",
        "locked",
        "too-large",
        "unsupported-media-type",
        "method-not-allowed",
        "rate-limited",
        "busy",
        "record-damaged",
        "record-missing",
        "key-missing",
        "store-unavailable",
        "ledger-unavailable",
        "desk-unavailable",
        "ticket-closed",
        "provider-unavailable",
    }


def test_the_page_reads_the_same(here: InProcess) -> None:
    page = here.get("/api", Accept="text/html")
    assert page.status == 200
    for operation in OPERATIONS:
        assert operation in page.text


def known(here: InProcess, agent: dict[str, str], operation: str, what: str) -> tuple[str, dict[str, str]]:
    """Id and headers of something that is there, in some state."""
    if "requests" in operation or what in ("waiting", "answered"):
        asked = Asked.create(here, agent)
        if what == "answered":
            assert asked.answer(here).status == 201
        head = asked.answerer if "requests" in operation else asked.holder
        return asked.id, head | agent
    secret = store(here, with_proof()) if what in ("password", "locked") else Secret.create(here)
    if what == "locked":
        wrong_password(here, secret, 5)
    elif what == "opened":
        assert secret.claim(here).status == 200
    elif what == "revoked":
        assert secret.call(here, "revoke", sender=True).status == 200
    return secret.id, secret.auth(secret.receipt_token if operation.endswith(("revoke", "unlock")) else None)


def link_on(here: InProcess, agent: dict[str, str], ticket: str, what: str) -> str:
    """The reference of a link on a ticket, in some state."""
    if what in ("waiting", "answered"):
        asked = Asked.create(here, agent, label=ticket)
        if what == "answered":
            assert asked.answer(here).status == 201
    else:
        secret = with_proof(label=ticket) if what in ("password", "locked") else Secret.make(label=ticket)
        answer = here.post("/api/v1/secrets", secret.body, agent)
        assert answer.status == 201, answer.text
        secret.receipt_token = answer.json["receipt_token"]
        if what == "locked":
            wrong_password(here, secret, 5)
        elif what == "opened":
            assert secret.claim(here).status == 200
        elif what == "revoked":
            assert secret.call(here, "revoke", sender=True).status == 200
    answer = here.get(f"/api/v1/tickets/{ticket.replace(':', '/')}", **agent)
    ref: str = answer.json["links"][0]["ref"]
    return ref


def lead_to_ticket(here: InProcess, agent: dict[str, str], case: Case, what: str) -> None:
    """Aim at a ticket of the desk ``local``, at an organisation's list, or at a form."""
    case.headers.update(agent)
    if "{desk}" in case.path:
        number = str(secrets.randbelow(10**9))
        case.path_parameters = {"desk": "local", "number": number}
        if "{ref}" in case.path:
            case.path_parameters["ref"] = link_on(here, agent, f"local:{number}", what)
        elif case.method.upper() == "GET":
            link_on(here, agent, f"local:{number}", what)
    elif "{name}" in case.path:
        case.path_parameters = {"name": what if what in ("text", "file") else "server-order"}


def lead_home(here: InProcess, agent: dict[str, str], case: Case, what: str, *, fits: bool) -> None:
    """Aim a case at what is stored, so that more than refusals are seen; its body only where it ``fits``."""
    operation = f"{case.method.upper()} {case.path}"
    case.headers.pop("X-API-Key", None)
    if "{id}" in operation:
        id, head = known(here, agent, operation, what)
        case.path_parameters = {"id": id}
        case.headers.update(head)
    elif operation not in FOR_CORE:
        lead_to_ticket(here, agent, case, what)
    if operation.endswith("/requests"):
        case.headers.update(agent)
    if operation.endswith("/done"):
        case.headers["Idempotency-Key"] = new_idempotency_key()
    if not fits or not isinstance(case.body, dict):
        return
    if operation.endswith("/open"):
        link = here.post("/api/v1/secrets", {"secret": "x", "expires_in": 60}).json["link"]
        case.body = {"link": link, **({"password": "x"} if what == "password" else {})}
    elif operation == "POST /api/v1/secrets" and "id" in case.body:
        case.body |= {"envelope": Secret.make().body["envelope"]}
        case.headers.update(agent)
    elif operation.endswith("/answer"):
        # The form "text" has nothing to tick or to choose.
        case.body = {"envelope": b64(b"\x02" + os.urandom(48 + 256)), "consents": []}
    elif operation.endswith("/orders"):
        kept = {name: case.body[name] for name in ("key", "expires_in", "language") if name in case.body}
        sealed = b64(b"\x02" + os.urandom(48 + 256))
        case.body = {**kept, "envelope": sealed, "form": "text", "consents": []}
        case.headers["Idempotency-Key"] = new_idempotency_key()
    elif operation.endswith("/requests"):
        case.body |= {"form": "text"}
    elif operation.endswith("/follow") and what:
        case.body |= {"language": None}
    elif operation.endswith("/claim") and what == "password":
        case.body |= {"proof": b64(os.urandom(32))}


def is_described(found: dict[str, Any], operation: str, status: int, body: bytes) -> None:
    """The body has the announced fields and no other, which schemathesis alone does not insist on."""
    method, _, path = operation.partition(" ")
    answers = found["paths"][path][method.lower()]["responses"]
    content = answers[str(status)].get("content")
    if content is None:
        assert body == b""
        return
    (media,) = content.values()
    schema = {"$schema": DRAFT, **media["schema"], "components": found["components"]}
    jsonschema_rs.validate(schema, json.loads(body), validate_formats=True)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_answer_is_as_described(
    backs: Backends, operation: str, full: bool, say: Callable[[str], None]
) -> None:
    here = InProcess(backs.app())
    agent = staff(here)
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", here.app)
    method, _, path = operation.partition(" ")
    described, found = schema[path][method], document(here)
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    seen: dict[int, int] = {}

    @settings(
        max_examples=190 if full else 40,
        database=None,
        deadline=None,
        derandomize=not full,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from(modes))
        try:
            case = data.draw(described.as_strategy(generation_mode=mode))
        except hypothesis.errors.Unsatisfiable:  # nothing can be wrong about this part
            return
        parts = case.meta.components.items() if case.meta else ()
        wrong = {place for place, part in parts if part.mode.is_negative}
        fits = mode is schemathesis.GenerationMode.POSITIVE
        # What is wrong with a case must stay wrong: aimed are the right ones, and those with a wrong body.
        what = data.draw(st.sampled_from(STATES))
        if what and (fits or ParameterLocation.BODY in wrong):
            lead_home(here, agent, case, what, fits=fits)
        elif what and operation not in FOR_CORE and wrong & {ParameterLocation.QUERY, ParameterLocation.PATH}:
            case.headers.update(agent)
        response = case.call()
        case.validate_response(response, checks=CHECKS)
        is_described(found, operation, response.status_code, response.content)
        seen[response.status_code] = seen.get(response.status_code, 0) + 1

    run()
    say(f"{operation}: {sum(seen.values())} cases, {json.dumps(seen, sort_keys=True)}")
    assert sum(seen.values()) >= 30
    refused = {status for ending, status in REFUSED.items() if path.endswith(ending)}
    assert set(seen) & (refused or {200, 201, 204, 409}), seen
