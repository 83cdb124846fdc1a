"""The address and the credentials of a bucket, read from settings; secrets are never shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from turnout.errors import InvalidSettings
from turnout.model.keys import check_prefix

_DEFAULT_REGION: Final = "us-east-1"


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Settings:
    """The address and the credentials of a bucket; without keys, those of the machine's role."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = _DEFAULT_REGION
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    connect_timeout: float = 5
    read_timeout: float = 30

    def shown(self) -> str:
        """Return the address, without secrets."""
        address = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        return f"{address} at {self.endpoint}" if self.endpoint else address


def s3_settings(url: str, settings: Mapping[str, str]) -> S3Settings:
    """Read `s3://bucket/prefix` and the AWS variables; all faults at once."""
    parts = urlsplit(url)
    faults = []
    if parts.username or parts.password or "@" in parts.netloc or parts.query or parts.fragment:
        faults.append("TURNOUT_ARTIFACTS: write s3://bucket/prefix; credentials go into AWS_…")
    elif not parts.netloc:
        faults.append("TURNOUT_ARTIFACTS: names no bucket; write s3://bucket/prefix")
    endpoint = settings.get("AWS_ENDPOINT_URL_S3") or settings.get("AWS_ENDPOINT_URL") or None
    if endpoint and not _web_address(endpoint):
        faults.append("AWS_ENDPOINT_URL: is not http://host:port or https://host, without a user")
    key, secret = settings.get("AWS_ACCESS_KEY_ID"), settings.get("AWS_SECRET_ACCESS_KEY")
    if bool(key) != bool(secret):
        faults.append("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: set both or neither")
    if faults:
        raise InvalidSettings("; ".join(faults))
    region = settings.get("AWS_REGION") or settings.get("AWS_DEFAULT_REGION") or _DEFAULT_REGION
    return S3Settings(
        bucket=parts.netloc,
        prefix=check_prefix(parts.path.strip("/")),
        endpoint=endpoint,
        region=region,
        access_key=key or None,
        secret_key=secret or None,
        session_token=settings.get("AWS_SESSION_TOKEN") or None,
    )


def _web_address(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc
