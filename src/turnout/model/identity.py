"""Which run store this is, and whose."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StoreIdentity:
    """A run store belongs to one app."""

    store_id: str
    """Drawn when the tables were made."""
    app: str | None = None
    """The name of the app that opened it first; None: no app has yet."""
    environment: str | None = None
    """The environment that the app was first opened in, like production."""
    epoch: int = 0
    """Raised after the store was restored from a backup; part of later deliveries' keys."""
