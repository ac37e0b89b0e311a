"""What the service costs, measured beside others on the same machine in the same minutes.

================  ========================================================================================
``generator``     sends prepared requests over connections that stay, and takes the time of each
``processes``     CPU and memory of a tree of processes, from /proc
``servers``       starts what is compared: this service, and gunicorn with any other application
``baselines``     the smallest applications there can be, for gunicorn to serve
``snappass``      SnapPass itself from its source package; where that cannot be had, what it does
``rows``          what is sent to whom
``table``         medians, percentiles, ratios taken inside a round
``stored``        what a secret takes in the store, and in the ledger once it has ended
``million``       ``python -m bench.million``: does the millionth secret cost what the first one did?
``shapes``        ``python -m bench.shapes``: what other ways to store it would take
``scale``         ``python -m bench.scale``: one and two web processes, one Redis and a Cluster
================  ========================================================================================

``python -m bench`` prints the table.  Everything runs on the loopback interface, on servers of its own in a
folder that is removed afterwards.
"""
