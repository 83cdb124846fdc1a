"""A bucket through boto3 with slim settings.

The client computes no checksums of its own and validates no parameters.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from turnout.errors import InvalidSettings, TurnoutError
from turnout.model.storage import PAGE_SIZE, ArtifactBody, ArtifactEntry, IfMatch, PutMode
from turnout_s3.errors import (
    THREADS,
    check_size,
    error_of_codes,
    md5_of,
    no_answer,
)
from turnout_s3.settings import S3Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Boto3Bucket:
    """A blocking store in a bucket."""

    threads = THREADS
    looks_first = False
    batch = 8
    prefetch = 10
    errors: tuple[type[Exception], ...] = (ClientError, BotoCoreError, OSError)

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._bucket = settings.bucket
        self._client = _client(settings)

    def __repr__(self) -> str:
        return f"Boto3Bucket({self._settings.shown()})"

    def translated(self, error: Exception, key: str, mode: PutMode | None) -> TurnoutError:
        """Translate an error of botocore."""
        if isinstance(error, NoCredentialsError):
            return InvalidSettings(
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: not set, and no role gives"
                " credentials"
            )
        response: Mapping[str, Any] = error.response if isinstance(error, ClientError) else {}
        codes = [
            str(response.get("Error", {}).get("Code", "")),
            str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")),
        ]
        if not any(codes):
            return no_answer(error, self._settings)
        return error_of_codes([code for code in codes if code], key, self._settings, mode)

    def get(self, key: str, max_bytes: int) -> ArtifactBody:
        """Read an object; one that is too large is not read."""
        answer = self._client.get_object(Bucket=self._bucket, Key=key)
        with answer["Body"] as stream:
            check_size(key, answer["ContentLength"], max_bytes)
            body = stream.read(max_bytes + 1)
        check_size(key, len(body), max_bytes)
        return ArtifactBody(body=body, etag=_etag(answer) or md5_of(body))

    def head(self, key: str) -> ArtifactEntry:
        """Read the size and the ETag of an object."""
        answer = self._client.head_object(Bucket=self._bucket, Key=key)
        return ArtifactEntry(key=key, size=answer["ContentLength"], etag=_etag(answer))

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        """Write an object, as JSON, under the condition of the mode."""
        condition: Any = {"IfNoneMatch": "*"} if mode == "create" else {}
        if isinstance(mode, IfMatch):
            condition = {"IfMatch": f'"{mode.etag}"'}
        answer = self._client.put_object(
            Bucket=self._bucket, Key=key, Body=body, ContentType="application/json", **condition
        )
        return _etag(answer) or md5_of(body)

    def pages(self, prefix: str, after: str, limit: int) -> Iterator[Sequence[ArtifactEntry]]:
        """List objects."""
        for page in self._list(limit, Prefix=prefix, StartAfter=after):
            yield [
                ArtifactEntry(key=entry["Key"], size=entry["Size"], etag=_etag(entry))
                for entry in page.get("Contents", ())
            ]

    def folders(self, prefix: str) -> Iterator[Sequence[str]]:
        """List the names between the prefix and the next `/`."""
        for page in self._list(PAGE_SIZE, Prefix=prefix, Delimiter="/"):
            common = page.get("CommonPrefixes", ())
            yield [entry["Prefix"][len(prefix) : -1] for entry in common]

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._client.delete_object(Bucket=self._bucket, Key=key)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _list(self, limit: int, **options: str) -> Iterator[Any]:
        conditions: Any = {name: value for name, value in options.items() if value}
        yield from self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, PaginationConfig={"PageSize": limit}, **conditions
        )


def _client(settings: S3Settings) -> "S3Client":
    config = Config(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=THREADS,
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


def _etag(answer: Mapping[str, Any]) -> str | None:
    """Return the ETag; some stores give none."""
    return str(answer["ETag"]).strip('"') if answer.get("ETag") else None
