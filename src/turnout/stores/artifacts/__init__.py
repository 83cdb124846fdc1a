"""Artifact stores: a folder, and what other distributions add by entry point."""

from turnout.stores.artifacts.opening import open_store

__all__ = ["open_store"]
