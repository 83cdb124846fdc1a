"""What can be wrong with settings beyond their types: names, addresses, the app's spelling.

Each fault is a sentence that begins with the setting's name, and shows no value that may be secret.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from urllib.parse import urlsplit

from turnout.bootstrap.adapters import installed, select_by_names
from turnout.errors import TurnoutError

DATABASE_SETTINGS = (
    "TURNOUT_DATABASE_URL",
    "TURNOUT_DATABASE_DIRECT_URL",
    "TURNOUT_SHADOW_DATABASE_URL",
)
SETTINGS = (
    *("ORCHESTRATOR_PROVIDER", "ORCHESTRATOR_PRIMARY", "ORCHESTRATOR_SHADOW"),
    *("TURNOUT_APP", "TURNOUT_ENV", *DATABASE_SETTINGS),
    *("TURNOUT_ARTIFACTS", "TURNOUT_ARTIFACTS_CLIENT", "TURNOUT_SIGNING_KEYS"),
    *("TURNOUT_DEFINITIONS", "TURNOUT_SERVICE_URL"),
    *("TURNOUT_LEASE", "TURNOUT_SILENCE", "TURNOUT_DUAL_LAG", "TURNOUT_DUAL_LONGEST_WAIT"),
    *("TURNOUT_VENDOR_DATA", "TURNOUT_EVENTS_TOKEN", "TURNOUT_RECONCILE", "TURNOUT_TZ"),
)
"""The settings that a user may have meant."""

KUBERNETES_NAME = re.compile(r"\w+_(?:SERVICE_HOST|SERVICE_PORT\w*|PORT(?:_\d+_\w+)?)")
"""Names that Kubernetes sets for a service which is called `turnout` or `orchestrator`."""

DATABASES = {"sqlite", "sqlite+pysqlite", "postgresql", "postgres", "postgresql+psycopg"}
FORMS = "sqlite:///path/to/file, sqlite:// (in memory) or postgresql://user@host/database"


def setting_faults(raw: Mapping[str, str]) -> Iterable[str]:
    """Yield every fault of the settings that their types do not show."""
    yield from _unknown(raw)
    yield from _provider(raw)
    for name in DATABASE_SETTINGS:
        if name in raw:
            yield from (f"{name}: {fault}" for fault in _database(raw[name]))
    if "TURNOUT_ARTIFACTS" in raw:
        yield from _artifacts(raw["TURNOUT_ARTIFACTS"], raw)
    if "TURNOUT_APP" in raw:
        yield from (f"TURNOUT_APP: {fault}" for fault in app_faults(raw["TURNOUT_APP"]))
    if "TURNOUT_SERVICE_URL" in raw:
        fault = service_fault(raw["TURNOUT_SERVICE_URL"])
        yield from [f"TURNOUT_SERVICE_URL: {fault}"] if fault else []


def app_faults(name: str) -> Iterable[str]:
    """Say how an app's name is to be spelt."""
    module, _, attribute = name.partition(":")
    if "/" in module or module.endswith(".py"):
        dotted = module.removesuffix(".py").replace("/", ".").strip(".")
        yield f"{name!r} is a file's name; write {dotted or 'module'}:{attribute or 'attribute'}"
    elif not all(part.isidentifier() for part in (*module.split("."), attribute or "app")):
        yield f"{name!r} is not an app's name; write module:attribute"


def _unknown(raw: Mapping[str, str]) -> Iterable[str]:
    """Refuse unknown names with our prefix, and names that look like a misspelt setting."""
    for name in sorted(raw):
        prefixed = name.startswith("TURNOUT_")
        if not prefixed and not name.startswith("ORCHESTRATOR_"):
            continue
        if name in SETTINGS or KUBERNETES_NAME.fullmatch(name) or _of_a_vendor(name):
            continue
        near = get_close_matches(name, SETTINGS, n=1, cutoff=0.7 if prefixed else 0.8)
        if near:
            yield f"{name}: there is no such setting; did you mean {near[0]}?"
        elif prefixed:
            yield f"{name}: there is no such setting; those there are: {', '.join(SETTINGS)}"


def _of_a_vendor(name: str) -> bool:
    """Whether the tests of an installed adapter read it: it is TURNOUT_<vendor>_<something>."""
    _, vendor, *words = name.lower().split("_")
    shortest = 4
    return (
        bool(words)
        and len(vendor) >= shortest
        and any(provider.startswith(vendor) for provider in installed())
    )


def _provider(raw: Mapping[str, str]) -> Iterable[str]:
    try:
        select_by_names(
            raw.get("ORCHESTRATOR_PROVIDER"),
            primary=raw.get("ORCHESTRATOR_PRIMARY"),
            shadow=raw.get("ORCHESTRATOR_SHADOW"),
            production=raw.get("TURNOUT_ENV", "development") != "development",
        )
    except TurnoutError as error:
        message = str(error)
        yield message if "ORCHESTRATOR_" in message else f"ORCHESTRATOR_PROVIDER: {message}"


def _database(url: str) -> Iterable[str]:
    scheme, separator, path = url.partition("://")
    if not separator or not re.fullmatch(r"[a-z0-9+]{1,20}", scheme):
        # Not shown: there may be a password in it.
        yield f"the run store's URL cannot be read; write {FORMS}"
    elif scheme not in DATABASES:
        yield f"no run store for {scheme!r}; write {FORMS}"
    elif scheme.startswith("sqlite") and path and not path.startswith("/"):
        yield "a file's path begins with a third slash; write sqlite:///path/to/file"


def _artifacts(url: str, raw: Mapping[str, str]) -> Iterable[str]:
    if "://" in url:
        from turnout.stores.artifacts.opening import store_opener

        try:
            store_opener(url, raw)
        except TurnoutError as error:
            yield str(error)


def service_fault(url: str) -> str | None:
    """Say what is wrong with the service's own address, without the address: others read it."""
    wrong = "is not a URL like https://agents.example.org"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return wrong
    if not usable or not url.isprintable() or " " in url:
        return wrong
    if "@" in parts.netloc or "?" in url or "#" in url:
        return "has a user, a query or a fragment; give an address like https://agents.example.org"
    return None
