"""Artifacts in an S3-compatible bucket, through boto3 with slim settings.

The client computes no checksums of its own, validates no parameters and keeps ten connections:
measured, more make it slower. Needs `turnout[s3]`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from turnout.errors import InvalidSettings, TooLarge
from turnout.model.storage import PAGE_SIZE, ArtifactBody, ArtifactEntry, IfMatch, PutMode
from turnout.stores.artifacts.s3_errors import MISSING, no_answer, translated
from turnout.stores.artifacts.s3_settings import S3Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class S3:
    """A blocking store in a bucket."""

    threads = 10
    batch = 8
    ahead = 10

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._bucket = settings.bucket
        self._client = _client(settings)

    def __repr__(self) -> str:
        return f"S3({self._settings.shown()})"

    def get(self, key: str, max_bytes: int) -> ArtifactBody:
        """Read an object; one that is too large is not read."""
        with _translated(key, self._settings):
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            with answer["Body"] as stream:
                _check_size(key, answer["ContentLength"], max_bytes)
                body = stream.read(max_bytes + 1)
        _check_size(key, len(body), max_bytes)
        return ArtifactBody(body=body, etag=_etag(answer))

    def head(self, key: str) -> ArtifactEntry:
        """Look at an object."""
        with _translated(key, self._settings):
            answer = self._client.head_object(Bucket=self._bucket, Key=key)
        return ArtifactEntry(key=key, size=answer["ContentLength"], etag=_etag(answer))

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        """Write an object under the mode's condition, where the store honours it."""
        with _translated(key, self._settings, mode):
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType="application/json",
                **_condition(mode),
            )
        return _etag(answer)

    def pages(self, prefix: str, after: str, most: int) -> Iterator[Sequence[ArtifactEntry]]:
        """List objects; S3 sorts them."""
        for page in self._listed(most, Prefix=prefix, StartAfter=after):
            yield [
                ArtifactEntry(key=found["Key"], size=found["Size"], etag=_etag(found))
                for found in page.get("Contents", ())
            ]

    def folders(self, prefix: str) -> Iterator[Sequence[str]]:
        """List what lies between the prefix and the next `/`."""
        for page in self._listed(PAGE_SIZE, Prefix=prefix, Delimiter="/"):
            common = page.get("CommonPrefixes", ())
            yield [found["Prefix"][len(prefix) : -1] for found in common]

    def delete(self, key: str) -> None:
        """Remove an object; S3 does not mind a missing one."""
        with _translated(key, self._settings, missing_is_error=False):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _listed(self, most: int, **wanted: str) -> Iterator[Any]:
        asked: Any = {name: value for name, value in wanted.items() if value}
        with _translated(asked.get("Prefix", "/"), self._settings):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, PaginationConfig={"PageSize": most}, **asked
            )
            yield from pages


def _client(settings: S3Settings) -> "S3Client":
    config = Config(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=S3.threads,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        parameter_validation=False,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if settings.endpoint else "auto"},
    )
    session = boto3.session.Session()
    return session.client(
        "s3",
        region_name=settings.region,
        endpoint_url=settings.endpoint,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        aws_session_token=settings.session_token,
        config=config,
    )


def _condition(mode: PutMode) -> dict[str, Any]:
    if mode == "create":
        return {"IfNoneMatch": "*"}
    return {"IfMatch": f'"{mode.etag}"'} if isinstance(mode, IfMatch) else {}


def _etag(answer: Mapping[str, Any]) -> str:
    return str(answer["ETag"]).strip('"')


def _check_size(key: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TooLarge(f"{key} has {size:,} bytes; at most {max_bytes:,} are read")


@contextmanager
def _translated(
    key: str, settings: S3Settings, mode: PutMode | None = None, *, missing_is_error: bool = True
) -> Iterator[None]:
    """Give botocore's errors in our words; theirs may quote a request, so they are not chained."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in MISSING and not missing_is_error:
            return
        raise translated(code, key, settings, mode) from None
    except NoCredentialsError:
        raise InvalidSettings(
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: not set, and no role gives credentials"
        ) from None
    except (BotoCoreError, OSError) as error:
        raise no_answer(error, settings) from None
