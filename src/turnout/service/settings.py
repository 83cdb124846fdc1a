"""What a service is set up with, as values. The names that users write are the aliases."""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
)

from turnout.errors import InvalidDefinition
from turnout.model.time import Millis, millis

HOME = ".turnout"
"""The folder of a development install's own files, in the working directory."""

KEY_PREFIX = "whsec_"
SHORTEST_KEY, LONGEST_KEY = 24, 64
"""Bytes of a signing key."""


def _list_of(text: Any) -> Any:
    """Split a list that is written with commas."""
    if isinstance(text, str):
        return tuple(item.strip() for item in text.split(",") if item.strip())
    return text


def _duration(text: Any) -> Any:
    """Read a duration like 15s; milliseconds, as an int, are taken as they are."""
    if not isinstance(text, str):
        return text
    try:
        return millis(text)
    except InvalidDefinition as error:
        raise ValueError(str(error)) from None


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Duration = Annotated[Millis, BeforeValidator(_duration)]


class Settings(BaseModel):
    """What the environment and the files say. Secrets are never shown."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    provider: str | None = Field(None, alias="ORCHESTRATOR_PROVIDER")
    """Where new runs go: an adapter's name, or `dual`; None: `local`."""
    primary: str | None = Field(None, alias="ORCHESTRATOR_PRIMARY")
    """In a dual run, the provider whose result counts."""
    shadow: str | None = Field(None, alias="ORCHESTRATOR_SHADOW")
    """In a dual run, the provider that runs the shadows."""
    app: str | None = Field(None, alias="TURNOUT_APP")
    """The app, as `module:attribute`."""
    environment: Literal["development", "preview", "staging", "production"] = Field(
        "development", alias="TURNOUT_ENV"
    )
    """All but development refuse defaults that are meant for a laptop."""
    database_url: SecretStr = Field(
        SecretStr(f"sqlite:///{HOME}/turnout.db"), alias="TURNOUT_DATABASE_URL"
    )
    """Where the run store is."""
    database_direct_url: SecretStr | None = Field(None, alias="TURNOUT_DATABASE_DIRECT_URL")
    """The same database past a pooler, for what needs a session: signals between processes."""
    shadow_database_url: SecretStr | None = Field(None, alias="TURNOUT_SHADOW_DATABASE_URL")
    """Where the shadows' run store is; None: beside the primary's."""
    artifacts: str | None = Field(f"{HOME}/artifacts", alias="TURNOUT_ARTIFACTS")
    """A folder or s3://bucket/prefix; `none` writes no artifacts, and is None here."""
    signing_keys: Annotated[tuple[SecretStr, ...], BeforeValidator(_list_of)] = Field(
        (), alias="TURNOUT_SIGNING_KEYS"
    )
    """Keys of the step protocol; a call that is signed with any of them is accepted."""
    service_url: str | None = Field(None, alias="TURNOUT_SERVICE_URL")
    """Where providers reach this service."""
    definitions: Annotated[tuple[Digest, ...], BeforeValidator(_list_of)] = Field(
        (), alias="TURNOUT_DEFINITIONS"
    )
    """Definitions of earlier versions, whose vendor workers are served while they are replaced."""
    vendor_data: Literal["inline", "reference"] = Field("inline", alias="TURNOUT_VENDOR_DATA")
    """Whether vendors get small results, errors' messages and progress, or digests only."""
    events_token: SecretStr | None = Field(None, alias="TURNOUT_EVENTS_TOKEN", min_length=16)
    """What readers of runs' event streams send; None: there are no event streams."""
    lease: Duration = Field(15_000, alias="TURNOUT_LEASE", ge=1_000)
    """For how long a claimed step stands without a sign of life from its worker."""
    silence: Duration = Field(600_000, alias="TURNOUT_SILENCE", ge=1_000)
    """For how long a vendor run that should call may be silent before it counts as lost."""
    dual_lag: Duration = Field(30_000, alias="TURNOUT_DUAL_LAG")
    """How long after its primary's emit a shadow starts."""
    longest_wait: Duration = Field(10_000, alias="TURNOUT_DUAL_LONGEST_WAIT")
    """Longer sleeps and waits of a shadow are cut to this; their timing counts as not tested."""
    raw: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """Every name with its text, for adapters, which read their vendors' own names."""

    @field_validator("artifacts")
    @classmethod
    def _artifacts(cls, place: str | None) -> str | None:
        return None if place == "none" else place

    @field_validator("signing_keys")
    @classmethod
    def _signing_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        results = [
            (number, key_fault(key.get_secret_value())) for number, key in enumerate(keys, 1)
        ]
        faults = [f"key {number} {fault}" for number, fault in results if fault]
        if faults:
            raise ValueError(
                f"{', '.join(faults)}; each is written {KEY_PREFIX} and {SHORTEST_KEY} to"
                f" {LONGEST_KEY} random bytes in base64"
            )
        return keys

    @property
    def production(self) -> bool:
        """Whether defaults for a laptop are refused."""
        return self.environment != "development"


def key_fault(key: str) -> str | None:
    """Say what is wrong with a signing key, without the key."""
    if not key.startswith(KEY_PREFIX):
        return f"does not begin with {KEY_PREFIX}"
    try:
        size = len(b64decode(key.removeprefix(KEY_PREFIX), validate=True))
    except (binascii.Error, ValueError):
        return f"is not base64 after {KEY_PREFIX}"
    if not SHORTEST_KEY <= size <= LONGEST_KEY:
        return f"holds {size} bytes"
    return None
