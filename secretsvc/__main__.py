"""``python -m secretsvc`` is the command line."""

import sys

from secretsvc.cli import main

sys.exit(main())
