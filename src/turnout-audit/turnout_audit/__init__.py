"""Finds every trace of a vendor in a tree of files, fixes it, and shows its burndown."""

__version__ = "0.1.0"
