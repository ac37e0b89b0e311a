"""One-time secrets whose links open exactly once.

From the bottom up; each module uses only what stands above it:

=================  =======================================================================================
``errors``         everything that can go wrong, as one tree; knows nothing of HTTP
``location``       the addresses of store and ledger, read and checked
``settings``       all settings; the only reader of the environment
``payload``        what is inside an envelope: header, content, padding
``envelope``       the client's half of the format: links, keys, sealing (docs/format.md)
``atrest``         the server's half: keyring, Argon2 in slots, the record layer
``model``          the words of the rules: receipt, look, verdict, view, and what store and ledger must do
``ends``           what has become of a secret, and telling it; asks the ledger
``tries``          reserving and settling tries at a password
``vault``          the rules: create, state, claim, done, revoke, unlock, report, request, answer
``serverside``     the server sealing and opening for those who cannot
``epochs``         what a node of the ledger says of itself, and whether it is believed
``rules``          the Lua files, and how one is run
``wire``           a conversation with a server, over a connection of the thread's own
``node``           a Redis-compatible server as we use it
``cluster``        a Redis Cluster, used alike
``connections``    from an address to one or the other
``store``          records and receipts          ``lua/`` holds its rules,
``shard``          one node of the ledger                  and the ledger's
``ledger``         the set-once register of ends, on its nodes
``tokens``         API tokens
``processes``      child processes, signals, locks
``embedded``       the embedded default: store and ledger as child processes
``backends``       store and ledger as the settings name them
``hygiene``        what has ended leaves the disk: files of the store are written anew
``web``            Flask: API, pages, errors, limits, logs, metrics
``client``         the service's other end of the wire, for the command line
``terminal``       where the command line reads and writes: files, pipes, the terminal
``cli``            the command line
``tickets``        links on the tickets of a helpdesk: a package with a map of its own
=================  =======================================================================================

``app.py`` beside this package decides what talks to what.
"""

__version__ = "0.1.0"
