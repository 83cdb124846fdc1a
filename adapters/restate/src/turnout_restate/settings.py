"""The vendor's settings, read from the mapping that the adapter is given; all faults at once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from turnout.errors import InvalidSettings, LaptopSetting
from turnout.model.addresses import is_address

MOUNT = "/turnout/restate"

_IDENTITY_KEY = re.compile(r"publickeyv1_[1-9A-HJ-NP-Za-km-z]{32,64}")


@dataclass(frozen=True, kw_only=True)
class RestateSettings:
    """Where the server is, with what token, and where it reaches this service."""

    ingress: str
    """The address that takes invocations."""
    admin: str
    """The address of the admin API."""
    service_url: str
    token: str | None = field(default=None, repr=False)
    """The bearer token of both; none on a server of one's own."""
    identity_keys: tuple[str, ...] = ()
    """Public keys of the servers that may call this service; none: whoever reaches it."""

    @property
    def served_at(self) -> str:
        """The address that is registered as the deployment."""
        return self.service_url + MOUNT


def read_settings(
    environ: Mapping[str, str], service_url: str | None, *, deployed: bool = False
) -> RestateSettings:
    """Read the settings; InvalidSettings names every one that is missing or wrong.

    deployed: a service that whoever reaches it may call is a LaptopSetting.
    """
    faults: list[str] = []
    ingress = _address(environ, "RESTATE_INGRESS_URL", "http://127.0.0.1:8080", faults)
    admin = _address(environ, "RESTATE_ADMIN_URL", "http://127.0.0.1:9070", faults)
    if not service_url:
        faults.append("TURNOUT_SERVICE_URL: set it to where Restate reaches this service")
    elif not is_address(service_url):
        faults.append("TURNOUT_SERVICE_URL: is not a URL like https://agents.example.org")
    listed = environ.get("RESTATE_IDENTITY_KEYS", "").split(",")
    keys = tuple(key.strip() for key in listed if key.strip())
    if not all(_IDENTITY_KEY.fullmatch(key) for key in keys):
        faults.append("RESTATE_IDENTITY_KEYS: are public keys like publickeyv1_…, with commas")
    is_open = deployed and not keys
    if is_open:
        faults.append(
            "RESTATE_IDENTITY_KEYS: are missing; outside of development only the servers with these"
            " keys may call this service"
        )
    if faults:
        raise (LaptopSetting if is_open else InvalidSettings)("; ".join(faults))
    return RestateSettings(
        ingress=ingress,
        admin=admin,
        service_url=(service_url or "").rstrip("/"),
        token=environ.get("RESTATE_AUTH_TOKEN") or None,
        identity_keys=keys,
    )


def _address(environ: Mapping[str, str], name: str, example: str, faults: list[str]) -> str:
    address = environ.get(name, "")
    if not address:
        faults.append(f"{name}: is missing; a server on this machine has {example}")
    elif not is_address(address):
        faults.append(f"{name}: is not a URL without a user, like {example}")
    return address.rstrip("/")
