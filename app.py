"""The composition root: what talks to what is decided here and nowhere else.

``create_app()`` is what a WSGI server loads.  ``python app.py`` runs everything: with no Redis configured it
starts a store and a ledger of its own, makes a master key on the first start, and serves.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from secretsvc import atrest, embedded, settings
from secretsvc.backends import connect
from secretsvc.errors import LedgerUnavailable, Misconfigured, Unavailable
from secretsvc.processes import Command, Signals
from secretsvc.settings import Settings, variable
from secretsvc.tickets import backlog, forms
from secretsvc.tickets import config as tickets_config
from secretsvc.tickets.commands import tell_first_link
from secretsvc.tickets.config import Config
from secretsvc.tickets.couriers import Couriers
from secretsvc.tickets.desks import open_desks
from secretsvc.tickets.mail import Mailer
from secretsvc.tickets.notifier import Notifier
from secretsvc.tickets.oidc import SignIns
from secretsvc.tickets.orders import Orders
from secretsvc.tickets.outgoing import Webhooks
from secretsvc.tickets.rules import DAY
from secretsvc.tickets.service import Tickets
from secretsvc.tickets.sessions import HOURS, Sessions
from secretsvc.tickets.store import TicketStore
from secretsvc.tickets.web import openapi as tickets_openapi
from secretsvc.tickets.web import signin
from secretsvc.tickets.web.answering import answering
from secretsvc.tickets.web.api import tickets_api
from secretsvc.tickets.web.module import Module
from secretsvc.tickets.web.ordering import ordering
from secretsvc.tickets.web.pages import tickets_pages
from secretsvc.tickets.web.session import People, signed_in
from secretsvc.tokens import Tokens
from secretsvc.vault import Rules, Vault
from secretsvc.web import headers, language, logs, metrics, openapi, problems, sight, theme
from secretsvc.web.api import api
from secretsvc.web.application import Application
from secretsvc.web.assets import Assets
from secretsvc.web.limits import Limits, bound_bodies
from secretsvc.web.pages import pages
from secretsvc.web.service import Service

ROOT = Path(__file__).resolve().parent
WEB = (sys.executable, "-m", "gunicorn", "-c", "python:secretsvc.web.gunicorn_conf", "app:create_app()")
log = logging.getLogger("secretsvc")


def create_app(conf: Settings | None = None, *, service: Service | None = None) -> Flask:
    """The WSGI application.

    Args:
        conf: settings; by default those of the environment.
        service: what the views work with; by default made from the settings.

    Raises:
        Misconfigured: naming what this service refuses to start with.
    """
    conf = conf or settings.load()
    logs.configure(conf.log_level)
    assets = Assets(ROOT / "static")
    app = Application(__name__, root_path=str(ROOT), static_url_path=assets.path)
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 365 * 86_400  # the path changes with any of the files
    # The JSON escape \u0000 makes six bytes of one: a body may be that much larger than its secret.
    app.config["MAX_CONTENT_LENGTH"] = 6 * conf.max_secret_bytes + 65_536
    app.config["MAX_SECRET_BYTES"] = conf.max_secret_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = app.config["MAX_CONTENT_LENGTH"]
    app.jinja_options = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    app.jinja_env.globals |= {"assets": assets, "conf": conf, "operator": conf.operator}
    app.jinja_env.filters["rfc3339"] = problems.rfc3339
    language.install(app)
    theme.install(app, theme.load(conf))
    app.extensions["secretsvc"] = service = service or make_service(conf)
    app.extensions["secretsvc.tickets"] = module = service.desks
    sight.install(app, service, watch(module) if isinstance(module, Module) else None)
    for blueprint in (api, tickets_api, answering, ordering, tickets_pages, pages):
        app.register_blueprint(blueprint)
    if isinstance(module, Module):
        signin.install(app, make_people(conf, module))
    openapi.install(app, conf, tickets_openapi.part())
    problems.install(app)
    bound_bodies(app)
    logs.log_requests(app, metrics.request, clients=conf.log_clients)
    headers.install(app, https=conf.https)
    if conf.trusted_proxies:
        hops = conf.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=0, x_host=0)  # type: ignore[method-assign]
    metrics.begin(conf.argon2_slots, openapi.KINDS)
    return app


def make_service(conf: Settings) -> Service:
    """Everything the views need, made from the settings.

    Raises:
        Misconfigured: naming what this service refuses to start with.
    """
    config = tickets_config.load(conf.tickets_file)
    try:
        keyring = atrest.load_keyring(conf.keyring_path)
        store, ledger = connect(conf)
    except Unavailable as error:
        which = variable("ledger_urls" if isinstance(error, LedgerUnavailable) else "redis_url")
        raise Misconfigured(f"{which}: the server does not answer.") from None
    rules = Rules(
        retry_window=conf.retry_window,
        retention=conf.receipt_retention,
        tries=conf.password_tries,
        argon2=atrest.Argon2(conf.argon2_memory_kib, conf.argon2_passes, conf.argon2_lanes),
    )
    store.node.timed = metrics.Calls("store")
    for shard in ledger.shards:
        shard.node.timed = metrics.Calls("ledger")
    listed = TicketStore(store.node, retention=conf.receipt_retention)
    slots = atrest.Slots(conf.argon2_slots, watch=metrics.Slots())
    vault = Vault(store, ledger, keyring, slots, rules, listed, metrics.Tally())
    limits = Limits(
        store.node,
        keyring,
        create=conf.create_limit,
        create_bytes=conf.create_bytes_limit,
        password=conf.password_limit,
        sign_in=conf.sign_in_limit,
    )
    module = make_tickets(conf, config, vault, listed)
    return Service(conf, vault, store, ledger, Tokens(store.node), limits, module)


def make_tickets(conf: Settings, config: Config, vault: Vault, store: TicketStore) -> Module:
    """The ticket module, over the core and its part of the store.

    Raises:
        Misconfigured: naming what it refuses to start with.
    """
    desks = open_desks(config)
    found = forms.load(config.forms)
    languages = {name: desk.language for name, desk in config.desks.items()}
    tickets = Tickets(
        vault,
        store,
        desks,
        grace={name: desk.grace_days * DAY for name, desk in config.desks.items()},
        agencies=config.agencies,
    )
    couriers = Couriers(
        desks,
        languages,
        store,
        found,
        webhooks=Webhooks(config.webhooks, config.allow_networks) if config.webhooks else None,
        mailer=Mailer(config.mail) if config.mail else None,
        clock=vault.store.now,
        marker=tickets.marker,
    )
    return Module(
        config,
        tickets,
        found,
        Orders(tickets, config.orders, language=languages.get(config.orders, "en"), base_url=conf.base_url),
        Notifier(tickets, couriers),
        signed_in,
    )


def watch(module: Module) -> sight.Tickets:
    """What there is to see of the ticket module."""
    couriers, store = module.notifier.couriers, module.tickets.store
    notes = any(desk.notes for desk in couriers.desks.values())
    tells = bool(notes or couriers.webhooks or couriers.mailer)
    return sight.Tickets(tells, lambda: backlog.look(store))


def make_people(conf: Settings, module: Module) -> People:
    """How people sign in.

    Raises:
        Misconfigured: the provider's settings are refused.
    """
    store, sign_in = module.tickets.store, module.config.sign_in
    provider = SignIns(sign_in, store.node, conf.base_url + signin.BACK) if sign_in else None
    return People(Sessions(store.node, sign_in.hours if sign_in else HOURS), provider, store.note_person)


def notify(conf: Settings) -> int:
    """Run the notifier, a process of its own, until a signal ends it; the exit code."""
    module = create_app(conf).extensions["secretsvc.tickets"]
    with Signals() as signals:
        module.notifier.start()
        while not signals.asked_to_stop:
            signals.wait()
        module.notifier.stop()
    return 0


def main(arguments: Sequence[str] = ()) -> int:
    """Run the service in the foreground, or with ``notifier`` what tells tickets of it; the exit code."""
    os.chdir(ROOT)  # where the web server finds this module; a relative data folder counts from here
    try:
        conf = settings.load()
        logs.configure(conf.log_level)
        if list(arguments) == ["notifier"]:
            return notify(conf)
        if arguments:
            print("secretsvc: expected no arguments, or: notifier", file=sys.stderr)
            return 2
        if not conf.embedded:
            os.execv(WEB[0], WEB)  # noqa: S606 - our own interpreter, no shell
        data_dir = Path(conf.data_dir)
        atrest.first_key(conf.keyring_path, data_dir)
        web = Command(WEB, settings.environment())

        def begin(_: embedded.Sockets) -> Command:
            tell_first_link(conf)
            return web

        log.info("serving", extra={"fields": {"url": conf.base_url, "data": str(data_dir.resolve())}})
        return embedded.supervise(data_dir, begin, maxmemory_bytes=conf.embedded_memory)
    except (Misconfigured, Unavailable) as error:
        print(f"secretsvc: {error.detail}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
