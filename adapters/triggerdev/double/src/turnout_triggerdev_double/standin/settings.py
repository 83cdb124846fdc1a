"""The settings, from the environment and the command line."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_CONCURRENCY = 25
"""As many as the vendor's CLI takes from a server with the defaults."""
DEFAULT_PROJECT = "proj_turnoutoffline00000"


class WrongSettings(Exception):
    """Settings are missing or wrong; the text names all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandInSettings:
    """Where the server is, how to speak to it and to the service."""

    definition: Path
    api_url: str
    secret_key: str = field(repr=False)
    signing_keys: tuple[str, ...] = field(repr=False)
    service: str | None = None
    """Where the service is, if not where the definition says."""
    project: str = DEFAULT_PROJECT
    concurrency: int = DEFAULT_CONCURRENCY
    registers: bool = True


def settings(argv: Sequence[str] | None, environ: Mapping[str, str]) -> StandInSettings:
    """The settings. Raises WrongSettings."""
    options = _parser().parse_args(argv)
    keys = tuple(
        key.strip() for key in environ.get("TURNOUT_SIGNING_KEYS", "").split(",") if key.strip()
    )
    faults = [
        f"{name} is not set"
        for name in ("TRIGGER_API_URL", "TRIGGER_SECRET_KEY")
        if not environ.get(name)
    ]
    if not keys or not all(key.startswith("whsec_") for key in keys):
        faults.append("TURNOUT_SIGNING_KEYS must hold keys written whsec_…, separated by commas")
    service = environ.get("TURNOUT_SERVICE_URL") or None
    if service is not None and (fault := address_fault(service)):
        faults.append(f"TURNOUT_SERVICE_URL {fault}")
    if options.concurrency < 1:
        faults.append("--concurrency must be 1 or more")
    if faults:
        raise WrongSettings("; ".join(faults))
    return StandInSettings(
        definition=options.definition,
        api_url=environ["TRIGGER_API_URL"],
        secret_key=environ["TRIGGER_SECRET_KEY"],
        signing_keys=keys,
        service=None if service is None else service.rstrip("/"),
        project=environ.get("TRIGGER_PROJECT_REF") or DEFAULT_PROJECT,
        concurrency=options.concurrency,
        registers=not options.no_register,
    )


def address_fault(address: str) -> str | None:
    """What is wrong with a service's URL, without its secrets; None when nothing is."""
    try:
        parts = urlsplit(address)
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or any(character.isspace() for character in address):
        return "is not a URL like https://agents.example.org"
    if "@" in parts.netloc:
        return "must not hold a user or a password"
    if "?" in address or "#" in address:
        return "must not have a query or a fragment"
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="turnout_triggerdev_double.standin",
        description="Runs tasks as the TypeScript worker does: a double, not production.",
        epilog="Environment: TRIGGER_API_URL, TRIGGER_SECRET_KEY, TRIGGER_PROJECT_REF, "
        "TURNOUT_SIGNING_KEYS, TURNOUT_SERVICE_URL.",
    )
    parser.add_argument("--definition", type=Path, required=True, help="the definition file")
    parser.add_argument(
        "--concurrency",
        type=int,
        default=DEFAULT_CONCURRENCY,
        help="runs at once, waiting ones included",
    )
    parser.add_argument(
        "--no-register",
        action="store_true",
        help="take runs of a version that is there already: a deployment's",
    )
    return parser
