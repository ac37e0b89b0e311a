"""OpenAPI 3.1 of the ticket calls, made from the very types that read the bodies; see ``web.openapi``."""

from __future__ import annotations

from typing import Any, get_args

from ...web.openapi import API_KEY, ID, KEY, STATES, TIME, Part, call, ref
from .. import links, model
from . import api
from .lists import FILTERED_KINDS, FILTERED_STATES

# --- schemas -------------------------------------------------------------------------------------------

STRING: dict[str, Any] = {"type": "string"}
WORD: dict[str, Any] = {"type": ["string", "null"]}
TRUTH: dict[str, Any] = {"type": "boolean"}
LANGUAGE: dict[str, Any] = {"enum": ["de", "en"]}
IDENTITY: dict[str, Any] = {"enum": list(get_args(model.Identity))}
TICKET: dict[str, Any] = {"type": "string", "description": "desk:number"}
REF: dict[str, Any] = {"type": "string", "pattern": "^[2-9A-Z]{6}$", "description": "says which; opens nothing"}


def _object(required: str, /, **properties: Any) -> dict[str, Any]:
    """An object with these fields and no other; ``required`` names those that are always there."""
    return {
        "type": "object",
        "required": required.split(),
        "additionalProperties": False,
        "properties": properties,
    }


def _always(**properties: Any) -> dict[str, Any]:
    """An object with exactly these fields."""
    return _object(" ".join(properties), **properties)


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


def _map(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": of}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


OPTIONS = _list(_always(id=STRING, label=STRING))
FIELD = _always(
    id=STRING,
    label=STRING,
    type={"enum": ["line", "text", "password", "file", "choice"]},
    help=STRING,
    required=TRUTH,
    max={"type": "integer", "description": "characters; of a file, bytes"},
    options=OPTIONS,
)
COST = _always(
    package={"type": ["string", "null"], "description": "the ticket's; null: one of these is picked"},
    packages=_list(
        _always(id=STRING, label=STRING, costs=_map(_always(id=STRING, text=STRING, charged=TRUTH)))
    ),
)
FORM: dict[str, Any] = {
    "name": STRING,
    "version": STRING,
    "language": LANGUAGE,
    "title": STRING,
    "intro": STRING,
    "identity": {"type": "boolean", "description": "whether it shows how the customer was identified"},
    "product": _or_null(_always(label=STRING, help=STRING, max={"type": "integer"}, options=OPTIONS)),
    "groups": _list(_always(id=STRING, title=STRING, help=STRING, one_of=_list(STRING), fields=_list(FIELD))),
    "inquiries": _list(_always(id=STRING, label=STRING, ask=_list(STRING), consents=_list(STRING))),
    "consents": _list(_always(id=STRING, text=STRING, required=TRUTH)),
    "cost": _or_null(COST),
    "rows": _list(_always(id=STRING, label=STRING, type=STRING, options=OPTIONS)),
}
TOLD = _always(
    product=WORD,
    inquiry=WORD,
    consents=_list(_always(id=STRING, text=STRING, ticked=TRUTH)),
    package=WORD,
    cost=WORD,
    cost_accepted={"type": ["boolean", "null"]},
)
ASKED_FORM = _object(
    " ".join({*FORM} - {"product", "cost"}) + " state expires_at",
    **FORM,
    **{
        "state": {"enum": STATES},
        "expires_at": TIME,
        "ticket": TICKET,
        "organisation": STRING,
        "asked_by": STRING,
        "checked": IDENTITY,
        "answered_for": {"type": "integer", "description": "seconds that the answer waits to be picked up"},
        "facts": TOLD
        | {"description": "what was said outside the sealed part; to agents of the ticket's desk"},
    },
)
ENTRY: dict[str, Any] = {
    "ref": REF,
    "kind": {"enum": ["secret", "request"]},
    "state": {"enum": STATES},
    "created_at": TIME,
    "expires_at": TIME,
    "by": STRING,
    "password": TRUTH,
    "form": STRING,
    "order": {"const": True, "description": "a customer handed it in unasked"},
    "identity": IDENTITY,
    "events": _list(_object("type at", type={"enum": list(get_args(links.Word))}, at=TIME, **{"by": STRING})),
    "facts": {"type": "object", "description": "what was said outside the sealed part; to agents"},
}
ALWAYS_OF_ENTRY = "ref kind state created_at expires_at password events"
SHOWN = _object(
    "ticket desk number status links",
    ticket=TICKET,
    desk=STRING,
    number=STRING,
    status={"enum": list(get_args(model.Status))},
    links=_list(ref("TicketLink")),
    **{
        "organisation": {"type": "string", "description": "whose list it is in"},
        "frozen_at": TIME | {"description": "since when it can change hands no more"},
        "requester": {"type": "string", "description": "this and what follows: to agents"},
        "requester_name": STRING,
        "language": LANGUAGE,
        "package": STRING,
        "suggested": {"type": "string", "description": "the organisation that the subject names"},
        "confirm": {"type": "boolean", "description": "whether an agent has to say for whom it is"},
        "shared": {"type": "boolean", "description": "whether a whole organisation reads the ticket"},
        "notes": {"type": "boolean", "description": "whether the desk takes notes and replies"},
    },
)
FORMATS = _always(plain=STRING, markdown=STRING, html=STRING)
WITHOUT, EITHER_WAY = _always(false=FORMATS), _always(false=FORMATS, true=FORMATS)
SCHEMAS = {
    "Me": _object(
        "name role organisations orders",
        name=STRING,
        role={"enum": ["agent", "customer"]},
        organisations=_list(STRING),
        orders={"type": "boolean", "description": "whether they may hand credentials in unasked"},
        **{"desks": _list(STRING) | {"description": "an agent's"}},
    ),
    "Forms": _always(forms=_list(_always(name=STRING, title=STRING))),
    "Form": _always(**FORM),
    "AskedForm": ASKED_FORM,
    "TicketLink": _object(ALWAYS_OF_ENTRY, **ENTRY),
    "Ticket": SHOWN,
    "Texts": _always(
        secret=_always(de=EITHER_WAY, en=EITHER_WAY),
        request=_always(de=WITHOUT, en=WITHOUT),
    ),
    "Organisations": _always(organisations=_list(_always(name=STRING, follows=TRUTH)), mail=TRUTH),
    "OrganisationLinks": _always(
        organisation=STRING,
        links=_list(_object(f"ticket {ALWAYS_OF_ENTRY}", ticket=TICKET, **ENTRY)),
        page={"type": "integer"},
        more=TRUTH,
    ),
    "Placed": _always(ticket=TICKET, ref=REF, expires_at=TIME),
}
SCHEMAS["Placed"]["description"] = "An order that was handed in."

# --- parameters ----------------------------------------------------------------------------------------


def _in_path(name: str, what: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": STRING, "description": what}


def _in_query(name: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


WHERE = [_in_path("desk", "as the settings call it"), _in_path("number", "as its people say it"), API_KEY]
WHICH = [*WHERE, _in_path("ref", "the link's short reference")]
IN_LANGUAGE = _in_query("language", LANGUAGE)
LIST = [
    API_KEY,
    _in_query("organisation", {"type": "string", "minLength": 1}, required=True),
    _in_query("state", {"enum": ["", *FILTERED_STATES]}),
    _in_query("kind", {"enum": ["", *FILTERED_KINDS]}),
    _in_query("page", {"type": "integer", "minimum": 1, "maximum": 9999}),
]

# --- calls ---------------------------------------------------------------------------------------------


def _get(what: str, answer: str, errors: str, parameters: list[Any], **more: Any) -> dict[str, Any]:
    return {"get": call(what, 200, answer, errors, parameters=parameters, **more)}


def _post(what: str, answer: str | None, errors: str, parameters: list[Any], **more: Any) -> dict[str, Any]:
    return {"post": call(what, 200 if answer else 204, answer, errors, parameters=parameters, **more)}


def part() -> Part:
    """The ticket calls.  All take a session or an API token, but for the one that takes a request's token."""
    bodies = (api.Choose, api.Follow, api.Reply, api.PickUp, api.NewOrder)
    return Part(bodies, SCHEMAS, {**_calls(), **_ticket_calls()})


def _calls() -> dict[str, Any]:
    return {
        "/api/v1/me": _get("Who has signed in, or whose token this is.", "Me", "401 503", [API_KEY]),
        "/api/v1/forms": _get("The forms there are.", "Forms", "401 422 503", [API_KEY, IN_LANGUAGE]),
        "/api/v1/forms/{name}": _get(
            "One form.", "Form", "401 404 422 503", [API_KEY, _in_path("name", "the form's"), IN_LANGUAGE]
        ),
        "/api/v1/requests/{id}/form": _get(
            "What a request asks, by whom and for which ticket. For its customer, and for whoever picks it up.",
            "AskedForm",
            "401 404 422 503",
            [ID, API_KEY, IN_LANGUAGE],
            bearer=True,
        ),
        "/api/v1/organisations": _get(
            "The organisations whose lists the caller may see.", "Organisations", "401 503", [API_KEY]
        ),
        "/api/v1/organisations/links": _get(
            "The links of an organisation's tickets, a page at a time.",
            "OrganisationLinks",
            "401 404 422 503",
            LIST,
        ),
        "/api/v1/organisations/follow": _post(
            "Hear of every new link on an organisation's tickets, or with null no longer.",
            None,
            "400 401 404 413 415 422 503",
            [API_KEY],
            body=ref("Follow"),
        ),
        "/api/v1/orders": {
            "post": call(
                "Hand credentials in unasked, sealed to a pick-up link made for it, which passes through the "
                "server. For customers.",
                201,
                "Placed",
                "400 401 403 404 409 410 413 415 422 429 503",
                body=ref("NewOrder"),
                parameters=[API_KEY, KEY | {"required": True}],
            )
        },
    }


def _ticket_calls() -> dict[str, Any]:
    ticket = "/api/v1/tickets/{desk}/{number}"
    link = ticket + "/links/{ref}"
    written = "400 401 404 409 413 415 422 503"
    return {
        ticket: _get("A ticket with its links.", "Ticket", "401 404 503", WHERE),
        f"{ticket}/organisation": _post(
            "Say whose ticket it is; null for nobody's but the requester's. For agents of its desk.",
            "Ticket",
            written,
            WHERE,
            body=ref("Choose"),
        ),
        f"{ticket}/texts": _get(
            "What to send along with a link, for the caller to fill {link} and {until} in. For agents.",
            "Texts",
            "401 404 503",
            WHERE,
        ),
        f"{link}/revoke": _post(
            "End a link unread. For agents of the ticket's desk.",
            "TicketLink",
            "400 401 404 410 413 415 422 503",
            WHICH,
            body=ref("Nothing"),
            optional=True,
        ),
        f"{link}/unlock": _post(
            "Give all tries at a link's password back. For agents of the ticket's desk.",
            "TicketLink",
            "400 401 404 409 410 413 415 422 503",
            WHICH,
            body=ref("Nothing"),
            optional=True,
        ),
        f"{link}/note": _post(
            "Write a pick-up link into an internal note: collecting takes an agent all the same.",
            None,
            written,
            WHICH,
            body=ref("PickUp"),
        ),
        f"{link}/reply": _post(
            "Have the desk send a reply, once for each link. What it says passes through the server.",
            None,
            written,
            WHICH,
            body=ref("Reply"),
        ),
    }
