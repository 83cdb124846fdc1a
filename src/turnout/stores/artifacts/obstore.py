"""Artifacts in an S3-compatible bucket, through obstore. Needs `turnout[obstore]`.

Several times faster than boto3, for a tenth of the processor time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import obstore
from obstore import exceptions
from obstore.store import S3Store

from turnout.errors import (
    ArtifactChanged,
    ArtifactExists,
    ArtifactMissing,
    InvalidSettings,
    StoreUnavailable,
    TooLarge,
    TurnoutError,
)
from turnout.ports.artifact_store import PAGE, Found, IfMatch, PutMode, Stored
from turnout.stores.artifacts.s3_settings import S3Settings

_JSON: Final = {"Content-Type": "application/json"}


class Obstore:
    """A blocking store in a bucket."""

    threads = 10
    batch = 16

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._store = _store(settings)

    def __repr__(self) -> str:
        return f"Obstore({self._settings.shown()})"

    def get(self, key: str, max_bytes: int) -> Found:
        """Read an object; one that is too large is not read."""
        with _translated(key, self._settings):
            answer = obstore.get(self._store, key)
            size = answer.meta["size"]
            if size > max_bytes:
                raise TooLarge(f"{key} has {size:,} bytes; at most {max_bytes:,} are read")
            return Found(body=bytes(answer.bytes()), etag=_etag(answer.meta))

    def head(self, key: str) -> Stored:
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

    def pages(self, prefix: str, after: str, most: int) -> Iterator[Sequence[Stored]]:
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
    for first in range(0, len(names), PAGE):
        yield [name.rstrip("/") for name in names[first : first + PAGE]]


def _stored(entry: Mapping[str, Any]) -> Stored:
    return Stored(key=entry["path"], size=entry["size"], etag=_etag(entry))


def _etag(answer: Mapping[str, Any]) -> str:
    return str(answer["e_tag"]).strip('"')


@contextmanager
def _translated(
    key: str, settings: S3Settings, mode: PutMode | None = None, *, missing_is_error: bool = True
) -> Iterator[None]:
    """Give obstore's errors in our words; theirs may quote a request, so they are not chained."""
    try:
        yield
    except (exceptions.NotFoundError, FileNotFoundError) as error:
        if missing_is_error or "NoSuchBucket" in str(error):
            raise _missing(error, key, settings, mode) from None
    except exceptions.AlreadyExistsError:
        raise ArtifactExists(f"{key} is there already, and it is written once") from None
    except exceptions.PreconditionError:
        raise _refused_condition(key, mode) from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
        raise InvalidSettings(
            f"{settings.shown()} refuses these credentials; look at AWS_ACCESS_KEY_ID,"
            " AWS_SECRET_ACCESS_KEY and what they may do"
        ) from None
    except exceptions.BaseError as error:
        raise StoreUnavailable(
            f"{settings.shown()} does not answer: {type(error).__name__}"
        ) from None


def _missing(
    error: Exception, key: str, settings: S3Settings, mode: PutMode | None
) -> TurnoutError:
    if "NoSuchBucket" in str(error):
        return InvalidSettings(f"TURNOUT_ARTIFACTS: there is no bucket {settings.bucket!r}")
    return _refused_condition(key, mode) if mode else ArtifactMissing(f"there is no {key}")


def _refused_condition(key: str, mode: PutMode | None) -> TurnoutError:
    if isinstance(mode, IfMatch):
        return ArtifactChanged(f"{key} is not the version {mode.etag}")
    return ArtifactExists(f"{key} is there already, and it is written once")
