"""A bucket through obstore. Needs the extra `obstore`.

Several times faster than boto3, for a tenth of the processor time (decision 0033).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import obstore
from obstore import exceptions
from obstore.store import S3Store

from turnout.errors import TurnoutError
from turnout.model.storage import PAGE_SIZE, ArtifactBody, ArtifactEntry, IfMatch, PutMode
from turnout_s3.errors import (
    THREADS,
    check_size,
    error_of_codes,
    md5_of,
    no_answer,
)
from turnout_s3.settings import S3Settings

_CODES: Final = (
    re.compile(r"<Code>(\w{1,60})</Code>"),
    re.compile(r"non-2xx status code: (\d{3})\b"),
)
_CODE_OF_CLASS: Final[Mapping[type[Exception], str]] = {
    exceptions.NotFoundError: "404",
    FileNotFoundError: "404",
    exceptions.AlreadyExistsError: "409",  # also where it is only being written
    exceptions.PreconditionError: "412",
    exceptions.PermissionDeniedError: "403",
    exceptions.UnauthenticatedError: "401",
}


class ObstoreBucket:
    """A blocking store in a bucket."""

    threads = THREADS
    looks_first = False
    batch = 16
    prefetch = 10
    errors: tuple[type[Exception], ...] = (exceptions.BaseError, FileNotFoundError)

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._store = _store(settings)

    def __repr__(self) -> str:
        return f"ObstoreBucket({self._settings.shown()})"

    def translated(self, error: Exception, key: str, mode: PutMode | None) -> TurnoutError:
        """Translate an error of obstore, by S3's code, the HTTP status, or the class."""
        text = str(error)
        codes = [match[1] for pattern in _CODES if (match := pattern.search(text))]
        codes = codes or [code for kind, code in _CODE_OF_CLASS.items() if type(error) is kind]
        if not codes:
            return no_answer(error, self._settings)
        return error_of_codes(codes, key, self._settings, mode)

    def get(self, key: str, max_bytes: int) -> ArtifactBody:
        """Read an object; one that is too large is not read."""
        answer = obstore.get(self._store, key)
        check_size(key, answer.meta["size"], max_bytes)
        body = bytes(answer.bytes())
        return ArtifactBody(body=body, etag=_etag(answer.meta) or md5_of(body))

    def head(self, key: str) -> ArtifactEntry:
        """Read the size and the ETag of an object."""
        return _entry(obstore.head(self._store, key))

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        """Write an object, as JSON, under the condition of the mode."""
        condition: Any = {"e_tag": f'"{mode.etag}"'} if isinstance(mode, IfMatch) else mode
        attributes: Any = {"Content-Type": "application/json"}
        try:
            answer = obstore.put(
                self._store, key, body, attributes=attributes, mode=condition, use_multipart=False
            )
        except exceptions.GenericError as error:
            if "ETag Header missing" not in str(error):
                raise
            return md5_of(body)  # it is written, and the store names no versions
        return _etag(answer) or md5_of(body)

    def pages(self, prefix: str, after: str, limit: int) -> Iterator[Sequence[ArtifactEntry]]:
        """List objects; the client lists whole folders, so keys without the prefix are dropped."""
        folder = prefix.rpartition("/")[0]
        for page in obstore.list(
            self._store, folder or None, offset=after or None, chunk_size=limit
        ):
            yield [_entry(meta) for meta in page if meta["path"].startswith(prefix)]

    def folders(self, prefix: str) -> Iterator[Sequence[str]]:
        """List the names between the prefix and the next `/`; the client returns all at once."""
        listing = obstore.list_with_delimiter(self._store, prefix.rstrip("/") or None)
        start = len(prefix)
        names = sorted(f"{path.rstrip('/')}/"[start:] for path in listing["common_prefixes"])
        for first in range(0, len(names), PAGE_SIZE):
            yield [name.rstrip("/") for name in names[first : first + PAGE_SIZE]]

    def delete(self, key: str) -> None:
        """Remove an object."""
        obstore.delete(self._store, key)

    def close(self) -> None:
        """Do nothing: the client closes its connections when it is deleted."""


def _store(settings: S3Settings) -> S3Store:
    config: dict[str, Any] = {
        "region": settings.region,
        "virtual_hosted_style_request": settings.endpoint is None,
        "endpoint": settings.endpoint,
        "access_key_id": settings.access_key,
        "secret_access_key": settings.secret_key,
        "session_token": settings.session_token,
        "disable_bulk_delete": True,  # some stores have none, and one object is removed at a time
    }
    return S3Store(
        settings.bucket,
        config={name: value for name, value in config.items() if value is not None},  # type: ignore[arg-type, unused-ignore]
        client_options={
            "allow_http": True,
            "connect_timeout": timedelta(seconds=settings.connect_timeout),
            "timeout": timedelta(seconds=settings.read_timeout),
        },
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=settings.read_timeout)},
    )


def _entry(meta: Mapping[str, Any]) -> ArtifactEntry:
    return ArtifactEntry(key=meta["path"], size=meta["size"], etag=_etag(meta))


def _etag(answer: Mapping[str, Any]) -> str | None:
    """Return the ETag; some stores give none."""
    return str(answer["e_tag"]).strip('"') if answer.get("e_tag") else None
