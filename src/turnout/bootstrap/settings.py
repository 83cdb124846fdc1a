"""The settings: environment over `.env` over `turnout.toml`; every fault is named, all at once."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from turnout.bootstrap.faults import LONGEST, SHORTEST, faults_of, key_fault
from turnout.errors import InvalidDefinition, InvalidSettings
from turnout.model.time import Millis, millis

HOME = ".turnout"
"""The folder of a development install's own files, in the working directory."""


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _keys(given: Any) -> Any:
    if isinstance(given, str):
        return tuple(key.strip() for key in given.split(",") if key.strip())
    return given


class Settings(BaseModel):
    """What the environment says; the names are the aliases. Secrets are never shown."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    provider: str | None = Field(None, alias="ORCHESTRATOR_PROVIDER")
    primary: str | None = Field(None, alias="ORCHESTRATOR_PRIMARY")
    shadow: str | None = Field(None, alias="ORCHESTRATOR_SHADOW")
    app: str | None = Field(None, alias="TURNOUT_APP")
    environment: Literal["development", "production"] = Field("development", alias="TURNOUT_ENV")
    database_url: SecretStr = Field(
        SecretStr(f"sqlite:///{HOME}/turnout.db"), alias="TURNOUT_DATABASE_URL"
    )
    shadow_database_url: SecretStr | None = Field(None, alias="TURNOUT_SHADOW_DATABASE_URL")
    artifacts: str | None = Field(f"{HOME}/artifacts", alias="TURNOUT_ARTIFACTS")
    """A folder or s3://bucket/prefix; `none` writes no artifacts."""
    signing_keys: Annotated[tuple[SecretStr, ...], BeforeValidator(_keys)] = Field(
        (), alias="TURNOUT_SIGNING_KEYS"
    )
    service_url: str | None = Field(None, alias="TURNOUT_SERVICE_URL")
    definitions: Annotated[tuple[Digest, ...], BeforeValidator(_keys)] = Field(
        (), alias="TURNOUT_DEFINITIONS"
    )
    """Definitions of earlier versions, whose vendor workers are served while they are replaced."""
    vendor_data: Literal["inline", "reference"] = Field("inline", alias="TURNOUT_VENDOR_DATA")
    """Whether vendors are told small results, errors' messages and progress, or digests only."""
    events_token: SecretStr | None = Field(None, alias="TURNOUT_EVENTS_TOKEN", min_length=16)
    """What readers of runs' event streams show; None: there are none."""
    lease: Millis = Field(15_000, alias="TURNOUT_LEASE", ge=1_000)
    """For how long a claimed step stands without a sign of life from its worker."""
    silence: Millis = Field(600_000, alias="TURNOUT_SILENCE", ge=1_000)
    """For how long a vendor run that should call may be silent, before it counts as lost."""
    dual_lag: Millis = Field(30_000, alias="TURNOUT_DUAL_LAG")
    longest_wait: Millis = Field(10_000, alias="TURNOUT_DUAL_LONGEST_WAIT")
    """Longer sleeps and waits of a shadow are cut to this; their timing counts as not tested."""
    raw: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """All of it, for adapters, which read their vendors' own names."""

    @field_validator("dual_lag", "lease", "longest_wait", "silence", mode="before")
    @classmethod
    def _duration(cls, given: Any) -> Any:
        try:
            return millis(given) if isinstance(given, str) else given
        except InvalidDefinition as error:
            raise ValueError(str(error)) from None

    @field_validator("artifacts")
    @classmethod
    def _artifacts(cls, given: str | None) -> str | None:
        return None if given == "none" else given

    @field_validator("signing_keys")
    @classmethod
    def _signing_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        found = [key_fault(key.get_secret_value()) for key in keys]
        faults = [f"key {number} {fault}" for number, fault in enumerate(found, 1) if fault]
        if faults:
            raise ValueError(
                f"{', '.join(faults)}; each is written whsec_ and {SHORTEST} to {LONGEST} random"
                " bytes in base64"
            )
        return keys

    @property
    def production(self) -> bool:
        """Whether defaults for a laptop are refused."""
        return self.environment == "production"


def read_settings(environ: Mapping[str, str], *, folder: Path | None = None) -> Settings:
    """Read the settings; InvalidSettings names every fault and the setting it is in.

    An empty value counts as unset.
    """
    raw = {**_from_files(folder or Path()), **environ}
    raw = {name: value for name, value in raw.items() if value != ""}
    faults = list(faults_of(raw))
    try:
        settings = Settings(raw=raw, **raw)
    except ValidationError as error:
        faults += [
            f"{fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
    if faults:
        raise InvalidSettings("; ".join(faults))
    return settings


def _from_files(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    toml = folder / "turnout.toml"
    if toml.is_file():
        try:
            found.update(
                {name: str(value) for name, value in tomllib.loads(toml.read_text()).items()}
            )
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise InvalidSettings(f"turnout.toml: {error}") from None
    dotenv = folder / ".env"
    if dotenv.is_file():
        found.update({name: value for name, value in dotenv_values(dotenv).items() if value})
    return found
