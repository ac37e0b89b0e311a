"""The command line as people run it: the core's commands and the ticket module's."""

import sys

from secretsvc import cli

TICKETS = {"ticket": "secretsvc.tickets.cli", "people": "secretsvc.tickets.commands"}


def main() -> int:
    """Run a command; the exit code."""
    return cli.main(also=TICKETS)


if __name__ == "__main__":
    sys.exit(main())
