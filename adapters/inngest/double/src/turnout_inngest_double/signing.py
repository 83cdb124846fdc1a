"""Keys of self-hosted mode: who may call us, and how our calls are signed."""

import hashlib
import hmac
import re
from urllib.parse import parse_qs

import jcs  # type: ignore[import-untyped]
import orjson

_PREFIX = re.compile(r"^signkey-\w+-")


def bare(key: str) -> str:
    """The key without the prefix that names its environment."""
    return _PREFIX.sub("", key)


def accepts(key: str, authorization: str | None) -> bool:
    """Whether a Bearer header carries the key: bare, prefixed, or the hash of its bytes."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return False
    accepted = (bare(key), hashlib.sha256(bytes.fromhex(bare(key))).hexdigest())
    return any(hmac.compare_digest(bare(token), text) for text in accepted)


def is_key(key: str) -> bool:
    """Whether the key is hexadecimal with an even number of digits, as Inngest demands."""
    return bool(re.fullmatch(r"(?:[0-9a-fA-F]{2})+", bare(key)))


def request_signature(key: str, body: bytes, now_ms: int) -> str:
    """The header's value for a request to an application: over the canonical body."""
    canonical = jcs.canonicalize(orjson.loads(body)) if body else b""
    return _signature(key, bytes(canonical or b""), now_ms // 1000)


def is_signed(key: str, body: bytes, header: str) -> bool:
    """Whether an application signed this reply with the key."""
    parsed = parse_qs(header)
    moment, signature = parsed.get("t", [""])[0], parsed.get("s", [""])[0]
    if not moment.isascii() or not moment.isdigit():
        return False
    expected = _signature(key, body, int(moment))
    return hmac.compare_digest(parse_qs(expected)["s"][0], signature)


def _signature(key: str, body: bytes, moment: int) -> str:
    digest = hmac.new(bare(key).encode(), body + str(moment).encode(), hashlib.sha256)
    return f"t={moment}&s={digest.hexdigest()}"
