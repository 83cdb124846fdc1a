"""The model: frozen values and pure functions; no I/O, no clock, no async."""
