"""Turnout on Trigger.dev v4."""
