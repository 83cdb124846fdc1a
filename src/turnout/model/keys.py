"""Keys: where a run's artifacts are in a store.

Every key is made of segments of `[A-Za-z0-9._=-]`, so that it is the same in a folder, in a bucket
and in a URL, and no key is a folder of another one.
"""

import re
from functools import lru_cache
from typing import Final

from turnout.errors import WrongUse
from turnout.model.canonical import sha256_of
from turnout.model.ids import check_run_id, is_segment, is_shadow, primary_id

RUNS: Final = "runs"
STATUS: Final = "status.json"
MANIFEST: Final = "manifest.json"

LONGEST_KEY: Final = 900
"""S3 takes 1,024 bytes; the rest is left for a prefix."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._=-]{1,255}")
_KEY: Final = re.compile(r"[A-Za-z0-9._=-]{1,255}(?:/[A-Za-z0-9._=-]{1,255})*")
_LONGEST_NAME: Final = 200
_SHORTENED: Final = "=="


def valid_run_id(text: str) -> bool:
    """Tell whether this can be a primary's run id; `check_run_id` says why not."""
    return is_segment(text) and not is_shadow(text)


def is_shadow_id(text: str) -> bool:
    """Tell whether this is the run id of a shadow."""
    return is_shadow(text) and valid_run_id(primary_id(text))


def is_run_name(text: str) -> bool:
    """Whether this can be the run id of a primary or of a shadow."""
    return valid_run_id(primary_id(text))


def run_folder(run_id: str) -> str:
    """`runs/<run_id>/`, for a primary or a shadow."""
    check_run_id(primary_id(run_id))
    return f"{RUNS}/{run_id}/"


@lru_cache(maxsize=4096)
def step_path(index: int, step_id: str) -> str:
    """`steps/<nnnn>-<step_id>.json`, below the run's folder."""
    return f"steps/{index:04d}-{encode_step_id(step_id)}.json"


def value_path(sha256: str) -> str:
    """`values/<sha256>.json`, below the run's folder: a large value, kept by its digest."""
    return f"values/{sha256}.json"


def encode_step_id(step_id: str) -> str:
    """A step's id as part of a key; characters that are not safe become `=XX` of their UTF-8.

    An id of more than 200 such characters is cut and ends in `==` and its digest.
    """
    encoded = _UNSAFE.sub(_encode_character, step_id)
    if len(encoded) <= _LONGEST_NAME:
        return encoded
    return _cut(encoded) + _SHORTENED + sha256_of(step_id.encode())[:32]


def valid_key(key: str) -> bool:
    """Tell whether this is a key: safe segments joined by `/`, none of them `.` or `..`."""
    if len(key) > LONGEST_KEY or _KEY.fullmatch(key) is None:
        return False
    return "./" not in f"{key}/" or all(map(_valid_segment, key.split("/")))


def check_key(key: str) -> str:
    """Return the key, or raise `WrongUse`."""
    if valid_key(key):
        return key
    raise WrongUse(
        f"the key {key[:120]!r} is not made of segments of A-Z a-z 0-9 . _ = - joined by '/',"
        f" none of them '.' or '..', at most {LONGEST_KEY} characters in all"
    )


def readable_key(key: str) -> bool:
    """Tell whether this may be the key of a document that someone else wrote.

    Segments of any printable characters, none of them `.`, `..` or empty, no backslash, and no
    `~` at the start, which is where a folder store keeps what is its own.
    """
    if valid_key(key):
        return True
    fits = len(key.encode(errors="replace")) <= LONGEST_KEY and key.isprintable()
    return fits and key[:1] != "~" and "\\" not in key and all(map(_named, key.split("/")))


def check_readable(key: str) -> str:
    """Return the key, or raise `WrongUse`."""
    if readable_key(key):
        return key
    raise WrongUse(f"the key {key[:120]!r} is not valid: it has an empty, '.' or '..' segment, …")


def check_prefix(prefix: str) -> str:
    """Return the prefix, or raise `WrongUse`; it may be empty, and may end anywhere in a key.

    Whatever starts a readable key is such a prefix; nothing that leads out of a folder is.
    """
    if not prefix or readable_key(f"{prefix}0"):
        return prefix
    raise WrongUse(f"the prefix {prefix[:120]!r} is not the start of a key")


def _valid_segment(segment: str) -> bool:
    return _SEGMENT.fullmatch(segment) is not None and segment not in {".", ".."}


def _named(segment: str) -> bool:
    return 0 < len(segment.encode(errors="replace")) <= 255 and segment not in {".", ".."}  # noqa: PLR2004 - what file systems take


def _encode_character(match: re.Match[str]) -> str:
    return "".join(f"={byte:02X}" for byte in match[0].encode(errors="surrogatepass"))


def _cut(encoded: str) -> str:
    """Cut an encoded id to the longest name, without half an escape at its end."""
    return re.sub(r"=[0-9A-F]?$", "", encoded[: _LONGEST_NAME - 40])
