"""What S3's error codes mean, for every client."""

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
from turnout.stores.artifacts.s3_settings import S3Settings

THREADS: Final = 10
"""Calls at once; measured, more connections make boto3 slower."""

_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_CONDITION: Final = frozenset({"412", "PreconditionFailed", "409", "ConditionalRequestConflict"})
_REFUSED: Final = frozenset(
    {
        "401",
        "403",
        "AccessDenied",
        "Forbidden",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "ExpiredToken",
    }
)
_ELSEWHERE: Final = frozenset({"301", "400", "PermanentRedirect", "AuthorizationHeaderMalformed"})


def error_of_code(code: str, key: str, settings: S3Settings, mode: PutMode | None) -> TurnoutError:
    """Return the error for an S3 error code or an HTTP status; mode: that of a put."""
    if isinstance(mode, IfMatch) and code in _MISSING | _CONDITION:
        return ArtifactChanged(f"{key} is not the version {mode.etag}")
    if mode == "create" and code in _CONDITION:
        return ArtifactExists(f"{key} is there already, and it is written once")
    if code in _MISSING:
        return ArtifactMissing(f"there is no {key}")
    return _of_the_settings(code, settings) or StoreUnavailable(
        f"{settings.shown()} answers {code} for {key}"
    )


def no_answer(error: Exception, settings: S3Settings) -> StoreUnavailable:
    """Return the error for a store that cannot be reached."""
    return StoreUnavailable(f"{settings.shown()} does not answer: {type(error).__name__}")


def check_size(key: str, size: int, max_bytes: int) -> None:
    """Refuse an object that is too large."""
    if size > max_bytes:
        raise TooLarge(f"{key} has {size:,} bytes; at most {max_bytes:,} are read")


def _of_the_settings(code: str, settings: S3Settings) -> InvalidSettings | None:
    if code == "NoSuchBucket":
        return InvalidSettings(f"TURNOUT_ARTIFACTS: there is no bucket {settings.bucket!r}")
    if code in _REFUSED:
        return InvalidSettings(
            f"{settings.shown()} refuses these credentials ({code}); look at AWS_ACCESS_KEY_ID,"
            " AWS_SECRET_ACCESS_KEY and what they may do"
        )
    if code in _ELSEWHERE:
        return InvalidSettings(
            f"{settings.shown()} answers {code}; look at AWS_REGION and AWS_ENDPOINT_URL"
        )
    return None
