"""The identity of a run store: its id, and the app that it belongs to."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StoreIdentity:
    """The id of a run store, and the app that it belongs to."""

    store_id: str
    """A random id, made with the tables."""
    app: str | None = None
    """The name of the app that opened it first; None: no app has yet."""
    environment: str | None = None
    """The environment that the app was first opened in, like production."""
    epoch: int = 0
    """Raised after the store was restored from a backup; part of later deliveries' keys."""
