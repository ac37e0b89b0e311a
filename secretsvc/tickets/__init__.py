"""Tickets: links in replies, credentials from customers, and a trail in the ticket; thin, beside a helpdesk.

From the bottom up; each module uses only what stands above it, and nothing in the core uses any of them:

=================  =======================================================================================
``model``          the words: reference, ticket, note, hint, and what a desk must do
``config``         the module's own file of settings
``rules``          whose ticket it is, who may see what, and when that stands still
``links``          what is kept of a link: how it was made, and what was noticed of it
``trail``          from receipts to events
``outbox``         what is to be told, where, and how far that has come
``store``          all of that in Redis
``backlog``        what waits, and what was told, for whoever watches over it
``formparts``      what forms are made of
``tomllines``      where something stands in a TOML file
``form``           a form: what it asks, and what its answers are
``forms``          the forms there are                             ``forms/`` holds ours
``wording``        times, and the trail's sentences
``texts``          what an agent sends along with a link
``service``        what agents and customers do with a ticket's links
``deadline``       a time for all of a call
``guard``          which addresses webhooks may reach
``outgoing``       webhooks
``mail``           mails
``desks``          the helpdesks
``notices``        what followers read
``notes``          what stands in the helpdesk beside the trail
``orders``         credentials that a customer hands in unasked
``couriers``       carries events to where they are told
``notifier``       looks at tickets, and tells what has happened
``sessions``       who is signed in
``claims``         what a provider says of somebody, as a person
``provider``       calls to an OpenID Connect provider
``oidc``           signing in at an OpenID Connect provider
``web``            pages and API
``commands``       the operator's part of the command line
``remote``         the service's other end of the wire
``replies``        what its commands for agents have in common
``cli``            the agents' part of the command line
=================
"""
