"""Starts Restate's own server on a laptop and in CI: one process, on loopback."""
