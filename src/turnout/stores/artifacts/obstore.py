"""Artifacts in an S3-compatible bucket, through obstore. Needs `turnout[obstore]`.

Several times faster than boto3, for a tenth of the processor time.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import obstore
from obstore import exceptions
from obstore.store import S3Store

from turnout.errors import TooLarge
from turnout.model.storage import PAGE_SIZE, ArtifactBody, ArtifactEntry, IfMatch, PutMode
from turnout.stores.artifacts.s3_errors import MISSING, no_answer, translated
from turnout.stores.artifacts.s3_settings import S3Settings

_CODE: Final = re.compile(
    r"<Code>(\w{1,60})</Code>|non-2xx status code: (\d{3})\b(?!.*<Code>)", re.DOTALL
)
_JSON: Final = {"Content-Type": "application/json"}


class Obstore:
    """A blocking store in a bucket."""

    threads = 10
    batch = 16
    ahead = 10

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._store = _store(settings)

    def __repr__(self) -> str:
        return f"Obstore({self._settings.shown()})"

    def get(self, key: str, max_bytes: int) -> ArtifactBody:
        """Read an object; one that is too large is not read."""
        with _translated(key, self._settings):
            answer = obstore.get(self._store, key)
            size = answer.meta["size"]
            if size > max_bytes:
                raise TooLarge(f"{key} has {size:,} bytes; at most {max_bytes:,} are read")
            return ArtifactBody(body=bytes(answer.bytes()), etag=_etag(answer.meta))

    def head(self, key: str) -> ArtifactEntry:
        """Look at an object."""
        with _translated(key, self._settings):
            return _stored(obstore.head(self._store, key))

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        """Write an object under the mode's condition, where the store honours it."""
        wanted: Any = {"e_tag": f'"{mode.etag}"'} if isinstance(mode, IfMatch) else mode
        with _translated(key, self._settings, mode):
            answer = obstore.put(
                self._store, key, body, attributes=_JSON, mode=wanted, use_multipart=False
            )
        return _etag(answer)

    def pages(self, prefix: str, after: str, most: int) -> Iterator[Sequence[ArtifactEntry]]:
        """List objects. The client knows whole folders only, so the rest is left out here."""
        folder = prefix.rpartition("/")[0]
        with _translated(prefix or "/", self._settings):
            for chunk in obstore.list(
                self._store, folder or None, offset=after or None, chunk_size=most
            ):
                found = [entry for entry in chunk if entry["path"].startswith(prefix)]
                yield [_stored(entry) for entry in found]

    def folders(self, prefix: str) -> Iterator[Sequence[str]]:
        """List what lies between the prefix and the next `/`; comes as a whole."""
        with _translated(prefix or "/", self._settings):
            found = obstore.list_with_delimiter(self._store, prefix.rstrip("/") or None)
        yield from _in_pages(found["common_prefixes"], len(prefix))

    def delete(self, key: str) -> None:
        """Remove an object; S3 does not mind a missing one."""
        with _translated(key, self._settings, missing_is_error=False):
            obstore.delete(self._store, key)

    def close(self) -> None:
        """Connections end with the object."""


def _store(settings: S3Settings) -> S3Store:
    config: dict[str, Any] = {
        "region": settings.region,
        "virtual_hosted_style_request": settings.endpoint is None,
        "endpoint": settings.endpoint,
        "access_key_id": settings.access_key,
        "secret_access_key": settings.secret_key,
        "session_token": settings.session_token,
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


def _in_pages(folders: Iterable[str], start: int) -> Iterator[Sequence[str]]:
    names = sorted(f"{folder.rstrip('/')}/"[start:] for folder in folders)
    for first in range(0, len(names), PAGE_SIZE):
        yield [name.rstrip("/") for name in names[first : first + PAGE_SIZE]]


def _stored(entry: Mapping[str, Any]) -> ArtifactEntry:
    return ArtifactEntry(key=entry["path"], size=entry["size"], etag=_etag(entry))


def _etag(answer: Mapping[str, Any]) -> str:
    return str(answer["e_tag"]).strip('"')


@contextmanager
def _translated(
    key: str, settings: S3Settings, mode: PutMode | None = None, *, missing_is_error: bool = True
) -> Iterator[None]:
    """Give obstore's errors in our words; theirs may quote a request, so they are not chained."""
    try:
        yield
    except (exceptions.BaseError, FileNotFoundError) as error:
        code = _code(error)
        if code in MISSING and not missing_is_error:
            return
        raise (
            translated(code, key, settings, mode) if code else no_answer(error, settings)
        ) from None


def _code(error: Exception) -> str:
    """S3's own code, the HTTP status, or what the class says; empty where there was no answer."""
    if found := _CODE.search(str(error)):
        return found[1] or found[2]
    by_class = {
        exceptions.NotFoundError: "404",
        FileNotFoundError: "404",
        exceptions.AlreadyExistsError: "412",
        exceptions.PreconditionError: "412",
        exceptions.PermissionDeniedError: "403",
        exceptions.UnauthenticatedError: "401",
    }
    return by_class.get(type(error), "")
