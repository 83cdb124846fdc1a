"""Ids in the vendor's shapes: a prefix and 25 characters that grow with time."""

import secrets
from itertools import count

_numbers = count(secrets.randbelow(0x10000))


def new_id(prefix: str, now: int) -> str:
    """A new id such as `run_c01a1f3c55e20a1b2f0a91c3d`, later ones sorting after earlier ones."""
    return f"{prefix}_c{now:012x}{next(_numbers) & 0xFFFFF:05x}{secrets.randbits(28):07x}"


def bare(friendly_id: str) -> str:
    """The id without its prefix, as the vendor keeps it in its tables."""
    return friendly_id.partition("_")[2] or friendly_id


def hex_id(size: int) -> str:
    """A random trace id (16 bytes) or span id (8 bytes)."""
    return secrets.token_hex(size)
