"""A throw-away Request Tracker 5 of the tests' own: a real one, on loopback, with SQLite."""
