"""Restate behind Turnout's port; `plugin` is the entry point."""
