"""Settings are all checked at start, and all in the README."""

from __future__ import annotations

import re

import pytest

from secretsvc import settings
from secretsvc.errors import Misconfigured
from secretsvc.settings import Settings, from_env, variable
from tests.harness import ROOT


def test_defaults_need_no_environment() -> None:
    found = from_env({"PATH": "/bin"})
    assert found == Settings()
    assert found.base_url == "http://127.0.0.1:8000"
    assert found.embedded


def test_an_empty_variable_counts_as_not_set() -> None:
    assert from_env({"SECRETSVC_WORKERS": ""}) == Settings()


def test_a_misspelt_variable_is_refused_with_the_right_one() -> None:
    with pytest.raises(Misconfigured, match="SECRETSVC_RETRY_WINDOW"):
        from_env({"SECRETSVC_RETRY_WINDOWS": "5"})


REFUSED = {
    "workers": ["0", "-1", "two", "1.5", "1e9"],
    "threads": ["0"],
    "create": ["everyone"],
    "open": ["staff"],
    "retry_window": ["0", "601"],
    "rewrite_every": ["0", "59"],
    "default_expires_in": ["59", "2678401", "1d"],
    "max_secret_bytes": ["0", "1023", "99999999999"],
    "argon2_memory_kib": ["1024", "262145"],
    "password_tries": ["0", "101"],
    "bind": ["8000", "localhost", "a:b:c"],
    "public_url": [
        "example.org",
        "ftp://example.org",
        "https://example.org/",
        "https://u:pw@example.org",
        "https://",
    ],
    "redis_url": ["http://localhost", "localhost:6379", "redis://a,redis://b", "redis+sentinel://u:pw@a"],
    "log_level": ["loud"],
    "trusted_proxies": ["-1", "11"],
}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in REFUSED.items() for v in values])
def test_a_bad_value_is_refused_by_name_and_not_repeated(field: str, value: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        from_env(
            {variable(field): value, variable("ledger_urls"): "redis://ledger"}
            if field == "redis_url"
            else {variable(field): value}
        )
    assert variable(field) in str(refused.value)
    assert "pw" not in str(refused.value)


def test_a_redis_without_a_ledger_is_refused() -> None:
    with pytest.raises(Misconfigured, match="SECRETSVC_LEDGER_URLS is missing"):
        from_env({"SECRETSVC_REDIS_URL": "redis://store"})
    with pytest.raises(Misconfigured, match="SECRETSVC_REDIS_URL is missing"):
        from_env({"SECRETSVC_LEDGER_URLS": "redis://ledger"})
    with pytest.raises(Misconfigured, match="must not be the store"):
        from_env({"SECRETSVC_REDIS_URL": "redis://one", "SECRETSVC_LEDGER_URLS": "redis://two,redis://one"})


def test_each_node_of_the_ledger_is_one_server() -> None:
    """One that fails over forgets what its replica had not heard of."""
    for url in ("redis+sentinel://host/main", "redis+cluster://host"):
        with pytest.raises(Misconfigured, match="SECRETSVC_LEDGER_URLS: each node is a single server"):
            from_env({"SECRETSVC_REDIS_URL": "redis://one", "SECRETSVC_LEDGER_URLS": f"redis://two,{url}"})
    with pytest.raises(Misconfigured, match="names one server twice"):
        from_env({"SECRETSVC_REDIS_URL": "redis://one", "SECRETSVC_LEDGER_URLS": "redis://two, redis://two"})
    found = from_env({"SECRETSVC_REDIS_URL": "redis://one", "SECRETSVC_LEDGER_URLS": " redis://a, redis://b,"})
    assert found.ledgers == ("redis://a", "redis://b")


def test_the_embedded_store_has_no_replicas_to_wait_for() -> None:
    with pytest.raises(Misconfigured, match="SECRETSVC_WAIT_REPLICAS"):
        from_env({"SECRETSVC_WAIT_REPLICAS": "1"})


GOOD_DURATIONS = {
    "60": 60,
    "90s": 90,
    "30m": 1800,
    "12h": 43_200,
    " 3d ": 259_200,
    "2w": 1_209_600,
    "31d": 2_678_400,
}


@pytest.mark.parametrize(("text", "seconds"), GOOD_DURATIONS.items())
def test_durations_are_read_as_people_write_them(text: str, seconds: int) -> None:
    assert settings.duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["59", "32d", "3x", "", "-1", "1.5h", "1e3", "3 d", "٣d", "3D", "999999999999d"]
)
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="60 seconds to 31 days"):
        settings.duration(text)


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(SECRETSVC_[A-Z0-9_]+)` \| ([^|]*) \|", readme, re.M))
    assert set(rows) == {variable(field) for field in Settings.__struct_fields__}
    for field, default in zip(Settings.__struct_fields__, Settings.__struct_defaults__, strict=True):
        said = rows[variable(field)].strip().strip("`").replace(",", "")
        assert said == (str(default) if default != "" else "-"), variable(field)


def test_the_readers_of_the_environment_are_settings_alone() -> None:
    for path in [ROOT / "app.py", *(ROOT / "secretsvc").rglob("*.py")]:
        if path.name != "settings.py":
            assert not re.search(r"\benviron\b|\bgetenv\b", path.read_text()), path
    assert "environ" in (ROOT / "secretsvc" / "settings.py").read_text()
    assert settings.PREFIX == "SECRETSVC_"
