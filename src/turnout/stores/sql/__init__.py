"""The run store in SQL: SQLite by default, PostgreSQL in production."""

from turnout.stores.sql.engine import open_run_store, open_signals, shadow_url, upgrade

__all__ = ["open_run_store", "open_signals", "shadow_url", "upgrade"]
