"""What S3's error codes mean, for every client."""

from collections.abc import Sequence
from hashlib import md5
from typing import Final

from turnout.errors import (
    ArtifactChanged,
    ArtifactExists,
    ArtifactMissing,
    InvalidSettings,
    StoreUnavailable,
    TooLarge,
    TurnoutError,
)
from turnout.model.storage import IfMatch, PutMode
from turnout_s3.settings import S3Settings

THREADS: Final = 10
"""Calls at once; measured, more connections make boto3 slower."""

_MISSING: Final = frozenset({"404"})
_CONDITION: Final = frozenset({"304", "412"})
_BUSY: Final = frozenset({"409", "429", "SlowDown"})
"""409 is also what some answer for an object that is there, so it is looked for."""
_CONDITION_UNKNOWN: Final = frozenset({"400", "405", "501"})
_REFUSED: Final = frozenset(
    {
        "401",
        "403",
        "InvalidToken",
        "ExpiredToken",
    }
)
_MOVED: Final = frozenset({"301", "400"})


class Busy(StoreUnavailable):
    """Another write of this object is in progress: try again."""


class ConditionRefused(StoreUnavailable):
    """The store does not take this put with a condition; perhaps it takes it without."""


def error_of_codes(
    codes: Sequence[str], key: str, settings: S3Settings, mode: PutMode | None
) -> TurnoutError:
    """Return the error for S3's code and the HTTP status, of which one may be unknown.

    mode: that of a put.
    """
    all_codes = frozenset(codes)
    answer = f"{settings.shown()} answers {codes[0]} for {key}"
    error: TurnoutError | None = _of_the_settings(all_codes, codes[0], settings)
    if error is None and mode is not None:
        error = _of_the_put(all_codes, key, mode, answer)
    if error is None and all_codes & _MISSING:
        error = ArtifactMissing(f"there is no {key}")
    if error is None and all_codes & _MOVED:
        error = InvalidSettings(f"{answer}; look at AWS_REGION and AWS_ENDPOINT_URL")
    return error or StoreUnavailable(answer)


def exists(key: str) -> ArtifactExists:
    """Return the error for a create of an object that is there."""
    return ArtifactExists(f"{key} is there already, and it is written once")


def changed(key: str, mode: IfMatch) -> ArtifactChanged:
    """Return the error for a put over another version of an object."""
    return ArtifactChanged(f"{key} is not the version {mode.etag}")


def no_answer(error: Exception, settings: S3Settings) -> StoreUnavailable:
    """Return the error for a store that cannot be reached."""
    return StoreUnavailable(f"{settings.shown()} does not answer: {type(error).__name__}")


def md5_of(body: bytes) -> str:
    """Return what names a version where the store names none."""
    return md5(body, usedforsecurity=False).hexdigest()


def check_size(key: str, size: int, max_bytes: int) -> None:
    """Refuse an object that is too large."""
    if size > max_bytes:
        raise TooLarge(f"{key} has {size:,} bytes; at most {max_bytes:,} are read")


def _of_the_put(codes: frozenset[str], key: str, mode: PutMode, answer: str) -> TurnoutError | None:
    if codes & _BUSY or (mode == "create" and codes & _MISSING):  # a 404: it is being removed
        return Busy(answer)
    if mode == "overwrite":
        return None
    if codes & _CONDITION_UNKNOWN:
        return ConditionRefused(answer)
    if isinstance(mode, IfMatch):
        return changed(key, mode) if codes & (_MISSING | _CONDITION) else None
    return exists(key) if codes & _CONDITION else None


def _of_the_settings(
    codes: frozenset[str], code: str, settings: S3Settings
) -> InvalidSettings | None:
    if "NoSuchBucket" in codes:
        return InvalidSettings(f"TURNOUT_ARTIFACTS: there is no bucket {settings.bucket!r}")
    if codes & _REFUSED:
        return InvalidSettings(
            f"{settings.shown()} refuses these credentials ({code}); look at AWS_ACCESS_KEY_ID,"
            " AWS_SECRET_ACCESS_KEY and what they may do"
        )
    return None
