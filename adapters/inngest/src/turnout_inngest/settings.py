"""The vendor's settings, read from the mapping that the adapter is given; all faults at once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

from turnout.errors import InvalidDefinition, InvalidSettings, LaptopSetting
from turnout.model.addresses import is_address
from turnout.model.ids import check_event_name

Transport = Literal["serve", "connect"]

DEV_SERVER = "http://127.0.0.1:8288"
CLOUD_API, CLOUD_EVENTS = "https://api.inngest.com", "https://inn.gs"
MOUNT = "/turnout/inngest"
"""Beside, not at, the vendor's usual path: an application of the team's own may be served there."""
SERVED_AT = "/functions"

_NAMES = (
    "INNGEST_DEV",
    "INNGEST_BASE_URL",
    "INNGEST_API_BASE_URL",
    "INNGEST_EVENT_API_BASE_URL",
    "INNGEST_EVENT_KEY",
    "INNGEST_SIGNING_KEY",
)
SUBSCRIBED = "subscribed"
"""In the place of names: every event that a task of the app subscribes to, or is cancelled by."""
MAX_KEY = 512
STARTS = "adopted/"
"""What an event's name begins with that starts one adopted task, whatever its triggers ask."""
RESERVED = ("inngest/", "turnout/", STARTS)
"""What the names of events begin with that nobody sends from outside."""

_SIGNING_KEY = re.compile(r"(?:signkey-[\w-]+-)?(?:[0-9a-fA-F]{2})+")
_ON, _OFF = {"1", "true", "yes"}, {"", "0", "false", "no"}


@dataclass(frozen=True, kw_only=True)
class InngestSettings:
    """Where the vendor's server is, with what keys, and where it reaches this service."""

    api: str
    """The address of its API."""
    events: str
    """The address that takes events."""
    service_url: str
    production: bool
    """Whether requests are signed: on the cloud, or on a server of one's own."""
    event_key: str | None = field(default=None, repr=False)
    signing_key: str | None = field(default=None, repr=False)
    signing_key_fallback: str | None = field(default=None, repr=False)
    environment: str | None = None
    """A branch environment of the vendor's cloud."""
    transport: Transport = "serve"
    """Whether the server calls us, or we hold a socket to it."""
    gateway: str | None = None
    """Where the socket's other end is seen from here, if not where the server says."""
    ingress: tuple[str, ...] = ()
    """Names of events that other senders post there, to be emitted here."""
    door_keys: tuple[str, ...] = field(default=(), repr=False)
    """Who may post events to this service; none: nobody."""
    replaces: bool = False
    """Whether functions of another deployable under our app's name give way to ours."""

    @property
    def served_at(self) -> str:
        """The path that the vendor calls."""
        return urlsplit(self.service_url).path.rstrip("/") + MOUNT + SERVED_AT


def read_settings(
    environ: Mapping[str, str], service_url: str | None, *, deployed: bool = False
) -> InngestSettings:
    """Read the settings; InvalidSettings names every one that is missing or wrong.

    deployed: INNGEST_DEV is a LaptopSetting.
    """
    if not any(environ.get(name) for name in _NAMES):
        raise InvalidSettings(
            "Inngest is not set up: set INNGEST_DEV=1 for a dev server, or INNGEST_SIGNING_KEY and"
            " INNGEST_EVENT_KEY (and, for a server of your own, INNGEST_BASE_URL)"
        )
    faults: list[str] = []
    dev, dev_url = _dev(environ.get("INNGEST_DEV", ""), faults)
    if dev and deployed:
        faults.append(
            "INNGEST_DEV: is for a dev server, with which calls are not signed and anybody can"
            " start runs, and TURNOUT_ENV is not development; unset it, and set"
            " INNGEST_SIGNING_KEY and INNGEST_EVENT_KEY"
        )
    api, events = _addresses(environ, dev_url if dev else None, faults, cloud=not dev)
    if not dev:
        faults += _missing_keys(environ)
    for name in ("INNGEST_SIGNING_KEY", "INNGEST_SIGNING_KEY_FALLBACK"):
        if environ.get(name) and _SIGNING_KEY.fullmatch(environ[name]) is None:
            faults.append(f"{name}: is hex with an even number of digits, after signkey-…- if any")
    transport = _transport(environ, faults)
    if service_url is None and transport == "serve":
        faults.append("TURNOUT_SERVICE_URL: set it to where Inngest reaches this service")
    elif service_url is not None and not is_address(service_url):
        faults.append("TURNOUT_SERVICE_URL: is not a URL like https://agents.example.org")
    ingress, door_keys = _ingress(environ, faults), _door_keys(environ, faults)
    replaces = _yes(environ, "TURNOUT_INNGEST_REPLACE", faults)
    if faults:
        raise (LaptopSetting if dev and deployed else InvalidSettings)("; ".join(faults))
    return InngestSettings(
        api=api,
        events=events,
        service_url=(service_url or "").rstrip("/"),
        production=not dev,
        event_key=environ.get("INNGEST_EVENT_KEY"),
        signing_key=environ.get("INNGEST_SIGNING_KEY"),
        signing_key_fallback=environ.get("INNGEST_SIGNING_KEY_FALLBACK"),
        environment=environ.get("INNGEST_ENV"),
        transport=transport,
        gateway=environ.get("TURNOUT_INNGEST_GATEWAY"),
        ingress=ingress,
        door_keys=door_keys,
        replaces=replaces,
    )


def _dev(text: str, faults: list[str]) -> tuple[bool, str]:
    """Whether a dev server is meant, and where it is: INNGEST_DEV is a yes, a no, or a URL."""
    if text.lower() in _OFF:
        return False, ""
    if text.lower() in _ON:
        return True, DEV_SERVER
    if not is_address(text):
        faults.append(
            "INNGEST_DEV: is neither 1, nor 0, nor a URL without a user, like http://127.0.0.1:8288"
        )
    return True, text


def _addresses(
    environ: Mapping[str, str], dev_url: str | None, faults: list[str], *, cloud: bool
) -> tuple[str, str]:
    base = environ.get("INNGEST_BASE_URL")
    api = environ.get("INNGEST_API_BASE_URL") or base
    events = environ.get("INNGEST_EVENT_API_BASE_URL") or base
    faults += [
        f"{name}: is not a URL without a user, like https://inngest.example.org"
        for name in ("INNGEST_BASE_URL", "INNGEST_API_BASE_URL", "INNGEST_EVENT_API_BASE_URL")
        if environ.get(name) and not is_address(environ[name])
    ]
    if cloud and (api is None) != (events is None):
        # One of the two alone would send half of the traffic to the vendor's cloud.
        missing = "INNGEST_API_BASE_URL" if api is None else "INNGEST_EVENT_API_BASE_URL"
        faults.append(f"{missing}: is missing beside the other; or set INNGEST_BASE_URL for both")
    return (
        (api or dev_url or CLOUD_API).rstrip("/"),
        (events or dev_url or CLOUD_EVENTS).rstrip("/"),
    )


def _transport(environ: Mapping[str, str], faults: list[str]) -> Transport:
    """Read the transport: `serve` by default; a gateway is only for `connect`."""
    named = environ.get("TURNOUT_INNGEST_TRANSPORT") or "serve"
    if named not in get_args(Transport):
        faults.append("TURNOUT_INNGEST_TRANSPORT: is neither serve nor connect")
    gateway = environ.get("TURNOUT_INNGEST_GATEWAY")
    if gateway and not re.fullmatch(r"wss?://[^\s/@]+(?:/\S*)?", gateway):
        faults.append("TURNOUT_INNGEST_GATEWAY: is not a URL like wss://inngest.example.org:8289/…")
    return cast("Transport", named)


def _ingress(environ: Mapping[str, str], faults: list[str]) -> tuple[str, ...]:
    names = _listed(environ.get("TURNOUT_INNGEST_INGRESS", ""))
    for name in names:
        if name == SUBSCRIBED:
            continue
        try:
            check_event_name(name)
        except InvalidDefinition as error:
            faults.append(f"TURNOUT_INNGEST_INGRESS: {error}")
        if name.startswith(RESERVED):
            faults.append(f"TURNOUT_INNGEST_INGRESS: {name!r} is nobody's to send")
    return names


def _door_keys(environ: Mapping[str, str], faults: list[str]) -> tuple[str, ...]:
    keys = _listed(environ.get("TURNOUT_INNGEST_EVENT_KEYS", ""))
    if any(len(key) > MAX_KEY or "/" in key for key in keys):
        faults.append(
            f"TURNOUT_INNGEST_EVENT_KEYS: a key has at most {MAX_KEY} characters, no slash"
        )
    return keys


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))


def _yes(environ: Mapping[str, str], name: str, faults: list[str]) -> bool:
    text = environ.get(name, "").lower()
    if text not in _ON | _OFF:
        faults.append(f"{name}: is neither 1 nor 0")
    return text in _ON


def _missing_keys(environ: Mapping[str, str]) -> list[str]:
    names = ("INNGEST_SIGNING_KEY", "INNGEST_EVENT_KEY")
    return [
        f"{name}: is missing; without INNGEST_DEV requests are signed"
        for name in names
        if not environ.get(name)
    ]
