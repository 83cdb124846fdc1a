"""Ids in the vendor's shapes: a prefix and 25 characters that grow with time."""

import secrets
from itertools import count

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_LENGTH = 24
_numbers = count(secrets.randbelow(36**3))


def _base36(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, rest = divmod(number, 36)
        digits.append(_DIGITS[rest])
    return "".join(reversed(digits))


def new_id(prefix: str, now: int) -> str:
    """A new id such as `run_cmwpbjjzg004hsb7dcdlrr9fi`, later ones sorting after earlier ones."""
    tail = _base36(secrets.randbits(60), 11)
    return f"{prefix}_c{_base36(now, 9)}{_base36(next(_numbers), 4)}{tail}"[: len(prefix) + 26]


def bare(friendly_id: str) -> str:
    """The id without its prefix, as the vendor keeps it in its tables."""
    return friendly_id.partition("_")[2] or friendly_id


def hex_id(size: int) -> str:
    """A random trace id (16 bytes) or span id (8 bytes)."""
    return secrets.token_hex(size)
