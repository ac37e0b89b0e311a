"""HTTP: requests in, answers out; the rules themselves live in ``secretsvc.vault``."""
