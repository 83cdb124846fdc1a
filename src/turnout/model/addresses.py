"""Addresses in settings."""

from urllib.parse import urlsplit


def is_address(text: str) -> bool:
    """Whether it is an http(s) address without a user: addresses are shown, passwords are not."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
        return good and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return False
