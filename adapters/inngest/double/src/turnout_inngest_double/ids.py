"""Identifiers, durations and moments as Inngest writes them."""

import base64
import binascii
import random
import re
import uuid
from datetime import UTC, datetime

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in CROCKFORD for second in CROCKFORD]
_SHIFTS = range(120, -1, -10)
NAMESPACE = uuid.UUID("5b4985f2-1497-5abd-b0a8-2ee5b7dbed75")
NIL_UUID = "00000000-0000-0000-0000-000000000000"

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|w|d|h|m|s)")
_UNIT_MS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def ulid(ms: int, entropy: int | None = None) -> str:
    """A ULID of the moment `ms`; random unless the 80 bits of entropy are given."""
    tail = random.getrandbits(80) if entropy is None else entropy & ((1 << 80) - 1)
    number = (ms << 80) | tail
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])


def is_ulid(text: str) -> bool:
    """Whether it is of a ULID's form."""
    return _ULID.fullmatch(text.upper()) is not None


def seeded_ulids(seed: str, count: int) -> list[str] | None:
    """The ids that a sender's seed `millis,base64` stands for; None if it is not one."""
    millis, _, entropy = seed.partition(",")
    try:
        start = int.from_bytes(base64.b64decode(entropy, validate=True))
        ms = int(millis)
    except (ValueError, binascii.Error):
        return None
    if not 0 <= ms < 1 << 48:
        return None
    return [ulid(ms, start + index) for index in range(count)]


def name_uuid(name: str) -> str:
    """A stable UUID for an app's or a function's id."""
    return str(uuid.uuid5(NAMESPACE, name))


def span_id() -> str:
    """A fresh id for a span of a trace."""
    return f"{random.getrandbits(64):016x}"


def job_id() -> str:
    """A fresh id for a job."""
    return f"{random.getrandbits(56):014x}"


def parse_duration(text: str) -> int:
    """Milliseconds of a duration such as `1h30m`, `7d` or `500ms`.

    Raises ValueError when it is not one.
    """
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"not a duration: {text!r}")
    return round(sum(float(number) * _UNIT_MS[unit] for number, unit in parts))


def parse_moment(text: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 moment with a zone; ValueError otherwise."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no zone: {text!r}")
    return round(moment.timestamp() * 1000)


def iso(ms: int) -> str:
    """The moment with milliseconds, as the v2 API writes it."""
    whole, millis = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"


def iso_seconds(ms: int) -> str:
    """The moment with whole seconds, as crons show it."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}Z"
