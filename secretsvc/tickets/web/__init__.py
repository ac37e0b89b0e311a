"""The ticket module over HTTP: its pages under ``/desk`` and its part of the API."""
